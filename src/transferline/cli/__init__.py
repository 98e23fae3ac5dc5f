"""The command line: every subcommand is a thin wrapper of one public function.

Heavy imports stand inside the commands, so that `transferline --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from transferline.cli import data, generate, inform, studies, training
from transferline.cli.application import app, describe_failure

__all__ = ["app", "run"]

for _part in (generate, data, training, studies, inform):
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
        app(args=list(arguments), prog_name="transferline")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0
