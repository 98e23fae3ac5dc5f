"""Measured figures: clocks, repetitions that take turns, and their spread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Times:
    """CPU and wall time of one piece of work, in seconds."""

    cpu: float
    wall: float

    def __sub__(self, other: Times) -> Times:
        return Times(self.cpu - other.cpu, self.wall - other.wall)

    def __add__(self, other: Times) -> Times:
        return Times(self.cpu + other.cpu, self.wall + other.wall)

    @classmethod
    def now(cls) -> Times:
        """CPU time of this process with all its threads, and a clock."""
        return cls(time.process_time(), time.monotonic())


NOTHING = Times(0.0, 0.0)


def timed(work: Callable[[], object]) -> Times:
    """Do it once."""
    start = Times.now()
    work()
    return Times.now() - start


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[Times]]:
    """Do all works once per round, A B A B ..., so that a busy moment hits all of them.

    A first round goes uncounted: caches and compiled code are then as they stay.
    """
    found: dict[str, list[Times]] = {name: [] for name in works}
    for i in range(rounds + 1):
        for name, work in works.items():
            taken = timed(work)
            if i:
                found[name].append(taken)
    return found


@dataclass(frozen=True)
class Figure:
    """One measured quantity: its median and spread over `n` repetitions."""

    what: str
    unit: str
    median: float
    min: float
    max: float
    n: int

    @classmethod
    def of(cls, what: str, unit: str, values: Iterable[float]) -> Figure:
        """Summarise repeated measurements."""
        found = [float(value) for value in values]
        return cls(what, unit, median(found), min(found), max(found), len(found))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, numbers to five digits."""
        rounded = {k: float(f"{getattr(self, k):.5g}") for k in ("median", "min", "max")}
        return asdict(self) | rounded


Figures = dict[str, Figure]


def load_average() -> list[float]:
    """Processes that wanted a core over the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]
