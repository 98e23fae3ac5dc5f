"""SIGTERM and Ctrl-C as a request that a training honours between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from transferline.errors import TransferlineError
from transferline.stopping import stop_requested


class StopRequestedError(TransferlineError):
    """The training was asked to stop (SIGTERM or Ctrl-C) and has written its state.

    Args:
        message: says where the state is.
        signal_number: of the signal that asked; the exit code is 128 more, as of shells.
    """

    exit_code = 128 + signal.SIGTERM

    def __init__(self, message: str, signal_number: int = signal.SIGTERM) -> None:
        super().__init__(message, signal_number)
        self.signal_number, self.exit_code = signal_number, 128 + signal_number

    def __str__(self) -> str:
        """Return the message alone."""
        return str(self.args[0])


@dataclass
class Stop:
    """Whether somebody has asked to stop: by a signal, or those who gave this process its work."""

    signal_number: int | None = None

    @property
    def requested(self) -> bool:
        """Ask after every step."""
        return self.signal_number is not None or stop_requested()


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn SIGTERM and Ctrl-C into a request that the loop honours after the present step."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, _frame: object) -> None:
        stop.signal_number = number

    old = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
