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
    def __init__(self, bar: Progress, label: str, total: int) -> None:
        self._bar = bar
        self._label = label
        self._task = bar.add_task(label, total=total)

    def advance(self, n: int = 1) -> None:
        self._bar.advance(self._task, n)

    def note(self, text: str) -> None:
        self._bar.update(self._task, description=f"{self._label} [dim]{text}[/dim]")


class _Lines:
    """Batch logs keep every line, so print few: one per interval, with the time left."""

    def __init__(self, label: str, total: int, interval: float) -> None:
        self._label, self._total, self._interval = label, total, interval
        self._done, self._text = 0, ""
        self._start = self._last = time.monotonic()

    def advance(self, n: int = 1) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last >= self._interval or self._done == self._total:
            self._last = now
            left = (now - self._start) * (self._total - self._done) / max(self._done, 1)
            tail = f", {self._text}" if self._text else ""
            sys.stderr.write(
                f"{self._label}: {self._done}/{self._total}, {left:.0f} s left{tail}\n"
            )
            sys.stderr.flush()

    def note(self, text: str) -> None:
        self._text = text


@contextmanager
def progress(total: int, label: str, interval: float = 20.0) -> Iterator[Ticker]:
    """Show the progress of `total` units on standard error while the block runs."""
    if not sys.stderr.isatty():
        yield _Lines(label, total, interval)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        yield _Bar(bar, label, total)
