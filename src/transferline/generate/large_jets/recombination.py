"""Sequential recombination of one jet's particles: kT and Cambridge/Aachen, pairwise to the end.

The distance is d_ij = min(f_i, f_j) dR_ij^2 with f = kT^2 for kT (hep-ph/9305266) and f = 1 for
Cambridge/Aachen (hep-ph/9707323), in rapidity and azimuth, without a beam: every pair is merged
before anything would be a jet of its own, as with a radius that is larger than all distances.
Momenta add up (E-scheme). O(n^2) by nearest neighbours (hep-ph/0512210).
"""

# ruff: noqa: PLR0917 - numba functions take no keyword-only arguments
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferline.generate.compiled import Array, compiled

KT, CAMBRIDGE_AACHEN = 1, 0
_HIGHEST_RAPIDITY = 1e5


class Merges(NamedTuple):
    """What was merged, in order.

    `p4 [2n - 1, 4]` (px, py, pz, E) are the particles, then what was merged, in GeV; `parents
    [n - 1, 2]` says of which two number n + k was made.
    """

    p4: Array
    parents: Array


@compiled
def rapidity(pz: float, energy: float, pt2: float) -> float:
    """Rapidity; for what moves along the beam a large number of the right sign."""
    if pt2 == 0.0 and energy == abs(pz):
        return float(np.copysign(_HIGHEST_RAPIDITY + abs(pz), pz))
    # The mass is at least 0, whatever rounding has made of it.
    m2 = max(0.0, (energy + pz) * (energy - pz) - pt2)
    return float(-np.sign(pz) * 0.5 * np.log((pt2 + m2) / (energy + abs(pz)) ** 2))


@compiled
def distance2(y: float, phi: float, other_y: float, other_phi: float) -> float:
    """Squared distance in the plane of (pseudo)rapidity and azimuth."""
    dphi = abs(phi - other_phi)
    if dphi > np.pi:
        dphi = abs(2.0 * np.pi - dphi)
    return (y - other_y) ** 2 + dphi * dphi


@compiled
def coordinates(p4: Array, k: int) -> tuple[float, float, float]:
    """Squared pT, rapidity and azimuth of one row."""
    px, py = p4[k, 0], p4[k, 1]
    pt2 = px * px + py * py
    return pt2, rapidity(p4[k, 2], p4[k, 3], pt2), np.arctan2(py, px)


@compiled
def _place(p4: Array, k: int, power: int, y: Array, phi: Array, factor: Array, slot: int) -> None:
    """Put number k of `p4` into a slot."""
    pt2, y[slot], phi[slot] = coordinates(p4, k)
    factor[slot] = pt2 if power == KT else 1.0


@compiled
def _nearest(i: int, n: int, y: Array, phi: Array, near: Array, near2: Array) -> None:
    """Find the nearest neighbour of slot i among the first n."""
    near[i], near2[i] = -1, np.inf
    for j in range(n):
        if j != i:
            d2 = distance2(y[i], phi[i], y[j], phi[j])
            if d2 < near2[i]:
                near[i], near2[i] = j, d2


@compiled
def _closest_pair(n: int, factor: Array, near: Array, near2: Array) -> int:
    """Slot whose distance to its nearest neighbour is smallest."""
    best, smallest = 0, np.inf
    for i in range(n):
        d = min(factor[i], factor[near[i]]) * near2[i]
        if d < smallest:
            best, smallest = i, d
    return best


@compiled
def recombine(particles: Array, power: int) -> Merges:
    """Merge the particles `[n, 4]` of one jet, `power` being KT or CAMBRIDGE_AACHEN."""
    n = len(particles)
    p4 = np.zeros((2 * n - 1, 4))
    parents = np.zeros((n - 1, 2), np.int64)
    y, phi, factor = np.zeros(n), np.zeros(n), np.zeros(n)
    near, near2 = np.zeros(n, np.int64), np.zeros(n)
    number = np.zeros(n, np.int64)
    for i in range(n):
        for axis in range(4):
            p4[i, axis] = particles[i, axis]
        number[i] = i
        _place(p4, i, power, y, phi, factor, i)
    for i in range(n):
        _nearest(i, n, y, phi, near, near2)
    for step in range(n - 1):
        left = n - step
        one = _closest_pair(left, factor, near, near2)
        one, other = min(one, near[one]), max(one, near[one])
        made, last = n + step, left - 1
        parents[step, 0], parents[step, 1] = number[one], number[other]
        for axis in range(4):
            p4[made, axis] = p4[number[one], axis] + p4[number[other], axis]
        # What was merged takes the first slot, the last one fills the second.
        y[other], phi[other], factor[other] = y[last], phi[last], factor[last]
        number[other], near[other], near2[other] = number[last], near[last], near2[last]
        number[one] = made
        _place(p4, made, power, y, phi, factor, one)
        _update(one, other, last, y, phi, near, near2)
    return Merges(p4, parents)


@compiled
def _update(
    one: int, other: int, last: int, y: Array, phi: Array, near: Array, near2: Array
) -> None:
    """Find neighbours anew: slot `one` is new, `other` was freed and holds what was the last."""
    for i in range(last):
        if i == one or near[i] == one or near[i] == other:
            _nearest(i, last, y, phi, near, near2)
            continue
        if near[i] == last:
            near[i] = other
        d2 = distance2(y[i], phi[i], y[one], phi[one])
        if d2 < near2[i]:
            near[i], near2[i] = one, d2
