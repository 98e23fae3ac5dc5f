"""Numbers known from elsewhere, each with its source: `expectations.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from transferline.config import Recipe, load_config
from transferline.evaluation.measurement import Measurement
from transferline.validation.check import Check, Explanation


class Expectation(Recipe):
    """A number, how far ours may lie from it, and who says so."""

    value: float
    error: float = 0.0
    tolerance: float
    source: str


class _Table(Recipe):
    numbers: dict[str, Expectation]


@cache
def _table() -> dict[str, Expectation]:
    return load_config(Path(__file__).with_suffix(".yaml"), _Table).numbers


def expectation(name: str) -> Expectation:
    """Return one number of the table.

    >>> expectation("z_mass").value
    91.1876
    """
    return _table()[name]


def compare(
    quantity: str, measured: Measurement, name: str, explanation: Explanation | None = None
) -> Check:
    """Return the check of a measured number against that of the table called `name`."""
    known = expectation(name)
    expected = Measurement(known.value, known.error)
    return Check(quantity, measured, expected, known.tolerance, known.source, explanation)
