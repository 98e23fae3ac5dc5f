"""Lepton isolation: transverse momentum around a lepton, less the underlying event's share."""

from __future__ import annotations

import numpy as np

from transferline.generate.compiled import Array, compiled, wrap_phi

_ETA_CELLS, _PHI_CELLS, _ETA_MAX = 9, 11, 2.5
_CELL_AREA = 2.0 * _ETA_MAX / _ETA_CELLS * 2.0 * np.pi / _PHI_CELLS


@compiled
def neutral_density(offsets: Array, eta: Array, phi: Array, pt: Array, charged: Array) -> Array:
    """Median transverse momentum density of neutral candidates, GeV per unit area, by event.

    The median over a fixed grid in |eta| < 2.5, like CMS's `fixedGridRhoFastjet*`
    (arXiv:1111.6097): jets fill few cells, the underlying event fills all.
    """
    n = len(offsets) - 1
    density = np.zeros(n)
    for event in range(n):
        cells = np.zeros((_ETA_CELLS, _PHI_CELLS))
        for i in range(offsets[event], offsets[event + 1]):
            if charged[i] or abs(eta[i]) >= _ETA_MAX:
                continue
            row = int((eta[i] + _ETA_MAX) / (2.0 * _ETA_MAX) * _ETA_CELLS)
            column = int((phi[i] + np.pi) / (2.0 * np.pi) * _PHI_CELLS) % _PHI_CELLS
            cells[row, column] += pt[i]
        density[event] = np.median(cells) / _CELL_AREA
    return density


@compiled
def cone_sums(who: Array, event: Array, offsets: Array, eta: Array, phi: Array, pt: Array,
              charged: Array, cone: float, neutral_min: float) -> tuple[Array, Array]:
    """Scalar pT sums (charged, neutral) around the candidates `who`, without themselves.

    Neutral candidates count above `neutral_min` GeV.
    """
    n = len(who)
    from_charged, from_neutral = np.zeros(n), np.zeros(n)
    for k in range(n):
        here = who[k]
        for i in range(offsets[event[k]], offsets[event[k] + 1]):
            d_phi = wrap_phi(phi[i] - phi[here])
            if i == here or (eta[i] - eta[here]) ** 2 + d_phi * d_phi >= cone * cone:
                continue
            if charged[i]:
                from_charged[k] += pt[i]
            elif pt[i] > neutral_min:
                from_neutral[k] += pt[i]
    return from_charged, from_neutral


def relative_isolation(who: Array, event: Array, offsets: Array, eta: Array, phi: Array,
                       pt: Array, charged: Array, cone: float) -> Array:
    """Return (charged + max(0, neutral - rho pi R^2)) / pT of the candidates `who`.

    `pfRelIso03_all` and `pfRelIso04_all` of NanoAOD have this form; muons there use half the
    charged pile-up instead of rho, and without pile-up both correct for the same thing.
    """
    rho = neutral_density(offsets, eta, phi, pt, charged)
    from_charged, from_neutral = cone_sums(
        who, event, offsets, eta, phi, pt, charged, cone, _NEUTRAL_MIN
    )
    corrected = np.maximum(0.0, from_neutral - rho[event] * np.pi * cone * cone)
    return np.asarray((from_charged + corrected) / pt[who])


_NEUTRAL_MIN = 0.5
"""GeV, as in CMS's particle-flow isolation."""
