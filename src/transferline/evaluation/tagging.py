r"""Metrics of a classifier of many classes, as jet tagging quotes them (arXiv:2202.03772).

Accuracy, AUC of one class against one, and per class S the rejection of the background class B at a
fixed efficiency of S, by the score $p_S / (p_S + p_B)$. Weights are signed; errors are those of the
finite test set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transferline.errors import DataError, NumericalError
from transferline.evaluation.bootstrap import REPLICAS, Replicas, fingerprint
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.one_against_one import Classes, OneAgainstOne
from transferline.evaluation.roc import Floats, Ranking, Roc, efficiency
from transferline.evaluation.tail import rejection

_GRID = (*(round(0.05 * i, 2) for i in range(1, 20)), 0.99, 0.995, 1.0)
"""Signal efficiencies at which a Record keeps the ROC curves."""


@dataclass(frozen=True)
class Question:
    """What is asked of the scores.

    Attributes:
        classes: their names, in the order of the columns.
        background: the class that is rejected.
        efficiency: class -> signal efficiency in per cent at which that is quoted.
    """

    classes: tuple[str, ...]
    background: str
    efficiency: Mapping[str, float]

    def signals(self) -> list[str]:
        """All classes but the background."""
        return [name for name in self.classes if name != self.background]

    def metric(self, signal: str) -> str:
        """Return the name of a rejection in Records.

        >>> Question(("QCD", "Tbl"), "QCD", {"Tbl": 99.5}).metric("Tbl")
        'rejection_99.5_Tbl'
        """
        return f"rejection_{self.efficiency[signal]:g}_{signal}"


def class_of(metric: str) -> str | None:
    """Return the class that a rejection is about, None if the metric is no such.

    >>> class_of("rejection_50_Hbb"), class_of("rejection_50"), class_of("auc")
    ('Hbb', None, None)
    >>> class_of("rejection_90[mX_600]") is None  # of one sample, not of a class
    True
    """
    kind, _, rest = metric.partition("_")
    share, _, name = rest.partition("_")
    return name if kind == "rejection" and name and "[" not in share else None


def discriminant(probability: Floats, signal: int, background: int) -> Floats:
    """Return `p_S / (p_S + p_B)`, `[n]`; one half where both are zero, which tells nothing."""
    p, other = probability[:, signal], probability[:, background]
    total = p + other
    return np.divide(p, total, out=np.full_like(total, 0.5), where=total > 0.0)


def measure_classes(
    probability: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    question: Question,
    seed: int = 0,
    *,
    replicas: int = REPLICAS,
) -> tuple[dict[str, Measurement], Replicas]:
    """Return the metrics, and replicas of AUC and accuracy, which let Records be paired later.

    - `accuracy`: the share whose own class has the largest score, each class counting the same;
      for a balanced test set with equal weights this is the usual accuracy.
    - `auc`: see `OneAgainstOne`.
    - `rejection_<efficiency in per cent>_<class>`: see `rejection`; a lower limit where fewer
      than three background events pass.

    Args:
        probability: `[n, c]`, the scores of all classes.
        target: `[n]`, the class of every event.
        weight: `[n]`, signed.
        question: see there.
        seed: of the bootstrap counts; use one for all models on a test set.
        replicas: number of bootstrap replicas.

    Raises:
        DataError: shapes differ, a target is no class, or a class is absent.
        NumericalError: a number is not finite, or a class has no positive sum of weights.
    """
    p, t, w = check_classes(probability, target, weight, question.classes)
    pairs, right = OneAgainstOne(p, t), p.argmax(1) == t
    curves = {name: _Signal(p, t, question, name) for name in question.signals()}
    nominal = {name: curve.roc(w) for name, curve in curves.items()}
    drawn: dict[str, list[float]] = {name: [] for name in ("auc", "accuracy", *curves)}
    for counted in class_replicas(t, w, len(question.classes), replicas, seed):
        drawn["auc"].append(pairs.auc(counted))
        drawn["accuracy"].append(_balanced(right, t, counted))
        for name, curve in curves.items():
            share = question.efficiency[name] / 100
            drawn[name].append(curve.roc(counted).background_at(share))
    spread = {name: np.array(values) for name, values in drawn.items()}
    metrics = {
        "auc": Measurement(pairs.auc(w), float(np.std(spread["auc"], ddof=1))),
        "accuracy": Measurement(_balanced(right, t, w), _accuracy_error(right, t, w)),
    }
    for name, curve in curves.items():
        share = question.efficiency[name] / 100
        metrics[question.metric(name)] = curve.rejection(nominal[name], share, w, spread[name])
    kept = {name: tuple(np.round(spread[name], 7).tolist()) for name in ("auc", "accuracy")}
    return metrics, Replicas(fingerprint(t, w), seed, kept)


def class_details(
    probability: npt.ArrayLike, target: npt.ArrayLike, weight: npt.ArrayLike, question: Question
) -> dict[str, Any]:
    """Return what figures need beside the metrics, as plain numbers for a Record.

    `classes` and `background`; `confusion`: per true class the shares that are taken for each
    class; `roc`: signal efficiencies and, per class, the background efficiency there.

    Raises:
        DataError, NumericalError: as `measure_classes`.
    """
    p, t, w = check_classes(probability, target, weight, question.classes)
    count = len(question.classes)
    table = np.bincount(t * count + p.argmax(1), w, count**2).reshape(count, count)
    rocs = {name: _Signal(p, t, question, name).roc(w) for name in question.signals()}
    return {
        "classes": list(question.classes),
        "background": question.background,
        "confusion": (table / table.sum(1, keepdims=True)).round(5).tolist(),
        "roc": {
            "signal": list(_GRID),
            **{n: [float(f"{roc.background_at(e):.4g}") for e in _GRID] for n, roc in rocs.items()},
        },
    }


class _Signal:
    """One class against the background: its events, sorted once."""

    def __init__(self, p: Floats, target: Classes, question: Question, name: str) -> None:
        signal = question.classes.index(name)
        background = question.classes.index(question.background)
        self._rows = np.flatnonzero((target == signal) | (target == background))
        self._is_signal = target[self._rows] == signal
        self._score = discriminant(p[self._rows], signal, background)
        self._ranking = Ranking(self._score, self._is_signal)

    def roc(self, weight: Floats) -> Roc:
        return self._ranking.roc(weight[self._rows])

    def rejection(self, roc: Roc, share: float, weight: Floats, drawn: Floats) -> Measurement:
        """Return the rejection at the signal efficiency `share`, or its limit."""
        every = weight[self._rows][~self._is_signal]
        passing = every[self._score[~self._is_signal] >= roc.threshold_at(share)]
        return rejection(roc.background_at(share), drawn, passing, every)


def class_replicas(
    target: Classes, weight: Floats, count: int, replicas: int, seed: int
) -> Iterator[Floats]:
    """Yield weights times Poisson(1) counts, `[n]` each; classes are strata.

    A replica in which a class has no positive sum of weights is drawn again.
    """
    rng = np.random.default_rng(seed)
    return (_replica(rng, target, weight, count) for _ in range(replicas))


def _replica(rng: np.random.Generator, target: Classes, weight: Floats, count: int) -> Floats:
    while True:
        drawn = weight * rng.poisson(1.0, weight.size)
        if (np.bincount(target, drawn, count) > 0.0).all():
            return drawn


def _balanced(right: npt.NDArray[np.bool_], target: Classes, weight: Floats) -> float:
    """Return the accuracy, each class counting the same."""
    return float(np.mean(np.bincount(target, weight * right) / np.bincount(target, weight)))


def _accuracy_error(right: npt.NDArray[np.bool_], target: Classes, weight: Floats) -> float:
    parts = [efficiency(right[target == a], weight[target == a]) for a in np.unique(target)]
    return math.hypot(*(part.error for part in parts)) / len(parts)


def check_classes(
    probability: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    classes: Sequence[str],
) -> tuple[Floats, Classes, Floats]:
    """Return scores `[n, c]`, target and weights `[n]` as arrays, or say what is wrong with them.

    Raises:
        DataError, NumericalError: as `measure_classes`.
    """
    p, w = np.asarray(probability, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    t = np.asarray(target).astype(np.int64)
    if p.shape != (*t.shape, len(classes)) or t.shape != w.shape:
        raise DataError(
            f"scores {p.shape}, target {t.shape} and weight {w.shape} must be one table of "
            f"{len(classes)} columns and two lists of its length."
        )
    for name, values in (("scores", p), ("weights", w)):
        if not np.isfinite(values).all():
            raise NumericalError(f"{int(np.sum(~np.isfinite(values)))} {name} are not finite.")
    if t.size and not 0 <= t.min() <= t.max() < len(classes):
        raise DataError(f"targets must be 0 to {len(classes) - 1}, not {t.min()} to {t.max()}.")
    for name, total in zip(classes, np.bincount(t, w, len(classes)), strict=True):
        if not total > 0.0:
            raise NumericalError(
                f"the weights of class {name} in the test or validation set sum to {total:g}; a "
                "positive sum is needed. Use more events, or drop the class."
            )
    return p, t, w
