"""One number beside what it should be, and the verdict that follows from the two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from transferline.evaluation.measurement import Measurement

_SIGMAS = 3.0


class Verdict(StrEnum):
    """What a comparison says."""

    AGREES = "agrees"
    EXPLAINED = "explained"
    DISAGREES = "disagrees"
    UNDECIDED = "too few events"


@dataclass(frozen=True)
class Explanation:
    """Why a number may differ, and the proof: the same number with that cause removed."""

    cause: str
    control: Measurement


@dataclass(frozen=True)
class Check:
    """A measured quantity, what is expected of it, and how far the two may lie apart.

    Attributes:
        quantity: what was measured, with its unit.
        measured: the number.
        expected: the detector card's or a published number, with its error if it has one.
        tolerance: systematic difference that is allowed, in the unit of the quantity.
        source: where `expected` comes from.
        explanation: a cause of a difference, with a control measurement.
    """

    quantity: str
    measured: Measurement
    expected: Measurement
    tolerance: float
    source: str
    explanation: Explanation | None = None

    @property
    def verdict(self) -> Verdict:
        """What the numbers say.

        A number agrees within the tolerance and three standard errors. One that does not is
        explained if the control agrees and could have failed to. Where three standard errors
        exceed both twice the tolerance and half of the expected value, nothing could disagree:
        too few events.
        """
        if not self._decides(self.measured):
            return Verdict.UNDECIDED
        if self._agrees(self.measured):
            return Verdict.AGREES
        if self.explanation is None or not self.control_decides:
            return Verdict.DISAGREES
        agrees = self._agrees(self.explanation.control)
        return Verdict.EXPLAINED if agrees else Verdict.DISAGREES

    @property
    def control_decides(self) -> bool:
        """Tell whether there is a control that could fail.

        What it is allowed must be less than the difference that it is to explain: otherwise a
        control that changes nothing would agree.
        """
        if self.explanation is None or not self._decides(self.explanation.control):
            return False
        difference = abs(self.measured.value - self.expected.value)
        return self._allowed(self.explanation.control) < difference

    def _random(self, number: Measurement) -> float:
        return _SIGMAS * math.hypot(number.error, self.expected.error)

    def _decides(self, number: Measurement) -> bool:
        values = (number.value, number.error, self.expected.value, self.expected.error)
        if not all(map(math.isfinite, values)):
            return False
        return self._random(number) <= max(2 * self.tolerance, 0.5 * abs(self.expected.value))

    def _agrees(self, number: Measurement) -> bool:
        # A product of the same numbers may differ in the last bit.
        return abs(number.value - self.expected.value) <= self._allowed(number) + 1e-9

    def _allowed(self, number: Measurement) -> float:
        return self.tolerance + self._random(number)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; numbers that are not finite become null."""
        why = self.explanation
        return {
            "quantity": self.quantity,
            "measured": plain(self.measured),
            "expected": plain(self.expected),
            "tolerance": self.tolerance if math.isfinite(self.tolerance) else None,
            "source": self.source,
            "verdict": str(self.verdict),
            "cause": why.cause if why else None,
            "control": plain(why.control) if why else None,
        }


def plain(number: Measurement) -> dict[str, float | None]:
    """Return value and error as JSON values; what is not finite becomes null."""
    parts = {"value": number.value, "error": number.error}
    return {name: part if math.isfinite(part) else None for name, part in parts.items()}


def exactly(value: float) -> Measurement:
    """Return a number that has no error, such as one of the detector card.

    >>> exactly(0.7)
    Measurement(value=0.7, error=0.0, bound=None)
    """
    return Measurement(value, 0.0)


UNKNOWN = Measurement(math.nan, math.nan)
"""What there was nothing to measure with."""
