"""Looks: functions that return one fact; what they raise is a fact, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Look = Callable[[], str]
Looks = Mapping[str, Look]

_LONGEST = 400  # of a message; some compilers tell a novel


class TroubleError(Exception):
    """Something that will hinder work; the text says what it is and what to do."""


def seen(look: Look) -> tuple[str, bool]:
    """Return the fact, and whether it is a problem.

    A report must also come out where half of the installation is broken.

    >>> seen(lambda: "fine")
    ('fine', False)
    >>> seen(lambda: str(1 / 0))
    ('fails with ZeroDivisionError: division by zero', True)
    """
    try:
        return _line(look()), False
    except TroubleError as error:
        return _line(str(error)), True
    except Exception as error:
        return _line(f"fails with {type(error).__name__}: {error}"), True


def raising(error: Exception) -> str:
    """Look at what failed before."""
    raise error


def _line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= _LONGEST else f"{joined[:_LONGEST]} ..."
