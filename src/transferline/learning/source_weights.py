"""Event weights in a pre-training: objectives without labels leave them aside, and say so."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_EQUAL = 1e-6  # relative


def weights_left_aside(weights: NDArray[Any]) -> str | None:
    """Say what counting every event once leaves aside; None where all weights `[n]` are equal.

    >>> weights_left_aside(np.array([2.0, 2.0]))
    >>> weights_left_aside(np.array([0.5, -0.5, 1.0, 1.0]))[:62]
    'the events have unequal weights, from -0.5 to 1 (25.0 % negati'
    """
    values = np.asarray(weights, np.float64)
    if not len(values) or np.ptp(values) <= _EQUAL * np.abs(values).max():
        return None
    negative = 100 * (values < 0).mean()
    return (
        f"the events have unequal weights, from {values.min():.3g} to {values.max():.3g} "
        f"({negative:.1f} % negative). Objectives without labels count every event once; "
        "`transferline mix` draws events by their weights."
    )
