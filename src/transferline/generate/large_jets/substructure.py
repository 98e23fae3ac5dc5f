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
    Merges,
    coordinates,
    distance2,
    recombine,
)

N_TAU = 4
"""N-subjettiness is computed for N = 1 to this."""

_PASSES = 100
_ACCURACY = 1e-5  # of an axis, when it stops
_NEAREST = 1e-4  # a particle on an axis must not weigh infinitely


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
        pt2, y, phi = coordinates(merges.p4, one)
        other_pt2, other_y, other_phi = coordinates(merges.p4, other)
        pt, other_pt = np.sqrt(pt2), np.sqrt(other_pt2)
        z = min(pt, other_pt) / max(pt + other_pt, 1e-300)
        if z > z_cut * (distance2(y, phi, other_y, other_phi) / radius**2) ** (0.5 * beta):
            break
        here = one if pt >= other_pt else other
    groomed = np.zeros(4)
    for axis in range(4):
        groomed[axis] = merges.p4[here, axis]
    return groomed


@compiled
def soft_drop_mass(particles: Array, z_cut: float, beta: float, radius: float) -> float:
    """Return the mass in GeV of the groomed jet."""
    p4 = soft_drop(particles, z_cut, beta, radius)
    return float(np.sqrt(max(0.0, p4[3] ** 2 - p4[0] ** 2 - p4[1] ** 2 - p4[2] ** 2)))


@compiled
def _exclusive_axes(merges: Merges, wanted: int) -> Array:
    """Rapidity and azimuth `[wanted, 2]` of the objects that are left before the last merges."""
    n = len(merges.parents) + 1
    made = 2 * n - wanted  # so many objects there were by then
    alive = np.ones(made, np.bool_)
    for step in range(n - wanted):
        alive[merges.parents[step, 0]] = False
        alive[merges.parents[step, 1]] = False
    axes = np.zeros((wanted, 2))
    found = 0
    for k in range(made):
        if alive[k]:
            _, axes[found, 0], axes[found, 1] = coordinates(merges.p4, k)
            found += 1
    return axes


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
def _move(points: Array, axes: Array, nearest: Array, moved: Array) -> float:
    """Move each axis towards the least sum of pT dR over its particles (a step of Weiszfeld).

    Fills `moved` and returns the largest step along one coordinate.
    """
    largest = 0.0
    for k in range(len(axes)):
        weight, dy, dphi = 0.0, 0.0, 0.0
        for i in range(len(points)):
            if nearest[i] == k:
                d2 = distance2(points[i, 1], points[i, 2], axes[k, 0], axes[k, 1])
                w = points[i, 0] / max(np.sqrt(d2), _NEAREST)
                weight += w
                dy += w * (points[i, 1] - axes[k, 0])
                dphi += w * ((points[i, 2] - axes[k, 1] + np.pi) % (2.0 * np.pi) - np.pi)
        if weight > 0.0:
            dy, dphi = dy / weight, dphi / weight
        moved[k, 0], moved[k, 1] = axes[k, 0] + dy, axes[k, 1] + dphi
        largest = max(largest, abs(dy), abs(dphi))
    return largest


@compiled
def _least_sum(points: Array, axes: Array) -> float:
    """Return the least sum that moving the axes leads to."""
    nearest = np.zeros(len(points), np.int64)
    moved = np.zeros(axes.shape)
    best = _sum_to_axes(points, axes, nearest)
    for _ in range(_PASSES):
        step = _move(points, axes, nearest, moved)
        total = _sum_to_axes(points, moved, nearest)
        if total >= best:
            break
        best, axes, moved = total, moved, axes
        if step < _ACCURACY:
            break
    return best


@compiled
def n_subjettiness(particles: Array, radius: float) -> Array:
    """Return tau_1 to tau_4 `[4]` of the jet with these particles `[n, 4]`; 0 where N >= n."""
    n = len(particles)
    taus = np.zeros(N_TAU)
    points = np.zeros((n, 3))
    total = 0.0
    for i in range(n):
        pt2, points[i, 1], points[i, 2] = coordinates(particles, i)
        points[i, 0] = np.sqrt(pt2)
        total += points[i, 0]
    merges = recombine(particles, KT)
    for wanted in range(1, min(N_TAU + 1, n)):
        axes = _exclusive_axes(merges, wanted)
        taus[wanted - 1] = _least_sum(points, axes) / (total * radius)
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
            found = n_subjettiness(particles, radius)
            for k in range(N_TAU):
                taus[j, k] = found[k]
    return masses, taus
