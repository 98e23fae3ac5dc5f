"""Progress with time left: a bar on a terminal, one plain line per interval elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def say(line: str) -> None:
    """Print one line for people on standard error."""
    sys.stderr.write(line + "\n")


class Ticker(Protocol):
    """What `progress` yields."""

    def advance(self, n: int = 1) -> None:
        """Report that `n` more units are done."""

    def note(self, text: str) -> None:
        """Show a short text, such as the present loss, beside the bar."""


class _Bar:
    def __init__(self, bar: Progress, label: str, total: int, done: int) -> None:
        self._bar = bar
        self._label = label
        self._task = bar.add_task(label, total=total, completed=done)

    def advance(self, n: int = 1) -> None:
        self._bar.advance(self._task, n)

    def note(self, text: str) -> None:
        self._bar.update(self._task, description=f"{self._label} [dim]{text}[/dim]")


class _Lines:
    """Batch logs keep every line, so print few: one per interval, with the time left."""

    def __init__(self, label: str, total: int, done: int, interval: float) -> None:
        self._label, self._total, self._interval = label, total, interval
        self._before = self._done = done
        self._text = ""
        self._start = self._last = time.monotonic()
        if done >= total > 0:
            self.advance(0)

    def advance(self, n: int = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last >= self._interval or self._done == self._total:
            self._last = now
            each = (now - self._start) / max(self._done - self._before, 1)
            left = each * (self._total - self._done)
            tail = f", {self._text}" if self._text else ""
            sys.stderr.write(
                f"{self._label}: {self._done}/{self._total}, {left:.0f} s left{tail}\n"
            )
            sys.stderr.flush()

    def note(self, text: str) -> None:
        self._text = text


@contextmanager
def progress(total: int, label: str, *, done: int = 0, interval: float = 20.0) -> Iterator[Ticker]:
    """Show the progress of `total` units on standard error while the block runs.

    `done` of them were done earlier, which tells nothing of the time that the others need.
    """
    if not sys.stderr.isatty():
        yield _Lines(label, total, done, interval)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        yield _Bar(bar, label, total, done)
