"""What transfer gains: paired differences, error reduction and the share of a gap closed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from transferline.errors import NumericalError
from transferline.evaluation.estimate import Estimate
from transferline.evaluation.learning_curve import Line, Point, estimate_of
from transferline.evaluation.measurement import Measurement


@dataclass(frozen=True)
class Difference:
    """Two modes at one number of labelled events, compared seed by seed.

    `paired_test` tells whether the error of the common test set was paired as well; without
    replicas in the Records it counts for both modes and is an upper bound.
    """

    n_train: int
    estimate: Estimate
    seeds: tuple[int, ...]
    paired_test: bool

    @property
    def measurement(self) -> Measurement:
        """Value and error."""
        return self.estimate.measurement

    @property
    def significance(self) -> float:
        """Value over error; without an error infinite, or zero where there is no difference."""
        value, error = self.estimate.value, self.estimate.error
        if error == 0.0:
            return math.copysign(math.inf, value) if value else 0.0
        return value / error


def paired_difference(line: Line, reference: Line) -> list[Difference]:
    """Return `line - reference` at every common `n_train`, over their common seeds.

    The seeds part of the error is the standard deviation of the differences by seed over the root
    of their number. Sizes without a common seed are left out.
    """
    pairs = [(point, other) for point in line.points for other in reference.points]
    return [
        _difference(*common_seeds(point, other))
        for point, other in pairs
        if point.n_train == other.n_train and point.values.keys() & other.values.keys()
    ]


def _difference(point: Point, other: Point) -> Difference:
    return Difference(
        point.n_train,
        estimate_of([(1.0, point), (-1.0, other)]),
        tuple(sorted(point.values)),
        point.from_test.keys() == other.from_test.keys(),
    )


def common_seeds(point: Point, other: Point) -> tuple[Point, Point]:
    """Return both points with only the seeds that both have."""
    seeds = point.values.keys() & other.values.keys()
    return point.restricted(seeds), other.restricted(seeds)


def error_reduction(line: Line, reference: Line) -> dict[int, Estimate]:
    """Return `1 - (1 - line) / (1 - reference)` by `n_train`: the share of `1 - AUC` removed.

    Sizes without a common seed, or where the reference leaves nothing to remove, are left out.
    """
    pairs = (
        common_seeds(line.at(found.n_train), reference.at(found.n_train))
        for found in paired_difference(line, reference)
    )
    return {p.n_train: _reduction(p, other) for p, other in pairs if other.value < 1.0}


def _reduction(point: Point, other: Point) -> Estimate:
    left = 1.0 - other.value
    ratio = (1.0 - point.value) / left
    linear = estimate_of([(1.0, point), (-ratio, other)]).scaled(1.0 / left)
    return Estimate(1.0 - ratio, linear.parts)


def gap_closed(transferred: Line, scratch: Line, n_low: int, n_high: int) -> Estimate:
    """Return the share of scratch's gain from `n_low` to `n_high` labels that transfer saves.

    `(transferred(n_low) - scratch(n_low)) / (scratch(n_high) - scratch(n_low))`; the error is that
    of the ratio to first order, with all covariances.

    Raises:
        DataError: a line lacks a point.
        NumericalError: scratch does not improve from `n_low` to `n_high`.
    """
    top, bottom, high = transferred.at(n_low), scratch.at(n_low), scratch.at(n_high)
    gap = high.value - bottom.value
    if gap <= 0.0:
        raise NumericalError(
            f"scratch does not improve from {n_low} to {n_high} labelled events "
            f"({bottom.measurement} to {high.measurement}): there is no gap to close."
        )
    share = (top.value - bottom.value) / gap
    return Estimate(share, beyond_share(top, bottom, high, share).scaled(1.0 / gap).parts)


def beyond_share(top: Point, bottom: Point, high: Point, share: float) -> Estimate:
    """Return `top - bottom - share * (high - bottom)`: above zero, that much more is closed.

    Linear, so that its error is exact, and that of the gap counts by the share that is asked about.
    """
    return estimate_of([(1.0, top), (share - 1.0, bottom), (-share, high)])
