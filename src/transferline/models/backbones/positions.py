"""The order by pT: a learned vector for each rank.

Sets have no order, and a backbone needs none. One that adds these vectors to its tokens still
gives the same answer in whatever order the particles stand; what it knows beyond the others is how
many particles have more pT than this one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transferline.data.batch import PT
from transferline.models.features import Inputs


class Positions(nn.Module):
    """A vector for each of the first ranks `[places, d]`; later ones share the last."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(0.02 * torch.randn(places, width))

    def forward(self, rank: Tensor) -> Tensor:
        """[n, p] -> [n, p, d]."""
        return self.vectors[rank.clamp(max=len(self.vectors) - 1)]


def rank_by_pt(p4: Tensor, among: Tensor) -> Tensor:
    """Return each particle's place by falling pT among those of `among [n, p]`, from 0 on.

    The ranks of all others are larger.
    """
    return inverse(order_by_pt(p4, among))


def by_falling_pt(inputs: Inputs) -> tuple[Inputs, Tensor]:
    """Return the inputs in the order of falling pT, padding last, and each particle's place.

    What is computed of them in this order, `gather` with the place puts back.
    """
    order = order_by_pt(inputs.p4, inputs.is_real)
    found = Inputs(
        x=taken(inputs.x, order),
        p4=taken(inputs.p4, order),
        is_real=inputs.is_real.gather(1, order),
        rank=None if inputs.rank is None else inputs.rank.gather(1, order),
    )
    return found, inverse(order)


def order_by_pt(p4: Tensor, among: Tensor) -> Tensor:
    """Return the particles of `among [n, p]` by falling pT, then all others, `[n, p]`."""
    return _order((-p4[..., PT]).masked_fill(~among, torch.inf))


def places(key: Tensor) -> Tensor:
    """Return the place of each entry in its sorted row, `[n, p]`."""
    return inverse(_order(key))


def inverse(order: Tensor) -> Tensor:
    """Return the place of each entry in an order, `[n, p]`."""
    return _order(order)


def taken(values: Tensor, order: Tensor) -> Tensor:
    """Return `values [n, p, k]` in an order."""
    return values.gather(1, order.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def _order(key: Tensor) -> Tensor:
    if torch.compiler.is_exporting():  # ONNX has no stable sort
        return key.sort(dim=1).indices
    return key.argsort(dim=1, stable=True)
