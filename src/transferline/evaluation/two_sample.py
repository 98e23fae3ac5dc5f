"""Are two samples drawn from one distribution? For over-training and for score shapes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transferline.errors import DataError
from transferline.evaluation.roc import Floats

_TERMS = np.arange(1, 101)


def kolmogorov_smirnov(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    weight_a: npt.ArrayLike | None = None,
    weight_b: npt.ArrayLike | None = None,
) -> float:
    """Return the p-value that `a` `[n]` and `b` `[m]` share one distribution.

    The largest distance `D` of the two weighted distribution functions, with
    `N_eff = (sum w)^2 / sum w^2` in place of event counts:
    `p = Q((sqrt(N) + 0.12 + 0.11 / sqrt(N)) D)`, `1/N = 1/N_a + 1/N_b`,
    `Q(x) = 2 sum_k (-1)^(k-1) exp(-2 k^2 x^2)` (Stephens 1970). Tied scores make it conservative.

    Raises:
        DataError: a sample is empty or its weights have no positive sum.
    """
    x, w_x = _sample(a, weight_a)
    y, w_y = _sample(b, weight_b)
    points = np.concatenate([x, y])
    distance = float(np.max(np.abs(_cdf(x, w_x, points) - _cdf(y, w_y, points))))
    size = np.sqrt(1.0 / (1.0 / _effective(w_x) + 1.0 / _effective(w_y)))
    return _tail(float((size + 0.12 + 0.11 / size) * distance))


def _sample(values: npt.ArrayLike, weight: npt.ArrayLike | None) -> tuple[Floats, Floats]:
    x = np.asarray(values, dtype=np.float64)
    w = np.ones_like(x) if weight is None else np.asarray(weight, dtype=np.float64)
    if x.size == 0 or not w.sum() > 0.0:
        raise DataError("a sample to compare is empty or its weights have no positive sum.")
    order = np.argsort(x, kind="stable")
    return x[order], w[order]


def _cdf(x: Floats, w: Floats, points: Floats) -> Floats:
    total = np.concatenate([[0.0], np.cumsum(w)])
    return np.asarray(total[np.searchsorted(x, points, side="right")] / total[-1])


def _effective(w: Floats) -> float:
    return float(w.sum() ** 2 / np.sum(w**2))


def _tail(x: float) -> float:
    if x < 0.2:  # the alternating series has not converged, and the answer is one
        return 1.0
    terms = (-1.0) ** (_TERMS - 1) * np.exp(-2.0 * _TERMS**2 * x**2)
    return float(np.clip(2.0 * terms.sum(), 0.0, 1.0))


def wasserstein(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    r"""Return the Wasserstein-1 distance of two samples `[n]` and `[m]`, in their unit.

    $W_1 = \int |F_a(x) - F_b(x)|\,dx$ with the distribution functions of the samples: how far the
    values of one must be moved, on average, to become those of the other.

    Raises:
        DataError: a sample is empty.
    """
    x, w_x = _sample(a, None)
    y, w_y = _sample(b, None)
    points = np.sort(np.concatenate([x, y]))
    difference = _cdf(x, w_x, points[:-1]) - _cdf(y, w_y, points[:-1])
    return float(np.sum(np.abs(difference) * np.diff(points)))
