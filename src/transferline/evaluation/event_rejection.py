"""Background rejection of an analysis, weighted and not, and what the number rests on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transferline.evaluation.bootstrap import REPLICAS, replica_weights
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.roc import Bools, Ints, Ranking, check_inputs
from transferline.evaluation.tail import effective, rejection, unseen

POINTS = (50, 70, 90)
"""Signal efficiencies in per cent; 90 is the headline of arXiv:2401.13536."""


def rejections(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    seed: int = 0,
    *,
    points: tuple[int, ...] = POINTS,
    stratum: npt.ArrayLike | None = None,
    replicas: int = REPLICAS,
) -> tuple[dict[str, Measurement], dict[str, tuple[float, ...]]]:
    """Return `rejection_<point>`, 1 / background efficiency at that signal efficiency.

    Beside the measurements stand their replicas, infinite where no background passes.

    The threshold moves along in the bootstrap over test events, see
    `transferline.evaluation.metrics`; with fewer than three effective background events above it
    the number is a lower limit, see `transferline.evaluation.tail`.

    Args:
        scores: `[n]`, higher is more signal-like.
        target: `[n]`, 1 = signal, 0 = background.
        weight: `[n]`, signed.
        seed: of the bootstrap counts.
        points: signal efficiencies in per cent.
        stratum: `[n]` int, the sample of each event, where samples have weights of their own: one
            that leaves no event above a threshold adds to the error there.
        replicas: number of bootstrap replicas.

    Raises:
        DataError, NumericalError: as `transferline.evaluation.roc.check_inputs`.

    >>> found, _ = rejections([3, 2, 1, 0, 2.5, 0.5], [1, 1, 1, 1, 0, 0], [1] * 6, points=(70,))
    >>> found["rejection_70"].bound  # a single background event is above the threshold
    'at least'
    """
    s, is_signal, w = check_inputs(scores, target, weight)
    ranking = Ranking(s, is_signal)
    efficiency = [p / 100 for p in points]
    roc = ranking.roc(w)
    nominal = np.array([roc.background_at(e) for e in efficiency])
    drawn = np.array(
        [
            [other.background_at(e) for e in efficiency]
            for other in map(ranking.roc, replica_weights(is_signal, w, replicas, seed))
        ]
    )
    every = w[~is_signal]
    passes = [s[~is_signal] >= roc.threshold_at(e) for e in efficiency]
    strata = _strata(stratum, is_signal)
    absent = [unseen(every, strata, one) for one in passes]
    found = {
        f"rejection_{p}": rejection(
            float(nominal[i]), drawn[:, i], every[passes[i]], every, absent[i]
        )
        for i, p in enumerate(points)
    }
    with np.errstate(divide="ignore"):
        inverse = np.round(1.0 / drawn, 3)
    return found, {f"rejection_{p}": tuple(inverse[:, i].tolist()) for i, p in enumerate(points)}


def _strata(stratum: npt.ArrayLike | None, is_signal: Bools) -> Ints:
    """Of the background; one for all unless given."""
    if stratum is None:
        return np.zeros(int((~is_signal).sum()), np.int64)
    return np.asarray(stratum, np.int64)[~is_signal]


def effective_background(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    point: int,
    stratum: npt.ArrayLike | None = None,
) -> float:
    r"""Return $(\sum w)^2 / \sum w^2$ of the background above the threshold of a working point.

    One event of every sample without any there is added to the denominator. A rejection rests on
    so many events: its relative error is about one over the root of it.
    """
    s, is_signal, w = check_inputs(scores, target, weight)
    roc = Ranking(s, is_signal).roc(w)
    every = w[~is_signal]
    passes = s[~is_signal] >= roc.threshold_at(point / 100)
    absent = unseen(every, _strata(stratum, is_signal), passes)
    return effective(every[passes], float(np.sum(absent**2)))
