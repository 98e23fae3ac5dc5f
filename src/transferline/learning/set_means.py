"""Means over chosen particles: of each set first, so that large sets do not count more."""

from __future__ import annotations

from torch import Tensor


def mean_over_sets(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean over sets of the mean over a set's chosen particles, `[]`.

    Sets of which none is chosen do not count; 0 if there is no other.

    Args:
        values: `[t]`, of the chosen particles, in their order.
        chosen: `[n, p]` bool.
    """
    count = chosen.sum(1)
    weight = 1.0 / count[chosen.nonzero()[:, 0]]
    return (values * weight).sum() / (count > 0).sum().clamp(min=1)
