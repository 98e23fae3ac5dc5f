"""Event weights in a pre-training: what its losses leave aside of them, so that it is said."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_EQUAL = 1e-6  # relative


def weights_left_aside(weights: NDArray[Any], *, labels: bool, pretext: bool) -> str | None:
    """Say what the losses make of unequal weights `[n]`; None where they are equal.

    Args:
        weights: of the events that train.
        labels: the objective, or a part of it, learns from labels.
        pretext: the objective, or a part of it, needs none.

    >>> weights_left_aside(np.array([2.0, 2.0]), labels=False, pretext=True)
    >>> weights_left_aside(np.array([0.5, -0.5, 1.0, 1.0]), labels=False, pretext=True)[:62]
    'the events have unequal weights, from -0.5 to 1 (25.0 % negati'
    """
    values = np.asarray(weights, np.float64)
    if not len(values) or np.ptp(values) <= _EQUAL * np.abs(values).max():
        return None
    negative = 100 * (values < 0).mean()
    said = [
        f"the events have unequal weights, from {values.min():.3g} to {values.max():.3g} "
        f"({negative:.1f} % negative)."
    ]
    if labels:
        said.append("Losses of labels take their absolute values.")
    if pretext:
        said.append("Objectives without labels count every event once (`transferline mix` draws "
                    "events by their weights).")  # fmt: skip
    return " ".join(said)
