"""How failures become one message and an exit code.

Only what is expected gets a message: anything else is a bug of ours and shows its traceback.
"""

from __future__ import annotations

import errno
from concurrent.futures import BrokenExecutor
from typing import Any

import typer

from transferline.errors import DataError, TransferlineError

# Typer keeps its own copy of Click's errors; this one it makes public.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_LINES, _CHARACTERS = 12, 1400


def describe_failure(error: Exception) -> tuple[str | None, int]:
    """Return the message and exit code of an expected failure; None for a surprise.

    >>> describe_failure(DataError("a.root: is empty."))
    ('a.root: is empty.', 3)
    """
    if isinstance(error, TransferlineError):
        return fitted(str(error)), error.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        # Of two names, as in a rename, the second is the user's.
        name = error.filename if error.filename2 is None else error.filename2
        return fitted(f"{name}: {error.strerror}."), DataError.exit_code
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # of a stream without a name
        return "the output cannot be written, no space is left.", DataError.exit_code
    if isinstance(error, BrokenExecutor):
        text = (
            "a worker process died, most often because memory ran out. Use fewer --jobs. What is "
            "finished is kept: type the same command again."
        )
        return text, DataError.exit_code
    if _is_out_of_memory(error):
        text = (
            "memory ran out. Lower the batch size, the size of the model, or --jobs "
            f"({type(error).__name__})."
        )
        return text, DataError.exit_code
    return None, 1


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def describe_usage(error: Any) -> str:
    """Return one line about a wrong command line; the help page where a command is missing."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return f"{error.format_message()}\n"
    path = error.ctx.command_path if error.ctx is not None else "transferline"
    text = fitted(" ".join(str(error.format_message()).split()))
    end = "" if text.endswith((".", "?")) else "."
    return f"transferline: {text}{end} Try: {path} --help\n"


def fitted(message: str) -> str:
    """Cut a message that would fill the screen: a file can hold lines of a megabyte.

    >>> fitted("a" * 3000)[-40:]
    'aaaa ... (1600 more characters; --debug)'
    """
    lines = message.splitlines()
    if len(lines) > _LINES:
        message = "\n".join([*lines[:_LINES], f"... ({len(lines) - _LINES} more lines; --debug)"])
    if len(message) > _CHARACTERS:
        cut = len(message) - _CHARACTERS
        message = f"{message[:_CHARACTERS]} ... ({cut} more characters; --debug)"
    return message
