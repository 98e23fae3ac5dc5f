r"""What two particles are to each other: ln kT, ln z, ln dR and ln m^2.

Source: arXiv:2202.03772, after the variables of the Lund plane (arXiv:1807.04758).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from transferline.data.batch import MASS, cartesian

N_PAIR_FEATURES = 4
_FLOOR = 1e-8  # of what a logarithm is taken of


def pair_columns(p4: Tensor, published: bool = False) -> Tensor:
    r"""Return pt, rapidity, phi, mass, E, px, py, pz of (pt, eta, phi, mass), in GeV and rad.

    `[..., 4]` -> `[..., 8]`.
    These are what `pair_features` reads of each particle. The rapidity is
    $\pm \ln((E + |p_z|) / m_T)$; with `published` that of weaver-core,
    $\frac12 \ln(1 + 2 p_z / (E - p_z))$, which float32 does not bear beyond |eta| = 7 (the
    first one up to 40).
    """
    energy, px, py, pz = cartesian(p4).unbind(-1)
    pt = torch.sqrt(px * px + py * py)
    if published:
        rapidity = 0.5 * torch.log(1 + (2 * pz) / (energy - pz).clamp(min=1e-20))
    else:
        transverse = torch.sqrt(pt * pt + p4[..., MASS].square()).clamp(min=1e-20)
        along = torch.log((energy + pz.abs()).clamp(min=1e-20) / transverse)
        rapidity = torch.where(pz < 0, -along, along)
    phi = torch.atan2(py, px)
    return torch.stack((pt, rapidity, phi, p4[..., MASS], energy, px, py, pz), dim=-1)


@torch.no_grad()
def pair_features(a: Tensor, b: Tensor, published: bool = False) -> Tensor:
    r"""Return ln kT, ln z, ln dR, ln m^2 of particles `a` and `b` `[..., 8]`, as `[..., 4]`.

    $\Delta = \sqrt{(y_a - y_b)^2 + (\phi_a - \phi_b)^2}$,
    $k_T = \min(p_{T,a}, p_{T,b})\, \Delta$,
    $z = \min(p_{T,a}, p_{T,b}) / (p_{T,a} + p_{T,b})$,
    $m^2 = (E_a + E_b)^2 - |\vec p_a + \vec p_b|^2$, in GeV; each at least 1e-8.

    `a` and `b` are `pair_columns`, in float32. As it is written above, the squared mass of light or
    collinear particles is a small difference of large numbers; it is taken from a sum of positive
    terms instead. With `published` order and kind of the operations are those of weaver-core: its
    weights have learnt the rounding, too, which no other program repeats.
    """
    pt_a, rapidity_a, phi_a, mass_a, *p_a = a.unbind(-1)
    pt_b, rapidity_b, phi_b, mass_b, *p_b = b.unbind(-1)
    angle = (phi_a - phi_b + math.pi) % (2 * math.pi) - math.pi
    delta = ((rapidity_a - rapidity_b) ** 2 + angle**2).sqrt()
    softer = torch.minimum(pt_a, pt_b)
    share = softer / (pt_a + pt_b).clamp(min=_FLOOR)
    if published:
        energy, px, py, pz = (one + other for one, other in zip(p_a, p_b, strict=True))
        mass2 = energy.square() - (px.square() + py.square() + pz.square())
    else:
        mass2 = _mass2((pt_a, mass_a), (pt_b, mass_b), rapidity_a - rapidity_b, angle)
    found = torch.stack((softer * delta, share, delta, mass2), dim=-1)
    return found.clamp(min=_FLOOR).log()


def _mass2(
    a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], rapidity: Tensor, angle: Tensor
) -> Tensor:
    r"""Return the squared mass of a pair, of pt and mass of both and what lies between them.

    $m^2 = m_a^2 + m_b^2 + 2 (m_{T,a} m_{T,b} - p_{T,a} p_{T,b})
    + 4 m_{T,a} m_{T,b} \sinh^2(\Delta y / 2) + 4 p_{T,a} p_{T,b} \sin^2(\Delta\phi / 2)$, where the
    difference in brackets is a sum of positive terms over $m_{T,a} m_{T,b} + p_{T,a} p_{T,b}$.
    """
    (pt_a, mass_a), (pt_b, mass_b) = a, b
    squares = mass_a.square(), mass_b.square()
    transverse = torch.sqrt((squares[0] + pt_a.square()) * (squares[1] + pt_b.square()))
    momenta = pt_a * pt_b
    above = squares[0] * pt_b.square() + squares[1] * pt_a.square() + squares[0] * squares[1]
    apart = transverse * (rapidity / 2).sinh().square() + momenta * (angle / 2).sin().square()
    return (
        squares[0] + squares[1] + 2 * above / (transverse + momenta).clamp(min=_FLOOR) + 4 * apart
    )
