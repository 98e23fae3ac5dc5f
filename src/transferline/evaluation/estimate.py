"""A number whose error is itself an estimate, made from a few seeds: what it can decide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaincinv, ndtr, stdtr

from transferline.evaluation.measurement import Measurement
from transferline.evaluation.roc import Floats

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)


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
        r"""Of the spreads over seeds: $(\sum_i \sigma_i^2)^2 / \sum_i (\sigma_i^4 / \nu_i)$.

        After F. E. Satterthwaite, Biometrics Bulletin 2 (1946) 110. What is well known is left out:
        beside it a spread that is small by accident, as that of two seeds often is, would count
        for nothing.
        """
        spreads = [(error, freedom) for error, freedom in self.parts if math.isfinite(freedom)]
        largest = max((error for error, _ in spreads), default=0.0)
        if largest == 0.0 or not math.isfinite(largest):
            return math.inf
        parts = [((error / largest) ** 2, freedom) for error, freedom in spreads]
        below = sum(square**2 / freedom for square, freedom in parts if square)
        return sum(square for square, _ in parts) ** 2 / below if below else math.inf

    def p_value(self, null: float = 0.0) -> float:
        r"""Return how often chance is as far from `null` on either side.

        Chance is $\sigma_0 Z + \sigma_s T_\nu$, a Gaussian of what is well known and Student's t of
        the spreads over seeds (W. U. Behrens 1929, R. A. Fisher 1935). Not a number where the
        error is not known.
        """
        if not self.known:
            return math.nan
        away = abs(self.value - null)
        if self.error == 0.0:
            return float(away == 0.0)
        known = math.hypot(*(error for error, freedom in self.parts if math.isinf(freedom)))
        spread = math.hypot(*(error for error, freedom in self.parts if math.isfinite(freedom)))
        return 2.0 * _tail(away, known, spread, self.degrees_of_freedom)

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


def _tail(away: float, known: float, spread: float, freedom: float) -> float:
    r"""Return how often $\sigma_0 Z + \sigma_s T_\nu$ exceeds `away`.

    Given the $\chi^2_\nu$ in the denominator of t it is a Gaussian; the average over that is a sum
    over its quantiles $u = x^4$, which are dense where it is small and t is large.
    """
    if spread == 0.0:
        return float(ndtr(-away / known))
    if known == 0.0:
        return float(stdtr(freedom, -away / spread))
    weight, factor = _widening(freedom)
    return float(np.sum(weight * ndtr(-away / np.sqrt(known**2 + spread**2 * factor))))


@lru_cache(maxsize=1000)
def _widening(freedom: float) -> tuple[Floats, Floats]:
    r"""Return weights and values of $\nu / \chi^2_\nu$."""
    x = 0.5 * (_NODES + 1.0)
    return 2.0 * _WEIGHTS * x**3, freedom / (2.0 * gammaincinv(0.5 * freedom, x**4))
