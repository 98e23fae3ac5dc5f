"""Augment: random symmetry transformations of a whole event, applied to p4 before Features.

Rotation about the beam, the two reflections and boosts along the beam keep transverse momenta
meaningful, so that missing momentum, known only transversely, goes along exactly. Signed impact
parameters go along, too: a reflection of phi turns the sign of d0, one of eta that of dz. A
transverse boost keeps the masses of visible objects alone: missing momentum is boosted as if its
longitudinal part were zero, which it is not, and objects move across the edges of acceptance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from transferline.config import Recipe, added
from transferline.data.batch import ETA, MASS, PHI, PT, Batch
from transferline.data.events import SPECIES


class Augment(Recipe):
    """Which symmetries to draw from.

    Attributes:
        rotate_phi: rotate by an angle uniform in [0, 2 pi).
        reflect_phi: phi -> -phi with probability one half.
        reflect_eta: eta -> -eta with probability one half.
        boost_z: shift every rapidity by one number uniform in [-boost_z, boost_z] per event.
        boost_t: boost across the beam, in a direction uniform in phi, with a velocity uniform in
            [0, boost_t) of that of light; an approximation for missing momentum.
    """

    rotate_phi: bool = False
    reflect_phi: bool = False
    reflect_eta: bool = False
    boost_z: float = Field(0.0, ge=0)
    boost_t: float = added(0.0, ge=0, lt=1)

    def __call__(self, batch: Batch) -> Batch:
        """Return the transformed batch; draws from torch's global generator."""
        if self == Augment():
            return batch
        draw = _Draw(batch)
        pt, eta, phi, mass = batch.p4.unbind(-1)
        columns = dict(batch.columns)
        if self.reflect_phi:
            sign = draw.sign()
            phi = phi * sign
            _reflect(columns, "d0", sign)
        if self.rotate_phi:
            phi = phi + 2 * torch.pi * draw.uniform()
        phi = torch.remainder(phi + torch.pi, 2 * torch.pi) - torch.pi
        if self.reflect_eta:
            sign = draw.sign()
            eta = eta * sign
            _reflect(columns, "dz", sign)
        if self.boost_z:
            eta = self._boost(batch, pt, eta, mass, (2 * draw.uniform() - 1) * self.boost_z)
        if self.boost_t:
            speed, direction = self.boost_t * draw.uniform(), 2 * torch.pi * draw.uniform()
            pt, eta, phi = _boosted_across(batch, (pt, eta, phi, mass), speed, direction)
        p4 = torch.stack((pt, eta, phi, mass), dim=-1)
        assert (PT, ETA, PHI, MASS) == (0, 1, 2, 3)
        p4 = torch.where(batch.is_real.unsqueeze(-1), p4, batch.p4)
        return batch.replace(p4=p4, columns=columns)

    @staticmethod
    def _boost(batch: Batch, pt: Tensor, eta: Tensor, mass: Tensor, shift: Tensor) -> Tensor:
        """Boost along the beam: y -> y + shift at fixed pt, phi and mass; MET has no eta."""
        transverse = torch.sqrt(pt**2 + mass**2).clamp(min=1e-6)
        rapidity = torch.asinh(pt * torch.sinh(eta) / transverse)
        boosted = torch.asinh(transverse * torch.sinh(rapidity + shift) / pt.clamp(min=1e-6))
        species = batch.columns.get("species")
        if species is None:
            return boosted
        return torch.where(species == SPECIES["met"], eta, boosted)


def _reflect(columns: dict[str, Tensor], name: str, sign: Tensor) -> None:
    if name in columns:
        columns[name] = columns[name] * sign


def _boosted_across(
    batch: Batch, p4: tuple[Tensor, Tensor, Tensor, Tensor], speed: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Boost by `speed` along `direction` in the transverse plane; return new pt, eta, phi."""
    pt, eta, phi, mass = p4
    gamma = (1 - speed**2).rsqrt()
    along, across = pt * torch.cos(phi - direction), pt * torch.sin(phi - direction)
    pz = pt * torch.sinh(eta)
    energy = torch.sqrt(pt**2 + pz**2 + mass**2)
    along = gamma * (along + speed * energy)
    new_pt = torch.hypot(along, across)
    new_phi = torch.remainder(torch.atan2(across, along) + direction + torch.pi, 2 * torch.pi)
    new_eta = torch.asinh(pz / new_pt.clamp(min=1e-6))
    species = batch.columns.get("species")
    if species is not None:
        new_eta = torch.where(species == SPECIES["met"], eta, new_eta)
    return new_pt, new_eta, new_phi - torch.pi


@dataclass(frozen=True)
class _Draw:
    """One random number per event, shape `[n, 1]`."""

    batch: Batch

    def uniform(self) -> Tensor:
        p4 = self.batch.p4
        return torch.rand(len(p4), 1, device=p4.device, dtype=p4.dtype)

    def sign(self) -> Tensor:
        return torch.where(self.uniform() < 0.5, -1.0, 1.0)
