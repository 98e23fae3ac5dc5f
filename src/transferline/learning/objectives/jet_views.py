"""Two views of one jet: what a tagger should not care about is drawn anew in each of them.

Source: arXiv:2108.04253 (JetCLR). Symmetries of the shower (rotation about the jet axis,
translation) and what no detector resolves (soft radiation, collinear splittings). The source has
no tracks; here their impact parameters go along, see `_turned_impact`.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from transferline.config import Recipe
from transferline.data.batch import ETA, MASS, PHI, PT, Batch


class JetViews(Recipe):
    r"""Which changes a view draws; all act on momenta, in front of Features.

    Attributes:
        rotate: turn all particles about the jet axis by an angle uniform in $[0, 2\pi)$.
        translate: shift all particles in eta and phi, each by a number uniform in $\pm$ this times
            the distance between the outermost ones.
        smear: scale $\Lambda$ in GeV of soft radiation: eta and phi get Gaussian noise of width
            $\Lambda / p_T$; published is 0.1.
        split: share of the particles that are replaced by two in the same direction, which divide
            the momentum uniformly.
        split_tracks: whether charged particles are split too, as in the source, which knows no
            charges. By default a track stays one: both halves would have its charge.
    """

    rotate: bool = True
    translate: float = Field(1.0, ge=0)
    smear: float = Field(0.1, ge=0)
    split: float = Field(0.1, ge=0, le=1)
    split_tracks: bool = False

    def __call__(self, batch: Batch) -> Batch:
        """Return one view of every jet; draws from torch's global generator."""
        if self.rotate:
            batch = _rotated(batch)
        if self.translate:
            batch = _translated(batch, self.translate)
        if self.smear:
            batch = _smeared(batch, self.smear)
        return self._split(batch) if self.split else batch

    def _split(self, batch: Batch) -> Batch:
        chosen = batch.is_real & (_uniform(batch, batch.is_real.shape) < self.split)
        if not self.split_tracks and "charge" in batch.columns:
            chosen &= batch.columns["charge"] == 0
        return split_particles(batch, chosen)


def split_particles(batch: Batch, chosen: Tensor) -> Batch:
    """Replace the `chosen [n, p]` particles by two each, which share momentum and mass.

    The four-momentum of the jet stays. The second ones stand behind all others; both have the
    columns of the one that they were.
    """
    most = int(chosen.sum(1).max()) if len(chosen) else 0
    if not most:
        return batch
    place = (~chosen).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
    twin = chosen.gather(1, place)
    share = torch.where(chosen, _uniform(batch, chosen.shape), 1.0)
    scale = torch.ones_like(batch.p4)
    scale[..., PT] = scale[..., MASS] = share
    rest = ((1 - scale) * batch.p4).gather(1, place.unsqueeze(-1).expand(-1, -1, 4))
    direction = batch.p4.gather(1, place.unsqueeze(-1).expand(-1, -1, 4))
    rest[..., ETA], rest[..., PHI] = direction[..., ETA], direction[..., PHI]
    columns = {
        name: torch.cat((values, values.gather(1, place) * twin), dim=1)
        for name, values in batch.columns.items()
    }
    return batch.replace(
        p4=torch.cat((scale * batch.p4, rest * twin.unsqueeze(-1)), dim=1),
        columns=columns,
        is_real=torch.cat((batch.is_real, twin), dim=1),
    )


def _rotated(batch: Batch) -> Batch:
    _, eta, phi, _ = batch.whole_jet
    angle = 2 * torch.pi * _uniform(batch, (len(batch), 1))
    x = batch.p4[..., ETA] - eta
    y = torch.remainder(batch.p4[..., PHI] - phi + torch.pi, 2 * torch.pi) - torch.pi
    cos, sin = angle.cos(), angle.sin()
    turned = _moved(batch, eta + cos * x - sin * y, phi + sin * x + cos * y)
    return turned.replace(columns=_turned_impact(batch, turned, cos, sin))


def _turned_impact(before: Batch, after: Batch, cos: Tensor, sin: Tensor) -> dict[str, Tensor]:
    r"""Return the columns with impact parameters that turn with the directions.

    A track from a vertex on the jet's axis, at $L_{xy}$ from the beam, has to first order
    $(d_z / \cosh\eta, -d_0) = -L_{xy} (\Delta\eta, \Delta\phi)$, with the sign of d0 that `Events`
    has: a vector that turns as the direction does, so that the sign that tells the lifetime stays.
    Their errors turn in quadrature: that of dz is several times that of d0, and left behind
    it would make a prompt track look displaced. Without both they stay.
    """
    columns = dict(before.columns)
    if not {"d0", "dz"} <= columns.keys():
        return columns
    flat, steep = before.p4[..., ETA].cosh(), after.p4[..., ETA].cosh()
    along, across = columns["dz"] / flat, -columns["d0"]
    columns["dz"] = (cos * along - sin * across) * steep
    columns["d0"] = -(sin * along + cos * across)
    if {"d0err", "dzerr"} <= columns.keys():
        along, across = columns["dzerr"] / flat, columns["d0err"]
        columns["dzerr"] = torch.hypot(cos * along, sin * across) * steep
        columns["d0err"] = torch.hypot(sin * along, cos * across)
    return columns


def _translated(batch: Batch, most: float) -> Batch:
    """Phi is measured from the jet's axis, where it does not jump."""
    axis = batch.whole_jet[2]
    apart = torch.remainder(batch.p4[..., PHI] - axis + torch.pi, 2 * torch.pi) - torch.pi
    shifts = [
        most * _extent(values, batch.is_real) * (2 * _uniform(batch, (len(batch), 1)) - 1)
        for values in (batch.p4[..., ETA], apart)
    ]
    moved = _moved(batch, batch.p4[..., ETA] + shifts[0], batch.p4[..., PHI] + shifts[1])
    none = torch.zeros_like(shifts[0])
    return moved.replace(columns=_turned_impact(batch, moved, none + 1, none))


def _extent(values: Tensor, is_real: Tensor) -> Tensor:
    """Distance between the outermost particles, `[n, 1]`; 0 without any."""
    low = values.masked_fill(~is_real, torch.inf).amin(1, keepdim=True)
    high = values.masked_fill(~is_real, -torch.inf).amax(1, keepdim=True)
    return (high - low).clamp(min=0).nan_to_num(posinf=0.0)


def _smeared(batch: Batch, scale: float) -> Batch:
    width = scale / batch.p4[..., PT].clamp(min=scale)
    noise = torch.randn(2, *batch.is_real.shape, device=batch.p4.device)
    eta = batch.p4[..., ETA] + width * noise[0]
    return _moved(batch, eta, batch.p4[..., PHI] + width * noise[1])


def _moved(batch: Batch, eta: Tensor, phi: Tensor) -> Batch:
    """Give the real particles other directions."""
    phi = torch.remainder(phi + torch.pi, 2 * torch.pi) - torch.pi
    p4 = torch.stack((batch.p4[..., PT], eta, phi, batch.p4[..., MASS]), dim=-1)
    assert (PT, ETA, PHI, MASS) == (0, 1, 2, 3)
    return batch.replace(p4=torch.where(batch.is_real.unsqueeze(-1), p4, batch.p4))


def _uniform(batch: Batch, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, device=batch.p4.device, dtype=batch.p4.dtype)
