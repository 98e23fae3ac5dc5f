"""Substructure of jets: soft-drop mass and N-subjettiness.

Soft drop (arXiv:1402.2657): the jet is reclustered with Cambridge/Aachen and undone from its end;
the softer branch is dropped until

    min(pT1, pT2) / (pT1 + pT2) > z_cut (dR_12 / R0)^beta.

N-subjettiness (arXiv:1011.2268, arXiv:1108.2701), with the normalised measure:

    tau_N = sum_i pT_i min_k dR_ik^beta / (sum_i pT_i R0^beta), beta = 1,

where the axes are first those of N exclusive kT jets and then moved, for as long as tau_N falls,
to where the sum over their own particles is least ("one pass"). JetClass has both from Delphes
with z_cut = 0.1, beta = 0 and R0 = 0.8.
"""

from __future__ import annotations

import numpy as np

from transferline.generate.compiled import Array, compiled
from transferline.generate.large_jets.recombination import (
    CAMBRIDGE_AACHEN,
    KT,
    distance2,
    rapidity,
    recombine,
)

N_TAU = 4
"""N-subjettiness is computed for N = 1 to this."""

_PASSES = 100
_ACCURACY = 1e-5  # of an axis, when it stops
_NEAREST = 1e-4  # a particle on an axis must not weigh infinitely


@compiled
def _coordinates(p4: Array) -> Array:
    """pT, rapidity and azimuth of each row."""
    found = np.zeros((len(p4), 3))
    for i in range(len(p4)):
        pt2 = p4[i, 0] ** 2 + p4[i, 1] ** 2
        found[i, 0] = np.sqrt(pt2)
        found[i, 1] = rapidity(p4[i, 2], p4[i, 3], pt2)
        found[i, 2] = np.arctan2(p4[i, 1], p4[i, 0])
    return found


@compiled
def soft_drop(particles: Array, z_cut: float, beta: float, radius: float) -> Array:
    """Return the groomed four-momentum `[4]` of the jet with these particles `[n, 4]`.

    If no branching passes, that is the hardest particle that is left at the end.
    """
    merges = recombine(particles, CAMBRIDGE_AACHEN)
    n = len(particles)
    here = 2 * n - 2
    while here >= n:
        one, other = merges.parents[here - n, 0], merges.parents[here - n, 1]
        (pt, y, phi), (other_pt, other_y, other_phi) = _coordinates(
            np.stack((merges.p4[one], merges.p4[other]))
        )
        z = min(pt, other_pt) / max(pt + other_pt, 1e-300)
        if z > z_cut * (distance2(y, phi, other_y, other_phi) / radius**2) ** (0.5 * beta):
            break
        here = one if pt >= other_pt else other
    groomed: Array = merges.p4[here].copy()
    return groomed


@compiled
def soft_drop_mass(particles: Array, z_cut: float, beta: float, radius: float) -> float:
    """Return the mass in GeV of the groomed jet."""
    px, py, pz, energy = soft_drop(particles, z_cut, beta, radius)
    return float(np.sqrt(max(0.0, energy**2 - px**2 - py**2 - pz**2)))


@compiled
def _exclusive_jets(parents: Array, n: int, wanted: int) -> Array:
    """Numbers of the `wanted` objects that are left before the last merges."""
    alive = np.zeros(2 * n - 1, np.bool_)
    alive[:n] = True
    for step in range(n - wanted):
        alive[parents[step, 0]] = False
        alive[parents[step, 1]] = False
        alive[n + step] = True
    return np.flatnonzero(alive)


@compiled
def _sum_to_axes(points: Array, axes: Array, nearest: Array) -> float:
    """Return sum pT min dR, and fill the number of each particle's nearest axis."""
    total = 0.0
    for i in range(len(points)):
        best = np.inf
        for k in range(len(axes)):
            d2 = distance2(points[i, 1], points[i, 2], axes[k, 0], axes[k, 1])
            if d2 < best:
                best, nearest[i] = d2, k
        total += points[i, 0] * np.sqrt(best)
    return total


@compiled
def _moved(points: Array, axes: Array, nearest: Array) -> Array:
    """Move each axis towards the least sum of pT dR over its particles (a step of Weiszfeld)."""
    weight = np.zeros(len(axes))
    shift = np.zeros((len(axes), 2))
    for i in range(len(points)):
        k = nearest[i]
        d2 = distance2(points[i, 1], points[i, 2], axes[k, 0], axes[k, 1])
        w = points[i, 0] / max(np.sqrt(d2), _NEAREST)
        dphi = (points[i, 2] - axes[k, 1] + np.pi) % (2.0 * np.pi) - np.pi
        weight[k] += w
        shift[k, 0] += w * (points[i, 1] - axes[k, 0])
        shift[k, 1] += w * dphi
    found = axes.copy()
    for k in range(len(axes)):
        if weight[k] > 0.0:
            found[k] += shift[k] / weight[k]
    return found


@compiled
def _least_sum(points: Array, axes: Array) -> float:
    """Return the least sum that moving the axes leads to."""
    nearest = np.zeros(len(points), np.int64)
    best = _sum_to_axes(points, axes, nearest)
    for _ in range(_PASSES):
        moved = _moved(points, axes, nearest)
        total = _sum_to_axes(points, moved, nearest)
        if total >= best:
            break
        step = np.abs(moved - axes).max()
        best, axes = total, moved
        if step < _ACCURACY:
            break
    return best


@compiled
def n_subjettiness(particles: Array, radius: float) -> Array:
    """Return tau_1 to tau_4 `[4]` of the jet with these particles `[n, 4]`; 0 where N >= n."""
    n = len(particles)
    taus = np.zeros(N_TAU)
    points = _coordinates(particles)
    merges = recombine(particles, KT)
    everything = _coordinates(merges.p4)
    for wanted in range(1, min(N_TAU + 1, n)):
        axes = everything[_exclusive_jets(merges.parents, n, wanted)][:, 1:].copy()
        taus[wanted - 1] = _least_sum(points, axes) / (points[:, 0].sum() * radius)
    return taus


@compiled
def substructure(
    p4: Array, offsets: Array, z_cut: float, beta: float, radius: float
) -> tuple[Array, Array]:
    """Return soft-drop mass `[m]` and N-subjettiness `[m, 4]` of jets laid end to end.

    `p4 [k, 4]` holds the particles (px, py, pz, E) in GeV, bounded by `offsets [m + 1]`.
    """
    m = len(offsets) - 1
    masses, taus = np.zeros(m), np.zeros((m, N_TAU))
    for j in range(m):
        particles = p4[offsets[j] : offsets[j + 1]]
        if len(particles) > 0:
            masses[j] = soft_drop_mass(particles, z_cut, beta, radius)
            taus[j] = n_subjettiness(particles, radius)
    return masses, taus
