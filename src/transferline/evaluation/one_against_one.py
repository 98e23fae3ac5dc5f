"""AUC of many classes: every class against every other one, with signed weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transferline.evaluation.roc import Floats

Classes = npt.NDArray[np.int64]


class OneAgainstOne:
    r"""$\frac{1}{c(c-1)} \sum_{a \ne b} P(p_a(x_a) > p_a(x_b)) + P(=)/2$, x_a of class a.

    Macro average over ordered pairs of classes (Hand and Till, Mach. Learn. 45 (2001) 171), which
    weaver-core and so arXiv:2202.03772 report. Every column is sorted once; one pass over it gives
    the areas against all other classes, for any set of weights.

    Args:
        probability: `[n, c]`.
        target: `[n]`, the class of every event.
    """

    def __init__(self, probability: Floats, target: Classes) -> None:
        self._target, self._count = target, probability.shape[1]
        self._columns = [_Column(probability[:, a]) for a in range(self._count)]

    def auc(self, weight: Floats) -> float:
        """Return the average for the signed weights `[n]`; each class needs a positive sum."""
        sums = np.bincount(self._target, weight, self._count)
        total = 0.0
        for a, column in enumerate(self._columns):
            above = column.above(np.where(self._target == a, weight, 0.0)) / sums[a]
            areas = np.bincount(self._target, weight * above, self._count) / sums
            total += float(areas.sum() - areas[a])
        return float(total / (self._count * (self._count - 1)))


class _Column:
    """The scores of one class, sorted once."""

    def __init__(self, score: Floats) -> None:
        order = np.argsort(-score, kind="stable")
        new = np.diff(score[order]) != 0.0
        self._order = order
        # Place among the distinct scores, from the highest, of the sorted events.
        self._place = np.concatenate([[0], np.cumsum(new)])
        self._last = np.flatnonzero(np.append(new, True))

    def above(self, weight: Floats) -> Floats:
        """Return, per event `[n]`, the weight with higher scores and half of that with its own."""
        upto = np.cumsum(weight[self._order])[self._last]
        before = np.concatenate([[0.0], upto[:-1]])
        values = np.empty_like(weight)
        values[self._order] = ((upto + before) / 2)[self._place]
        return values
