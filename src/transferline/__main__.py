"""The program `transferline`: process settings first, then the command, then its exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

from transferline.runtime import prepare_process


def main() -> NoReturn:
    """Run the command line; expected failures end in one message and their exit code.

    Exit codes: 0 fine, 2 usage or configuration, 3 data, 4 numerical, 130 interrupted.
    """
    prepare_process()  # before anything imports numpy or torch
    from transferline.cli import run  # noqa: PLC0415

    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
