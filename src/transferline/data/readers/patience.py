"""Trying again: which failures can pass, how often to repeat, and how long to wait in between."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from transferline.errors import DataError
from transferline.stopping import check_stop

T = TypeVar("T")
_LONGEST_WAIT_S = 60.0
GLANCE_S = 0.25  # between two looks at whether the user has stopped the work


class UnreachableError(DataError):
    """A file cannot be had: it is not there, access is refused, or its server does not answer."""


class TemporaryError(Exception):
    """One attempt failed in a way that can pass: a lost connection, a busy server, a short answer.

    Attributes:
        wait_s: seconds that the server asked to wait, None if it did not say.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Patience:
    """How to deal with a server that fails now and then.

    Attributes:
        retries: attempts after the first one.
        timeout_s: a server that sends nothing for so long has failed.
        wait_s: before the first retry; doubled for every further one.
    """

    retries: int = 4
    timeout_s: float = 30.0
    wait_s: float = 1.0

    def waits(self) -> Iterator[float]:
        r"""Yield the seconds before each retry, $w\,2^k\,u$ with u uniform in [0.5, 1.5].

        The random factor keeps a thousand jobs from knocking at the same moment again.
        """
        for attempt in range(self.retries):
            yield min(self.wait_s * 2**attempt, _LONGEST_WAIT_S) * random.uniform(0.5, 1.5)


DEFAULT_PATIENCE = Patience()


@dataclass
class Traffic:
    """Counts what reading remote files took."""

    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count_retry(self) -> None:
        """Add one; several threads read one file."""
        with self._lock:
            self.retries += 1


_traffic: ContextVar[Traffic | None] = ContextVar("traffic", default=None)


@contextmanager
def counted_traffic() -> Iterator[Traffic]:
    """Count the retries of the remote files that are opened in this block, in this thread."""
    traffic = Traffic()
    token = _traffic.set(traffic)
    try:
        yield traffic
    finally:
        _traffic.reset(token)


def current_traffic() -> Traffic:
    """Return the counter of the enclosing `counted_traffic`, or a fresh one."""
    return _traffic.get() or Traffic()


def persistently(
    attempt: Callable[[], T],
    name: str,
    patience: Patience,
    traffic: Traffic,
    stopped: threading.Event,
) -> T:
    """Return what `attempt` returns; repeat it while it raises `TemporaryError`.

    Args:
        attempt: does the work once.
        name: the file, for the message.
        patience: how often, and how long to wait.
        traffic: counts the retries.
        stopped: set when nobody waits for the result any more.

    Raises:
        UnreachableError: all attempts failed.
        WorkGivenUpError: the user has stopped the work.
    """
    waits = patience.waits()
    while True:
        try:
            return attempt()
        except TemporaryError as error:
            wait = next(waits, None)
            if wait is None or stopped.is_set():
                raise UnreachableError(_gave_up(name, patience, error)) from error
            asked = min(error.wait_s or 0.0, _LONGEST_WAIT_S)
            traffic.count_retry()
            _pause(max(wait, asked), stopped)


def _pause(seconds: float, stopped: threading.Event) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stopped.wait(min(left, GLANCE_S)):
        check_stop()


def _gave_up(name: str, patience: Patience, error: TemporaryError) -> str:
    n = patience.retries + 1
    return (
        f"{name}: cannot be read, {n} attempt{'s' if n > 1 else ''} failed (the last one: "
        f"{error}). Try again later, with more --retries or a longer --timeout, or --skip it."
    )
