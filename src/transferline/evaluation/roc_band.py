"""The ROC of one mode over seeds: its mean and its spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transferline.evaluation.roc import Floats, Roc

_GRID = np.linspace(0.05, 1.0, 96)


@dataclass(frozen=True)
class RocBand:
    """Background rejection at fixed signal efficiencies, `[k]` each.

    The line is the geometric mean over seeds, the band one standard deviation of the logarithm
    between seeds: how far one run may lie from the line, not the error of the mean.
    """

    signal: Floats
    rejection: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, rocs: Sequence[Roc]) -> RocBand:
        """Combine one curve per seed; efficiencies at which no background passes are left out."""
        background = np.array([[roc.background_at(float(e)) for e in _GRID] for roc in rocs])
        keep = (background > 0.0).all(axis=0)
        logarithm = -np.log(background[:, keep])
        mean = logarithm.mean(axis=0)
        spread = logarithm.std(axis=0, ddof=1) if len(rocs) > 1 else np.zeros_like(mean)
        return cls(_GRID[keep], np.exp(mean), np.exp(mean - spread), np.exp(mean + spread))
