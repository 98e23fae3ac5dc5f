"""Errors that a user can act on, each with the exit code the command line returns."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TransferlineError(Exception):
    """An expected failure; the message names what was wrong, where, and what to do."""

    exit_code = 1


class ConfigError(TransferlineError):
    """A command line option or a configuration key is wrong (exit code 2)."""

    exit_code = 2


class DataError(TransferlineError):
    """An input file is missing, damaged, or lacks what was asked of it (exit code 3)."""

    exit_code = 3


class OutputError(DataError):
    """A file cannot be written: the disk is full, or not ours. No input is to blame."""


class NumericalError(TransferlineError):
    """A computation left the range of numbers, such as a loss that is not finite (exit code 4)."""

    exit_code = 4


def shortened(value: object, width: int = 120) -> str:
    """Return `value` as text on one line of at most `width` characters, for use in a message.

    What a user or a damaged file gives may be a megabyte long or hold control characters.

    >>> shortened("a" * 10 + chr(0), width=9)
    'aaa...aa?'
    """
    text = str(value)
    if len(text) > width:
        text = f"{text[: width // 3]}...{text[width // 3 + 3 - width :]}"
    return "".join(c if c.isprintable() else "?" for c in text)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` with the nearest known name, or the list of known names.

    >>> did_you_mean("hedas", ["heads", "width"])
    " Did you mean 'heads'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(shortened(wrong), names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {shortened(', '.join(names), 600)}." if names else ""
