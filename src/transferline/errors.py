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


class NumericalError(TransferlineError):
    """A computation left the range of numbers, such as a loss that is not finite (exit code 4)."""

    exit_code = 4


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` with the nearest known name, or the list of known names.

    >>> did_you_mean("hedas", ["heads", "width"])
    " Did you mean 'heads'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""
