"""Lepton isolation: transverse momentum around a lepton, less the underlying event's share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferline.generate.compiled import Array, compiled, wrap_phi
from transferline.generate.detector import PHOTON, Candidates

_ETA_CELLS, _PHI_CELLS, _ETA_MAX = 9, 11, 2.5
_CELL_AREA = 2.0 * _ETA_MAX / _ETA_CELLS * 2.0 * np.pi / _PHI_CELLS
_NEUTRAL_MIN = 0.5  # GeV, as in CMS's particle-flow isolation


class _Surroundings(NamedTuple):
    """All candidates, laid out by event."""

    offsets: Array
    eta: Array
    phi: Array
    pt: Array
    charged: Array
    photon: Array


def _neutral_density(around: _Surroundings, event: Array) -> Array:
    """Median transverse momentum density of neutral candidates, GeV per unit area, by event.

    The median over a fixed grid in |eta| < 2.5, like CMS's `fixedGridRhoFastjet*`
    (arXiv:1111.6097): jets fill few cells, the underlying event fills all.
    """
    n = len(around.offsets) - 1
    use = ~around.charged & (np.abs(around.eta) < _ETA_MAX)
    row = ((around.eta[use] + _ETA_MAX) / (2.0 * _ETA_MAX) * _ETA_CELLS).astype(np.int64)
    column = ((around.phi[use] + np.pi) / (2.0 * np.pi) * _PHI_CELLS).astype(np.int64) % _PHI_CELLS
    cell = (event[use] * _ETA_CELLS + row) * _PHI_CELLS + column
    size = _ETA_CELLS * _PHI_CELLS
    cells = np.bincount(cell, around.pt[use], minlength=n * size).reshape(n, size)
    return np.asarray(np.median(cells, axis=1) / _CELL_AREA)


@compiled
def _cone_sums(
    who: Array, event: Array, around: _Surroundings, cone: float, photon_veto: float
) -> tuple[Array, Array]:
    """Scalar pT sums (charged, neutral) around the candidates `who`, without themselves.

    Photons nearer than `photon_veto` are left out.
    """
    n = len(who)
    from_charged, from_neutral = np.zeros(n), np.zeros(n)
    for k in range(n):
        here = who[k]
        for i in range(around.offsets[event[k]], around.offsets[event[k] + 1]):
            d_phi = wrap_phi(around.phi[i] - around.phi[here])
            d_eta = around.eta[i] - around.eta[here]
            away = d_eta * d_eta + d_phi * d_phi
            if i == here or away >= cone * cone:
                continue
            if around.photon[i] and away < photon_veto * photon_veto:
                continue
            if around.charged[i]:
                from_charged[k] += around.pt[i]
            elif around.pt[i] > _NEUTRAL_MIN:
                from_neutral[k] += around.pt[i]
    return from_charged, from_neutral


def relative_isolation(
    candidates: Candidates, who: Array, cone: float, photon_veto: float = 0.0
) -> Array:
    """Return (charged + max(0, neutral - rho pi R^2)) / pT of the candidates numbered `who`.

    Photons within `photon_veto` do not count: those that an electron radiates are part of it.

    `pfRelIso03_all` and `pfRelIso04_all` of NanoAOD have this form; muons there use half the
    charged pile-up instead of rho, and without pile-up both correct for the same thing.
    """
    around = _Surroundings(
        candidates.offsets,
        candidates.eta,
        candidates.phi,
        candidates.pt,
        candidates.charge != 0,
        candidates.kind == PHOTON,
    )
    event = candidates.event[who]
    from_charged, from_neutral = _cone_sums(who, event, around, cone, photon_veto)
    underlying = _neutral_density(around, candidates.event)[event] * np.pi * cone * cone
    corrected = np.maximum(0.0, from_neutral - underlying)
    return np.asarray((from_charged + corrected) / around.pt[who])
