"""A number whose error is itself an estimate, made from a few seeds: what it can decide."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtr, stdtr

from transferline.evaluation.measurement import Measurement


@dataclass(frozen=True)
class Estimate:
    r"""A value and its independent errors, each with the degrees of freedom that it rests on.

    The spread over k seeds has k - 1, which a Gaussian ignores: where nothing is there, two seeds
    are two of their own errors away from it in 29 % of all cases and three seeds in 18 %, not in 5.

    Args:
        value: the number.
        parts: pairs of a standard deviation and its degrees of freedom: infinite where it is well
            known, as that of a large test set; zero where it is not known at all, as the spread
            over a single seed.
    """

    value: float
    parts: tuple[tuple[float, float], ...]

    @property
    def error(self) -> float:
        """All that is known of the error, in quadrature."""
        return math.hypot(*(error for error, _ in self.parts))

    @property
    def measurement(self) -> Measurement:
        """Value and error."""
        return Measurement(self.value, self.error)

    @property
    def known(self) -> bool:
        """Whether all parts of the error are known, so that the number can decide something."""
        return all(freedom > 0 and math.isfinite(error) for error, freedom in self.parts)

    @property
    def degrees_of_freedom(self) -> float:
        r"""Of the whole error: $(\sum_i \sigma_i^2)^2 / \sum_i (\sigma_i^4 / \nu_i)$.

        After F. E. Satterthwaite, Biometrics Bulletin 2 (1946) 110.
        """
        largest = max((error for error, _ in self.parts), default=0.0)
        if largest == 0.0 or not math.isfinite(largest):
            return math.inf
        parts = [((error / largest) ** 2, freedom) for error, freedom in self.parts]
        below = sum(square**2 / freedom for square, freedom in parts if square)
        return sum(square for square, _ in parts) ** 2 / below if below else math.inf

    def p_value(self, null: float = 0.0) -> float:
        """Return how often chance is as far from `null` on either side, by Student's t.

        Not a number where the error is not known.
        """
        if not self.known:
            return math.nan
        away = abs(self.value - null)
        if self.error == 0.0:
            return float(away == 0.0)
        freedom, pull = self.degrees_of_freedom, away / self.error
        tail = ndtr(-pull) if math.isinf(freedom) else stdtr(freedom, -pull)
        return 2.0 * float(tail)

    def departs(self, sigma: float, null: float = 0.0) -> bool:
        """Whether chance is as far from `null` less often than a Gaussian is off by `sigma`."""
        return self.known and self.p_value(null) < 2.0 * float(ndtr(-sigma))

    def within(self, sigma: float, null: float = 0.0) -> bool:
        """Whether `null` is no more than `sigma` errors away, all of which are known."""
        return self.known and abs(self.value - null) <= sigma * self.error

    def scaled(self, factor: float) -> Estimate:
        """Return it times `factor`."""
        parts = tuple((abs(factor) * error, freedom) for error, freedom in self.parts)
        return Estimate(factor * self.value, parts)

    def minus(self, other: Estimate) -> Estimate:
        """Return the difference from an independent one."""
        return Estimate(self.value - other.value, self.parts + other.parts)

    def __str__(self) -> str:
        return str(self.measurement)
