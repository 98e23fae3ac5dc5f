"""Background rejection of an analysis, weighted and not, and what the number rests on."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from transferline.evaluation.bootstrap import REPLICAS, replica_weights
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.roc import Floats, Ranking, check_inputs

POINTS = (50, 70, 90)
"""Signal efficiencies in per cent; 90 is the headline of arXiv:2401.13536."""


def rejections(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    seed: int = 0,
    *,
    points: tuple[int, ...] = POINTS,
    replicas: int = REPLICAS,
) -> dict[str, Measurement]:
    """Return `rejection_<point>`, 1 / background efficiency at that signal efficiency.

    The threshold moves along in the bootstrap over test events, see
    `transferline.evaluation.metrics`; without background above it, value and error are infinite.

    Args:
        scores: `[n]`, higher is more signal-like.
        target: `[n]`, 1 = signal, 0 = background.
        weight: `[n]`, signed.
        seed: of the bootstrap counts.
        points: signal efficiencies in per cent.
        replicas: number of bootstrap replicas.

    Raises:
        DataError, NumericalError: as `transferline.evaluation.roc.check_inputs`.

    >>> rejections([3, 2, 1, 0, 2.5, 0.5], [1, 1, 1, 1, 0, 0], [1] * 6, points=(70,))[
    ...     "rejection_70"
    ... ].value
    2.0
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
    return {
        f"rejection_{p}": _rejection(float(nominal[i]), drawn[:, i]) for i, p in enumerate(points)
    }


def _rejection(background: float, drawn: Floats) -> Measurement:
    """To first order in the efficiency: some replicas may have no background at all."""
    if background <= 0.0:
        return Measurement(math.inf, math.inf)
    return Measurement(1 / background, float(np.std(drawn, ddof=1)) / background**2)


def effective_background(
    scores: npt.ArrayLike, target: npt.ArrayLike, weight: npt.ArrayLike, point: int
) -> float:
    r"""Return $(\sum w)^2 / \sum w^2$ of the background above the threshold of a working point.

    A rejection rests on so many events: its relative error is about one over the root of it.
    """
    s, is_signal, w = check_inputs(scores, target, weight)
    roc = Ranking(s, is_signal).roc(w)
    threshold = roc.threshold[int(np.argmax(roc.signal >= point / 100))]
    above = w[(s >= threshold) & ~is_signal]
    square = float(np.sum(above**2))
    return float(above.sum()) ** 2 / square if square else 0.0
