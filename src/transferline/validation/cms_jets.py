"""Jet energy resolution of CMS simulation, from `cms_jet_resolution.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from transferline.config import Recipe, load_config
from transferline.validation.statistics import Floats


class _Table(Recipe):
    source: str
    rows: tuple[tuple[float, float, float, float, float], ...]


@cache
def _table() -> _Table:
    return load_config(Path(__file__).with_name("cms_jet_resolution.yaml"), _Table)


def source() -> str:
    """Return where the numbers come from."""
    return _table().source


def cms_resolution(pt: Floats, abs_eta: Floats) -> Floats:
    r"""Return $\sqrt{N|N|/p_T^2 + S^2 p_T^d + C^2}$ for jets within |eta| < 2.5, `[n]`.

    >>> cms_resolution(np.array([100.0]), np.array([0.2])).round(3).tolist()
    [0.096]
    """
    rows = np.asarray(_table().rows)
    chosen = rows[np.minimum(np.searchsorted(rows[:, 0], abs_eta), len(rows) - 1)]
    n, s, c, d = chosen[:, 1:].T
    return np.asarray(np.sqrt(np.maximum(n * np.abs(n) / pt**2 + s * s * pt**d + c * c, 0.0)))
