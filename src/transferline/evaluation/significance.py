r"""Significance improvement of a cut: what it does to $S/\sqrt{B}$ of a search.

$\mathrm{SIC} = \varepsilon_S / \sqrt{\varepsilon_B}$ with the efficiencies of signal and
background. Two definitions are published and cannot be compared: at a score of one half
(arXiv:2401.13537), and where one per cent of the background passes (arXiv:2409.12589).
"""

from __future__ import annotations

import math

import numpy as np

from transferline.evaluation.bootstrap import REPLICAS, replica_weights
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.roc import Floats, Ranking, Roc, check_inputs

CUT = 0.5
"""Score of the first definition."""
PASSING = 0.01
"""Background efficiency of the second."""


def significance_improvements(
    scores: Floats, target: Floats, weight: Floats, seed: int = 0, *, replicas: int = REPLICAS
) -> dict[str, Measurement]:
    """Return `sic_cut` and `sic_fpr1` with the errors of the finite test set, by a bootstrap.

    Infinite, with an infinite error, where no background passes the cut.

    Args:
        scores: `[n]`, probabilities of the signal.
        target: `[n]`, 1 = signal, 0 = background.
        weight: `[n]`, signed.
        seed: of the bootstrap counts.
        replicas: number of bootstrap replicas.

    Raises:
        DataError, NumericalError: as `transferline.evaluation.roc.check_inputs`.

    >>> found = significance_improvements(*([0.9, 0.8, 0.6, 0.1], [1, 1, 0, 0], [1.0] * 4))
    >>> round(found["sic_cut"].value, 3)
    1.414
    """
    s, is_signal, w = check_inputs(scores, target, weight)
    ranking = Ranking(s, is_signal)
    nominal = _both(ranking.roc(w))
    drawn = [
        _both(ranking.roc(counted)) for counted in replica_weights(is_signal, w, replicas, seed)
    ]
    spread = {name: np.array([values[name] for values in drawn]) for name in nominal}
    return {name: Measurement(nominal[name], _error(spread[name])) for name in nominal}


def _both(roc: Roc) -> dict[str, float]:
    signal, background = roc.at_threshold(CUT)
    return {
        "sic_cut": signal / math.sqrt(background) if background > 0 else math.inf,
        "sic_fpr1": signal_at(roc, PASSING) / math.sqrt(PASSING),
    }


def signal_at(roc: Roc, background_efficiency: float) -> float:
    """Return the signal efficiency where the background efficiency is first reached."""
    last = int(np.argmax(roc.background >= background_efficiency))
    low, high = roc.background[last - 1], roc.background[last]
    part = (background_efficiency - low) / (high - low)
    return float(roc.signal[last - 1] + part * (roc.signal[last] - roc.signal[last - 1]))


def _error(values: Floats) -> float:
    """The spread, without replicas in which no background happens to pass."""
    finite = values[np.isfinite(values)]
    return float(np.std(finite, ddof=1)) if len(finite) > len(values) / 2 else math.inf
