"""How work is asked to stop: flags that long loops look at, and SIGTERM as Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from transferline.errors import TransferlineError


class Flag(Protocol):
    """Such as a `threading.Event` or a `multiprocessing.Event`."""

    def is_set(self) -> bool:
        """Tell whether to stop."""


_flags: list[Flag] = []


@contextmanager
def stop_when(flag: Flag) -> Iterator[None]:
    """Make `stop_requested` of this process tell when `flag` is set, while the block runs."""
    _flags.append(flag)
    try:
        yield
    finally:
        _flags.remove(flag)


def stop_always_when(flag: Flag) -> None:
    """Make `stop_requested` of this process tell when `flag` is set, until the process ends."""
    _flags.append(flag)


def stop_requested() -> bool:
    """Tell whether somebody has asked this process to stop; loops ask after every batch."""
    return any(flag.is_set() for flag in _flags)


class WorkGivenUpError(TransferlineError):
    """A piece of work was given up half way because somebody asked to stop."""


def check_stop() -> None:
    """Raise WorkGivenUpError if somebody has asked this process to stop."""
    if stop_requested():
        raise WorkGivenUpError("stopped by the user.")


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does while the block runs (in the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
