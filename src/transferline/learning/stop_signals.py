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
    """The training was asked to stop (SIGTERM or Ctrl-C) and has written its state."""

    exit_code = 143


@dataclass
class Stop:
    """Whether somebody has asked to stop: by a signal, or those who gave this process its work."""

    signalled: bool = False

    @property
    def requested(self) -> bool:
        """Ask after every step."""
        return self.signalled or stop_requested()


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn SIGTERM and Ctrl-C into a request that the loop honours after the present step."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(_number: int, _frame: object) -> None:
        stop.signalled = True

    old = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
