"""Metrics of a binary classifier with signed weights, each with its error on the test set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from transferline.errors import DataError
from transferline.evaluation.bootstrap import REPLICAS, Replicas, fingerprint, replica_weights
from transferline.evaluation.measurement import Measurement, format_measurement
from transferline.evaluation.roc import Bools, Floats, Ranking, Roc, check_inputs, efficiency
from transferline.evaluation.tail import FEWEST, effective, rejection

__all__ = [
    "METRICS",
    "Measurement",
    "compare",
    "evaluate",
    "format_measurement",
    "measure",
    "smaller_is_better",
]

# Background rejection is quoted at these signal efficiencies, in per cent.
WORKING_POINTS = (30, 50, 70)
METRICS = ("auc", "accuracy", *(f"rejection_{point}" for point in WORKING_POINTS))
_SMALLER = ("limit", "sculpting")
# Replicas of these travel in a Record: the headline metrics, at about a kilobyte each.
KEPT = ("auc", "accuracy")


def smaller_is_better(metric: str) -> bool:
    """Tell whether less of a metric is better, by its name in the Records.

    >>> smaller_is_better("limit[X(1000)]"), smaller_is_better("sculpting")
    (True, True)
    >>> smaller_is_better("auc")
    False
    """
    return metric.partition("[")[0] in _SMALLER


def measure(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    seed: int = 0,
    *,
    replicas: int = REPLICAS,
    threshold: float = 0.5,
) -> tuple[dict[str, Measurement], Replicas]:
    """Return the metrics of `evaluate` and their replicas, which let Records be paired later.

    Args:
        scores: `[n]`, higher is more signal-like; `threshold` cuts on it for the accuracy.
        target: `[n]`, 1 = signal, 0 = background.
        weight: `[n]`, signed.
        seed: of the bootstrap counts; use one for all models on a test set.
        replicas: number of bootstrap replicas.
        threshold: scores at or above count as signal in the accuracy.

    Raises:
        DataError, NumericalError: as `transferline.evaluation.roc.check_inputs`.
    """
    s, is_signal, w = check_inputs(scores, target, weight)
    nominal, drawn = _bootstrap(s, is_signal, w, seed, replicas=replicas, threshold=threshold)
    errors = {name: _spread(values) for name, values in drawn.items()}
    errors["accuracy"] = _accuracy_error(s >= threshold, is_signal, w)
    kept = {name: tuple(np.round(drawn[name], 7).tolist()) for name in KEPT}
    found = {name: Measurement(nominal[name], errors[name]) for name in METRICS}
    return found | _limits(s, is_signal, w), Replicas(fingerprint(is_signal, w), seed, kept)


def _limits(scores: Floats, is_signal: Bools, weight: Floats) -> dict[str, Measurement]:
    """Return the rejections that too few events or a negative sum tell: they are lower limits."""
    roc = Ranking(scores, is_signal).roc(weight)
    every, of_background = weight[~is_signal], scores[~is_signal]
    found = {}
    for point in WORKING_POINTS:
        passing = every[of_background >= roc.threshold_at(point / 100)]
        left = roc.background_at(point / 100)
        # The square of a negative sum of weights counts as many events as that of a positive one.
        if left <= 0.0 or effective(passing) < FEWEST:
            found[f"rejection_{point}"] = rejection(left, np.zeros(2), passing, every)
    return found


def evaluate(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    seed: int = 0,
    *,
    replicas: int = REPLICAS,
    threshold: float = 0.5,
) -> dict[str, Measurement]:
    """Return AUC, accuracy and background rejections with their errors.

    - `auc`: `P(s > b) + P(s = b) / 2`.
    - `accuracy`: the share classified right by `score >= threshold`, each class counting one
      half; for a balanced test set with equal weights this is the usual accuracy, and it does not
      depend on how the classes are normalised to each other. Error: that of two efficiencies.
    - `rejection_30`, `_50`, `_70`: `1 / background efficiency` at that signal efficiency in per
      cent; a lower limit where fewer than three effective background events pass, see
      `transferline.evaluation.tail`.

    The errors are those of the finite test set only, from a Poisson bootstrap over events that
    moves the threshold along (`accuracy`: the formula of `efficiency`). Arguments and errors
    raised: as `measure`.

    >>> str(evaluate([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], [1, 1, 1, 1])["auc"])
    '1 ± 0'
    """
    return measure(scores, target, weight, seed, replicas=replicas, threshold=threshold)[0]


def compare(
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    seed: int = 0,
    *,
    replicas: int = REPLICAS,
    threshold: float = 0.5,
) -> dict[str, Measurement]:
    """Return `metric(a) - metric(b)` of two models on one test set, by a paired bootstrap.

    Both models see the same replicas, so what the test set does to both cancels in the error.
    Arguments and errors raised: as `measure`.
    """
    results = []
    for scores in (scores_a, scores_b):
        s, is_signal, w = check_inputs(scores, target, weight)
        results.append(_bootstrap(s, is_signal, w, seed, replicas=replicas, threshold=threshold))
    (a, drawn_a), (b, drawn_b) = results
    with np.errstate(invalid="ignore"):  # infinite rejections have no difference
        return {
            name: Measurement(
                float(np.subtract(a[name], b[name])), _spread(drawn_a[name] - drawn_b[name])
            )
            for name in METRICS
        }


def _bootstrap(
    scores: Floats, is_signal: Bools, weight: Floats, seed: int, *, replicas: int, threshold: float
) -> tuple[dict[str, float], dict[str, Floats]]:
    """Return every metric on the test set and, per metric, its values on the replicas."""
    if replicas < 2:
        raise DataError(f"an error needs at least two bootstrap replicas, not {replicas}.")
    ranking = Ranking(scores, is_signal)
    nominal = _raw(ranking.roc(weight), threshold)
    rows = [
        _raw(ranking.roc(drawn), threshold)
        for drawn in replica_weights(is_signal, weight, replicas, seed)
    ]
    return _as_metrics(nominal, rows)


def _raw(roc: Roc, threshold: float) -> dict[str, float]:
    """Return AUC, accuracy and, in place of each rejection, the background efficiency."""
    signal, background = roc.at_threshold(threshold)
    return {
        "auc": roc.auc(),
        "accuracy": (signal + 1.0 - background) / 2,
        **{f"rejection_{p}": roc.background_at(p / 100) for p in WORKING_POINTS},
    }


def _as_metrics(
    nominal: Mapping[str, float], rows: Iterable[Mapping[str, float]]
) -> tuple[dict[str, float], dict[str, Floats]]:
    values = dict(nominal)
    table = list(rows)
    drawn = {name: np.array([row[name] for row in table], dtype=np.float64) for name in nominal}
    for name in METRICS:
        if name.startswith("rejection"):
            values[name], drawn[name] = _rejection(nominal[name], drawn[name])
    return values, drawn


def _rejection(background: float, drawn: Floats) -> tuple[float, Floats]:
    """Return `1 / e` and its replicas to first order in `e`.

    First order, because a replica in which no background passes has no finite rejection.
    """
    if background <= 0.0:
        return math.inf, np.full_like(drawn, np.inf)
    value = 1.0 / background
    return value, value - value**2 * (drawn - background)


def _spread(values: Floats) -> float:
    return float(np.std(values, ddof=1)) if np.isfinite(values).all() else math.inf


def _accuracy_error(predicted: Bools, is_signal: Bools, weight: Floats) -> float:
    right = [
        efficiency(predicted[is_signal], weight[is_signal]),
        efficiency(~predicted[~is_signal], weight[~is_signal]),
    ]
    return math.hypot(*(part.error for part in right)) / 2
