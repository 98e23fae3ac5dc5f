"""The ROC curve for signed event weights, with ties shared evenly.

scikit-learn's `roc_auc_score` refuses negative weights, which every next-to-leading-order sample
has; here they are ordinary terms of the sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transferline.errors import DataError, NumericalError
from transferline.evaluation.measurement import Measurement

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Roc:
    """Efficiencies of the cut `score >= threshold`, from the tightest cut to none.

    Shapes: all `[m]`, one entry per distinct score after a first one where nothing passes
    (`threshold = inf`). With signed weights the efficiencies need not be monotone.
    """

    threshold: Floats
    signal: Floats
    background: Floats

    def auc(self) -> float:
        """Return `P(s > b) + P(s = b) / 2`, the trapezoid area under signal against background."""
        steps = np.diff(self.background)
        return float(np.sum(steps * (self.signal[1:] + self.signal[:-1])) / 2)

    def background_at(self, signal_efficiency: float) -> float:
        """Return the background efficiency where the signal efficiency is first reached.

        Between two distinct scores the curve is a straight line, as for the area.
        """
        last = int(np.argmax(self.signal >= signal_efficiency))
        if last == 0:  # asked for an efficiency of zero or less
            return float(self.background[0])
        low, high = self.signal[last - 1], self.signal[last]
        part = (signal_efficiency - low) / (high - low)
        return float(
            self.background[last - 1] + part * (self.background[last] - self.background[last - 1])
        )

    def threshold_at(self, signal_efficiency: float) -> float:
        """Return the score of the cut where the signal efficiency is first reached."""
        return float(self.threshold[int(np.argmax(self.signal >= signal_efficiency))])

    def at_threshold(self, threshold: float) -> tuple[float, float]:
        """Return the efficiencies of signal and background for `score >= threshold`."""
        last = int(np.searchsorted(-self.threshold, -threshold, side="right")) - 1
        return float(self.signal[last]), float(self.background[last])


class Ranking:
    """Scores sorted once, so that many sets of weights give their ROC cheaply.

    Args:
        scores: `[n]`, higher is more signal-like.
        is_signal: `[n]`.
    """

    def __init__(self, scores: Floats, is_signal: Bools) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        # A cut passes tied scores together: keep the last of each run of equal scores.
        self._last = np.flatnonzero(np.append(np.diff(ordered) != 0.0, True))
        self._threshold = np.concatenate([[np.inf], ordered[self._last]])
        self._is_signal = is_signal[self._order].astype(np.float64)

    def roc(self, weight: Floats) -> Roc:
        """Return the curve for the signed weights `[n]`."""
        ordered = weight[self._order]
        signal = ordered * self._is_signal
        return Roc(self._threshold, self._passing(signal), self._passing(ordered - signal))

    def _passing(self, weight: Floats) -> Floats:
        total = np.cumsum(weight)
        return np.concatenate([[0.0], total[self._last] / total[-1]])


def check_inputs(
    scores: npt.ArrayLike, target: npt.ArrayLike, weight: npt.ArrayLike
) -> tuple[Floats, Bools, Floats]:
    """Return scores, `is_signal` and weights as arrays `[n]`, or say what is wrong with them.

    Raises:
        DataError: shapes differ, a target is not 0 or 1, or a class is absent.
        NumericalError: a score or weight is not finite, or a class has no positive sum of weights.
    """
    s = np.asarray(scores, dtype=np.float64)
    t = np.asarray(target)
    w = np.asarray(weight, dtype=np.float64)
    if s.ndim != 1 or s.shape != t.shape or s.shape != w.shape:
        raise DataError(
            f"scores {s.shape}, target {t.shape} and weight {w.shape} must be three lists "
            "of one length."
        )
    for name, values in (("scores", s), ("weights", w)):
        if not np.isfinite(values).all():
            count = int(np.sum(~np.isfinite(values)))
            raise NumericalError(f"{count} of {values.size} {name} are not finite.")
    is_signal = _two_classes(t)
    for name, mask in (("signal", is_signal), ("background", ~is_signal)):
        if (total := float(w[mask].sum())) <= 0.0:
            raise NumericalError(
                f"the {name} weights sum to {total:g}; a positive sum is needed to normalise "
                "efficiencies. Use more events, or drop the sample."
            )
    return s, is_signal, w


def _two_classes(target: npt.NDArray[np.generic]) -> Bools:
    found = np.unique(target)
    if not np.isin(found, (0, 1)).all():
        raise DataError(
            f"target must hold 0 (background) and 1 (signal), not {found[:5].tolist()}."
        )
    if found.size < 2:
        raise DataError(
            f"the test or validation set holds {target.size} events and only the target values "
            f"{found.tolist()}; both background (0) and signal (1) are needed."
        )
    return np.asarray(target == 1)


def roc_curve(scores: npt.ArrayLike, target: npt.ArrayLike, weight: npt.ArrayLike) -> Roc:
    """Return the ROC of scores `[n]` against target `[n]` (1 = signal) with signed weights `[n]`.

    Raises:
        DataError, NumericalError: as `check_inputs`.

    >>> roc_curve([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0], [1, 1, 1, 1]).auc()
    0.875
    """
    s, is_signal, w = check_inputs(scores, target, weight)
    return Ranking(s, is_signal).roc(w)


def efficiency(passed: npt.ArrayLike, weight: npt.ArrayLike) -> Measurement:
    """Return the weighted share that passes, with the error of signed weights.

    `var = [(1 - e)^2 sum_pass w^2 + e^2 sum_fail w^2] / (sum w)^2`; for unit weights this is the
    binomial `e (1 - e) / n`.

    Raises:
        NumericalError: the weights do not have a positive sum.

    >>> efficiency([True, True, True, False], [1, 1, 1, 1]).value
    0.75
    """
    keep = np.asarray(passed, dtype=bool)
    w = np.asarray(weight, dtype=np.float64)
    total = float(w.sum())
    if not total > 0.0:
        raise NumericalError(f"the weights sum to {total:g}; an efficiency needs a positive sum.")
    e = float(w[keep].sum()) / total
    variance = (1 - e) ** 2 * np.sum(w[keep] ** 2) + e**2 * np.sum(w[~keep] ** 2)
    return Measurement(e, float(np.sqrt(variance)) / total)
