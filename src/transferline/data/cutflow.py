"""The cut-flow: how many events, raw and weighted, are left after each step of a selection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Step:
    """What is left after one step: events, and the sums of signed weights and their squares."""

    name: str
    events: int
    sum_weight: float
    sum_weight2: float

    @classmethod
    def of(cls, name: str, weight: NDArray[np.float64]) -> Step:
        """Count the events that have these weights."""
        return cls(name, len(weight), float(weight.sum()), float(np.square(weight).sum()))

    def __add__(self, other: Step) -> Step:
        return Step(
            self.name,
            self.events + other.events,
            self.sum_weight + other.sum_weight,
            self.sum_weight2 + other.sum_weight2,
        )


@dataclass(frozen=True)
class Cutflow:
    """The steps of one selection on one sample, in order."""

    steps: tuple[Step, ...] = ()

    def __add__(self, other: Cutflow) -> Cutflow:
        """Add the counts of another part of the sample, step by step."""
        if not self.steps or not other.steps:
            return self if self.steps else other
        return Cutflow(tuple(a + b for a, b in zip(self.steps, other.steps, strict=True)))

    def to_list(self) -> list[dict[str, Any]]:
        """Return one JSON object per step."""
        return [asdict(step) for step in self.steps]

    @classmethod
    def from_list(cls, rows: Iterable[dict[str, Any]]) -> Cutflow:
        """Undo `to_list`."""
        return cls(tuple(Step(**row) for row in rows))

    def render(self) -> str:
        """Return the table as lines of text with aligned columns.

        The weighted efficiency can exceed 1 or be negative where signed weights cancel.
        """
        names = ["step", *(step.name for step in self.steps)]
        width = max(len(name) for name in names)
        lines = [f"{'step':<{width}}  {'events':>12}  {'sum of weights':>15}  {'of all':>8}"]
        whole = self.steps[0].sum_weight if self.steps else 0.0
        for step in self.steps:
            share = f"{step.sum_weight / whole:.2%}" if whole else "-"
            lines.append(
                f"{step.name:<{width}}  {step.events:>12,}  {step.sum_weight:>15.6g}  {share:>8}"
            )
        return "\n".join(lines)
