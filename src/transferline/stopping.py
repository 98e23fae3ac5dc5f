"""How work is asked to stop: flags that long loops look at, Ctrl-C, and SIGTERM as Ctrl-C."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections import namedtuple
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

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(number)

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def signal_of(interrupt: KeyboardInterrupt) -> int:
    """Return the number of the signal that an interrupt stands for."""
    return signal.SIGTERM if interrupt.args == (signal.SIGTERM,) else signal.SIGINT


@contextmanager
def no_interrupt_lost() -> Iterator[None]:
    """Repeat, while the block runs, a Ctrl-C that fell where an exception cannot pass.

    That is a callback from C, such as those of numba's compiler, or a `__del__`: Python reports
    the KeyboardInterrupt as ignored and goes on.
    """
    old = sys.unraisablehook
    repeats: list[threading.Timer] = []

    def again(found: sys.UnraisableHookArgs) -> None:
        if issubclass(found.exc_type, KeyboardInterrupt):
            # Not at once: the callback, which would swallow it too, has not returned yet.
            repeats.append(threading.Timer(0.1, _interrupt))
            repeats[-1].start()
        else:
            old(found)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = old
        for repeat in repeats:  # none may come when the program is already ending
            repeat.cancel()
            repeat.join()


def interrupt_handled() -> None:
    """Make the interpreter forget a KeyboardInterrupt that was caught.

    It remembers one that passed through code made from a text, as dataclasses and numba make it,
    and `python -m` then ends by the signal instead of with its exit code (CPython's
    `unhandled_keyboard_interrupt`, which is cleared whenever a text is run: so by a named tuple).
    """
    namedtuple("Handled", ())


def _interrupt() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:  # a real signal also ends a wait
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
