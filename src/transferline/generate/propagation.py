"""Helices in a solenoid: where a particle meets the calorimeter, and its impact parameters."""

# ruff: noqa: PLR0917 - numba functions take no keyword-only arguments
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferline.generate.compiled import Array, compiled, wrap_phi

CURVATURE = 0.299792458
"""Radius of a unit charge: r[m] = pT[GeV] / (CURVATURE * B[T])."""


class Cylinder(NamedTuple):
    """The calorimeter's inner surface: field along z (T), radius and half length (m).

    With `loopers`, particles that curl inside the tracker spiral on to its end, as in Delphes.
    """

    field: float
    radius: float
    half_length: float
    loopers: bool = False


@compiled
def _straight(
    x: float, y: float, z: float, ux: float, uy: float, slope: float, cylinder: Cylinder
) -> tuple[float, float, float]:
    along = x * ux + y * uy
    path = -along + np.sqrt(along * along - (x * x + y * y - cylinder.radius**2))
    if slope != 0.0:
        path = min(path, (np.copysign(cylinder.half_length, slope) - z) / slope)
    return x + ux * path, y + uy * path, z + slope * path


@compiled
def _turn(x: float, y: float, xc: float, yc: float, sign: float, radius: float) -> float:
    """Angle turned before the helix first crosses the cylinder; infinite if it never does."""
    r = np.hypot(x - xc, y - yc)
    d = np.hypot(xc, yc)
    if d < 1e-12:
        return np.inf
    cosine = (radius * radius - d * d - r * r) / (2.0 * d * r)
    if abs(cosine) >= 1.0:
        return np.inf
    alpha = np.arccos(cosine)
    start = np.arctan2(y - yc, x - xc) - np.arctan2(yc, xc)
    first = (sign * (start - alpha)) % (2.0 * np.pi)
    second = (sign * (start + alpha)) % (2.0 * np.pi)
    return float(min(first, second))


@compiled
def _impact(
    x: float,
    y: float,
    z: float,
    phi: float,
    slope: float,
    r: float,
    sign: float,
    xc: float,
    yc: float,
) -> tuple[float, float, float]:
    """d0 (sign of CMS: (y px - x py) / pT), dz and azimuth where closest to the beam line."""
    d = np.hypot(xc, yc)
    turned = wrap_phi(sign * (np.arctan2(y - yc, x - xc) - np.arctan2(-yc, -xc)))
    phi_closest = phi - sign * turned
    xd, yd = xc * (1.0 - r / d), yc * (1.0 - r / d)
    d0 = yd * np.cos(phi_closest) - xd * np.sin(phi_closest)
    return d0, z + slope * r * turned, wrap_phi(phi_closest)


@compiled
def reach_calorimeter(
    momentum: Array, charge: Array, vertex: Array, cylinder: Cylinder
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Propagate particles with `momentum [n, 3]` (GeV) from `vertex [n, 3]` (m) to the cylinder.

    A charged particle that turns by more than half a circle before it leaves ends as a looper in
    the tracker and is dropped unless `cylinder.loopers`, as is one born outside.

    Returns: reached (bool), eta and phi of the impact point seen from the origin, d0 and dz in m
    (zero for neutral particles), and the azimuth of the momentum where a charged particle is
    closest to the beam line, each `[n]`.
    """
    n = len(charge)
    radius, half_length = cylinder.radius, cylinder.half_length
    reached = np.zeros(n, np.bool_)
    eta, phi = np.zeros(n), np.zeros(n)
    d0, dz = np.zeros(n), np.zeros(n)
    direction = np.arctan2(momentum[:, 1], momentum[:, 0])
    for i in range(n):
        px, py, pz = momentum[i, 0], momentum[i, 1], momentum[i, 2]
        pt = np.hypot(px, py)
        x, y, z = vertex[i, 0], vertex[i, 1], vertex[i, 2]
        if pt < 1e-3 or x * x + y * y >= radius * radius or abs(z) >= half_length:
            continue
        slope = pz / pt
        if charge[i] == 0:
            xe, ye, ze = _straight(x, y, z, px / pt, py / pt, slope, cylinder)
        else:
            sign = np.sign(float(charge[i]))
            r = pt / (CURVATURE * abs(charge[i]) * cylinder.field)
            angle = direction[i]
            xc, yc = x + sign * r * np.sin(angle), y - sign * r * np.cos(angle)
            turn = _turn(x, y, xc, yc, sign, radius)
            if slope != 0.0:
                turn = min(turn, (np.copysign(half_length, slope) - z) / (slope * r))
            if turn == np.inf or (turn > np.pi and not cylinder.loopers):
                continue
            around = np.arctan2(y - yc, x - xc) - sign * turn
            xe, ye, ze = xc + r * np.cos(around), yc + r * np.sin(around), z + slope * r * turn
            d0[i], dz[i], direction[i] = _impact(x, y, z, angle, slope, r, sign, xc, yc)
        rho = np.hypot(xe, ye)
        if rho < 1e-9:
            continue
        reached[i] = True
        eta[i], phi[i] = np.arcsinh(ze / rho), np.arctan2(ye, xe)
    return reached, eta, phi, d0, dz, direction
