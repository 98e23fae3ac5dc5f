"""The command line: every subcommand is a thin wrapper of one public function.

Heavy imports stand inside the commands, so that `transferline --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from transferline.cli import (
    data,
    export,
    generate,
    imports,
    inform,
    predict,
    studies,
    tokenize,
    training,
    validate,
)
from transferline.cli.application import app
from transferline.cli.failures import UsageError, describe_failure, describe_usage

__all__ = ["app", "run"]

for _part in (
    generate,
    validate,
    data,
    tokenize,
    training,
    studies,
    predict,
    export,
    imports,
    inform,
):
    _part.add(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; expected failures print one message.

    `--debug` before the command lets them raise with their traceback.
    """
    if "--debug" in arguments[:1]:
        return _run(arguments)
    try:
        return _run(arguments)
    except Exception as error:
        message, code = describe_failure(error)
        if message is None:
            raise
        sys.stderr.write(f"transferline: {message}\n")
        return code


def _run(arguments: Sequence[str]) -> int:
    try:
        code = app(args=list(arguments), prog_name="transferline", standalone_mode=False)
    except UsageError as error:
        sys.stderr.write(describe_usage(error))
        return 2
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return code if isinstance(code, int) else 0
