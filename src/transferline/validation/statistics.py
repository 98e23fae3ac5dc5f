"""Weighted numbers with errors: shares, means, medians, peaks and widths."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transferline.evaluation.measurement import Measurement
from transferline.validation.check import UNKNOWN

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

_REPLICAS = 100
_FEW = 10
_WINDOW = 1.5
# Standard deviation of a standard normal variable that is kept within +- _WINDOW.
_DENSITY = math.exp(-0.5 * _WINDOW**2) / math.sqrt(2 * math.pi)
_TRUNCATED = math.sqrt(1 - 2 * _WINDOW * _DENSITY / math.erf(_WINDOW / math.sqrt(2)))


def share(passed: Bools, weight: Floats | None = None) -> Measurement:
    """Return the weighted share of those that pass.

    The error is that of a ratio of correlated sums, and at least that of one more event: a share
    of 0 or 1 out of few events is not exact.
    """
    if len(passed) == 0:
        return UNKNOWN
    w = np.ones(len(passed)) if weight is None else np.asarray(weight, float)
    total = w.sum()
    value = float(w[passed].sum() / total)
    error = float(np.sqrt(np.sum((w * (passed - value)) ** 2)) / abs(total))
    return Measurement(value, max(error, float(np.sum(w**2) / total**2)))


def mean(values: Floats, weight: Floats | None = None) -> Measurement:
    """Return the weighted mean with its standard error."""
    if len(values) < 2:
        return UNKNOWN
    w = np.ones(len(values)) if weight is None else np.asarray(weight, float)
    value = float(np.average(values, weights=w))
    return Measurement(value, float(np.sqrt(np.sum((w * (values - value)) ** 2)) / abs(w.sum())))


def bootstrap(
    function: Callable[[Floats, Floats], float], values: Floats, weight: Floats, seed: int = 0
) -> Measurement:
    """Return `function(values, weight)` with the spread of its Poisson bootstrap.

    `values` is `[n]` or `[n, columns]`.
    """
    return _bootstrap(lambda x, w: (function(x, w),), values, weight, 1, seed)[0]


def _bootstrap(
    function: Callable[[Floats, Floats], tuple[float, ...]],
    values: Floats,
    weight: Floats,
    numbers: int,
    seed: int = 0,
) -> list[Measurement]:
    """Return the `numbers` that `function` gives, each with its spread."""
    if len(values) < _FEW:
        return [UNKNOWN] * numbers
    rng = np.random.default_rng(seed)
    draws = [function(values, weight * rng.poisson(1.0, len(weight))) for _ in range(_REPLICAS)]
    spread = np.std(draws, axis=0, ddof=1)
    central = function(values, weight)
    return [Measurement(float(v), float(e)) for v, e in zip(central, spread, strict=True)]


def _sorted(values: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    order = np.argsort(values)
    w = np.ones(len(values)) if weight is None else np.asarray(weight, float)
    return np.asarray(values, float)[order], w[order]


def quantile(values: Floats, height: Floats, point: float) -> float:
    """Return a quantile of sorted values, from the running sum of their weights.

    >>> quantile(np.array([1.0, 2.0, 3.0]), np.cumsum(np.ones(3)), 0.5)
    2.0
    """
    index = int(np.searchsorted(height, point * height[-1]))
    return float(values[min(index, len(values) - 1)])


def median(values: Floats, weight: Floats | None = None) -> Measurement:
    """Return the weighted median with its bootstrap error."""
    return bootstrap(lambda x, w: quantile(x, np.cumsum(w), 0.5), *_sorted(values, weight))


def half_width(values: Floats, weight: Floats | None = None) -> Measurement:
    """Return half of the central interval that holds 68.3 %: sigma for a Gaussian."""
    return bootstrap(lambda x, w: _half_width(x, np.cumsum(w)), *_sorted(values, weight))


def _half_width(values: Floats, height: Floats) -> float:
    return 0.5 * (quantile(values, height, 0.8415) - quantile(values, height, 0.1585))


def rms(values: Floats, weight: Floats | None = None) -> Measurement:
    """Return the weighted standard deviation with its bootstrap error."""

    def spread(x: Floats, w: Floats) -> float:
        centre = np.average(x, weights=w)
        return float(np.sqrt(np.average((x - centre) ** 2, weights=w)))

    return bootstrap(spread, values, np.ones(len(values)) if weight is None else weight)


class Peak(NamedTuple):
    """Position and width of a peak."""

    position: Measurement
    width: Measurement


def gaussian_core(values: Floats, weight: Floats | None = None) -> Peak:
    """Return mean and standard deviation of the Gaussian core of a peak, tails left out.

    Moments within 1.5 standard deviations are taken again until they stand still; for a Gaussian
    that is its own mean and standard deviation.
    """
    return Peak(*_bootstrap(_core, *_sorted(values, weight), 2))


def _core(values: Floats, weight: Floats) -> tuple[float, float]:
    """Return the core of sorted values; running sums make each step a search."""
    sums = [np.concatenate([[0.0], np.cumsum(weight * values**k)]) for k in range(3)]
    centre = quantile(values, sums[0][1:], 0.5)
    width = _half_width(values, sums[0][1:])
    for _ in range(50):
        low, high = np.searchsorted(values, (centre - _WINDOW * width, centre + _WINDOW * width))
        total, first, second = (s[high] - s[low] for s in sums)
        if not total > 0:
            break
        new = first / total
        spread = math.sqrt(max(second / total - new * new, 0.0)) / _TRUNCATED
        moved = abs(new - centre) + abs(spread - width)
        centre, width = new, spread
        if moved < 1e-4 * width:
            break
    return float(centre), float(width)


def maximum(values: Floats, weight: Floats, grid: Floats, width: float) -> Measurement:
    """Return where the density is largest, smoothed with a Gaussian of this `width`.

    For a peak on a broad background, of which a mean would take account. `grid` is regular.
    """
    step = float(grid[1] - grid[0])
    edges = np.append(grid - step / 2, grid[-1] + step / 2)
    # Odd in number: about the middle of an even one, "same" would be off by a step.
    reach = min(math.ceil(4 * width / step), (len(grid) - 1) // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)

    def position(x: Floats, v: Floats) -> float:
        content, _ = np.histogram(x, edges, weights=v)
        return float(grid[np.argmax(np.convolve(content, kernel, "same"))])

    return bootstrap(position, values, weight)


def chi2_per_degree(measured: list[Measurement], expected: list[float]) -> Measurement:
    """Return chi2 / n of numbers against expectations without error; its error is sqrt(2 / n).

    Numbers that could not be measured are left out.
    """
    pulls = [
        (m.value - e) / m.error
        for m, e in zip(measured, expected, strict=True)
        if m.error > 0 and math.isfinite(m.error)
    ]
    if not pulls:
        return UNKNOWN
    return Measurement(float(np.mean(np.square(pulls))), math.sqrt(2 / len(pulls)))
