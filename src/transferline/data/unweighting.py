"""Unweighting: events that each stand for the same, from events with positive weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TRUNCATED = 0.005
"""Largest share of a cross section that may lie above the ceiling of the weights."""

Weights = NDArray[np.floating[Any]]


def ceiling(weight: Weights, truncated: float = TRUNCATED) -> float:
    r"""Return the least weight c among `weight` with $\sum_i \max(w_i - c, 0) \le t \sum_i w_i$.

    An event is accepted with probability min(w / c, 1). With c the largest weight of all that is
    exact, but one event of a heavy tail costs most of the others; below it the events above c are
    too few, by the share t of the cross section at most. Generators that unweight do the same.

    Args:
        weight: `[n]`, positive, n > 0.
        truncated: t.
    """
    falling = np.sort(np.asarray(weight, np.float64))[::-1]
    total = np.cumsum(falling)
    excess = total - falling * np.arange(1, len(falling) + 1)
    allowed = int(np.searchsorted(excess, truncated * total[-1], side="right"))
    return float(falling[max(allowed, 1) - 1])


def lost_above(weight: Weights, top: float) -> float:
    r"""Return the share above a ceiling c, $\sum_i \max(w_i - c, 0) / \sum_i w_i$."""
    return float(np.clip(weight - top, 0.0, None).sum() / weight.sum())


def unweighted(weight: Weights, top: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the numbers of the events that are accepted, each with min(w / top, 1); rising."""
    if weight.min() >= top:
        return np.arange(len(weight))
    return np.flatnonzero(random.random(len(weight)) * top < weight).astype(np.int64)
