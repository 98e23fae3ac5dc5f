"""Which particles of a set are masked: a fixed share of them, anywhere or in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from transferline.data.batch import ETA, PHI, Batch
from transferline.models.backbones.positions import places, rank_by_pt
from transferline.models.features import Inputs

Where = Literal["chance", "neighbourhood"]


def masked_share(batch: Batch, fraction: float, where: Where) -> Tensor:
    r"""Draw $\lfloor f N \rfloor$ of the N particles of every set, `[n, p]` bool.

    Args:
        batch: the sets.
        fraction: f.
        where: `chance`, all alike and without replacement; or `neighbourhood`: one particle is
            drawn, and it goes with those nearest to it in
            $\Delta R^2 = \Delta\eta^2 + \Delta\phi^2$.
    """
    number = (fraction * batch.is_real.sum(1, keepdim=True)).floor()
    key = torch.rand(batch.is_real.shape, device=batch.is_real.device)
    if where == "neighbourhood":
        key = _distance(batch, _one_of(key, batch.is_real))
    place = places(key.masked_fill(~batch.is_real, torch.inf))
    return (place < number) & batch.is_real


def without_hidden(inputs: Inputs, shown: Tensor) -> Inputs:
    """Return the inputs of the particles `shown [n, p]` alone; the places of others are empty."""
    kept = shown.unsqueeze(-1)
    return replace(inputs, x=inputs.x * kept, p4=inputs.p4 * kept, is_real=shown)


def _one_of(key: Tensor, is_real: Tensor) -> Tensor:
    """The particle with the largest key, `[n]`."""
    return key.masked_fill(~is_real, -1.0).argmax(1)


def _distance(batch: Batch, centre: Tensor) -> Tensor:
    """Squared distance of every particle from the particle number `centre [n]`, `[n, p]`."""
    eta, phi = batch.p4[..., ETA], batch.p4[..., PHI]
    at = centre.unsqueeze(1)
    apart = torch.remainder(phi - phi.gather(1, at) + torch.pi, 2 * torch.pi) - torch.pi
    return (eta - eta.gather(1, at)) ** 2 + apart**2


def pt_rank(batch: Batch, among: Tensor) -> Tensor:
    """Return each particle's place by falling pT among those of `among [n, p]`, from 0 on.

    The ranks of all others are larger.
    """
    return rank_by_pt(batch.p4, among)
