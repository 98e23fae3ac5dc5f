"""The data-efficiency factor: how many labelled events pre-training is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import chdtri

from transferline.errors import DataError
from transferline.evaluation.learning_curve import Line, Point
from transferline.evaluation.roc import Floats

_DRAWS = 4000
# The central 68.27 % of a distribution.
_LOW, _HIGH = 0.158655, 0.841345
_FARTHEST = 10.0  # of two neighbouring sizes of scratch, as ratio, between which a line is drawn


@dataclass(frozen=True)
class Factor:
    """Labelled events scratch needs over those the transferred model had, at equal metric.

    Args:
        n_train: labelled events of the transferred model.
        value: the factor, or its bound where `limit` says so.
        low: lower end of the central 68 % interval; zero where it leaves the curve.
        high: upper end; infinite where it leaves the curve.
        limit: "at least" where scratch never reaches the metric, "at most" where even its
            smallest size exceeds it, else empty.
        between: lowest and highest factor where scratch's two sizes around the value are more than
            ten times apart. Learning curves bend: a straight line between such sizes can be off by
            a factor of two, which no interval tells.
    """

    n_train: int
    value: float
    low: float
    high: float
    limit: Literal["", "at least", "at most"]
    between: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.between is not None:
            return "{:.3g} to {:.3g}, no size between".format(*self.between)
        if self.limit == "at least":
            return f"≥ {self.value:.2g}" + (f" (84 %: > {self.low:.2g})" if self._is_open else "")
        if self.limit == "at most":
            return f"≤ {self.value:.2g}" + (f" (84 %: < {self.high:.2g})" if self._is_open else "")
        low = f"{self.low:.2g}" if self.low > 0 else "below the curve"
        high = f"{self.high:.2g}" if math.isfinite(self.high) else "beyond the curve"
        return f"{self.value:.2g} (68 %: {low} to {high})"

    @property
    def _is_open(self) -> bool:
        """Whether the bound itself moves within its error."""
        return bool(self.low < self.value if self.limit == "at least" else self.high > self.value)


def data_efficiency(transferred: Line, scratch: Line, seed: int = 0) -> list[Factor]:
    """Return the factor at every size of `transferred`.

    Scratch's curve is made monotone by isotonic regression and inverted linearly in log n. The
    interval comes from drawing all points together from their errors, so that shared seeds and
    the shared test set are shared in the draws, and inverting each drawn curve. What the seeds
    contribute is drawn from Student's t, as that error is itself an estimate.

    Raises:
        DataError: scratch has fewer than two sizes.
    """
    if len(scratch.points) < 2:
        raise DataError(
            f"a data-efficiency factor needs scratch at two or more sizes, not {scratch.n_train}."
        )
    points = [*scratch.points, *transferred.points]
    drawn = _draw(points, seed)
    count = len(scratch.points)
    log_n = np.log(np.array(scratch.n_train, dtype=np.float64))
    curve = isotonic(np.array([[point.value for point in scratch.points]]))
    curves = isotonic(drawn[:, :count])
    factors = []
    for column, point in enumerate(transferred.points, start=count):
        central = _needed(curve, log_n, np.array([point.value]))[0]
        spread = _needed(curves, log_n, drawn[:, column])
        factors.append(_factor(point.n_train, float(central), spread, log_n))
    return factors


def _draw(points: list[Point], seed: int) -> Floats:
    """Return `[draws, points]` values, fluctuated with all their covariances.

    Student's t is a Gaussian over the root of a chi-square by its degrees of freedom. Each point
    has its own, all of one draw at the same quantile, as their seeds are the same.
    """
    rng = np.random.default_rng(seed)
    shifts = _fluctuations([point.from_test for point in points], rng)
    spreads = _fluctuations([point.from_seeds for point in points], rng)
    quantile = rng.uniform(size=(_DRAWS, 1))
    freedom = np.array([max(len(point.values) - 1, 1) for point in points])
    shifts = shifts + spreads * np.sqrt(freedom / chdtri(freedom, quantile))
    return np.asarray([point.value for point in points] + shifts)


def _fluctuations(parts: list[Mapping[str, float]], rng: np.random.Generator) -> Floats:
    """Return `[draws, points]` Gaussian shifts from independent sources that points may share."""
    sources = sorted({name for part in parts for name in part})
    matrix = np.array([[part.get(name, 0.0) for name in sources] for part in parts])
    noise = rng.standard_normal((_DRAWS, len(sources)))
    return np.asarray(noise @ matrix.reshape(len(parts), len(sources)).T)


def isotonic(values: Floats) -> Floats:
    """Return the non-decreasing curves `[..., m]` nearest to `values` in least squares.

    `y_i = max_{a <= i} min_{b >= i} mean(values_a ... values_b)`, the min-max form of isotonic
    regression; neutral to noise, where a running maximum would climb with it.

    >>> isotonic(np.array([1.0, 3.0, 2.0, 4.0])).tolist()
    [1.0, 2.5, 2.5, 4.0]
    """
    size = values.shape[-1]
    result = np.empty_like(values)
    for i in range(size):
        smallest = [
            np.min([values[..., a : b + 1].mean(axis=-1) for b in range(i, size)], axis=0)
            for a in range(i + 1)
        ]
        result[..., i] = np.max(smallest, axis=0)
    return result


def _needed(curves: Floats, log_n: Floats, wanted: Floats) -> Floats:
    """Return the smallest `log n` where each curve `[k, m]` reaches `wanted` `[k]`.

    Plus infinity where it never does, minus infinity where it lies above it from the start.
    """
    reached = curves >= wanted[:, None]
    right = np.clip(np.argmax(reached, axis=1), 1, None)
    rows = np.arange(len(curves))
    low, high = curves[rows, right - 1], curves[rows, right]
    rise = np.where(high > low, high - low, 1.0)
    part = np.clip((wanted - low) / rise, 0.0, 1.0)
    found = log_n[right - 1] + part * (log_n[right] - log_n[right - 1])
    found = np.where(reached.any(axis=1), found, np.inf)
    return np.where(curves[:, 0] > wanted, -np.inf, found)


def _factor(n_train: int, central: float, spread: Floats, log_n: Floats) -> Factor:
    # Nearest order statistics: an interpolation between infinite values is not a number.
    low, high = np.quantile(spread, [_LOW, _HIGH], method="inverted_cdf")
    own, first, last = math.log(n_train), float(log_n[0]), float(log_n[-1])
    limit: Literal["", "at least", "at most"] = ""
    if central == math.inf:
        central, limit, low = last, "at least", min(low, last)
    elif central == -math.inf:
        central, limit, high = first, "at most", max(high, first)
    return Factor(
        n_train,
        math.exp(central - own),
        math.exp(float(low) - own),
        math.exp(float(high) - own),
        limit,
        None if limit else _far_apart(central, own, log_n),
    )


def _far_apart(central: float, own: float, log_n: Floats) -> tuple[float, float] | None:
    """The factors of the two sizes around a value, if they are too far apart to read between."""
    right = int(np.clip(np.searchsorted(log_n, central), 1, len(log_n) - 1))
    low, high = float(log_n[right - 1]), float(log_n[right])
    on_a_size = min(abs(central - low), abs(central - high)) < 1e-9
    if on_a_size or high - low <= math.log(_FARTHEST) + 1e-9:
        return None
    return math.exp(low - own), math.exp(high - own)
