"""The order by pT: a learned vector for each rank.

Sets have no order, and a backbone needs none. One that adds these vectors to its tokens still
gives the same answer in whatever order the particles stand; what it knows beyond the others is how
many particles have more pT than this one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transferline.data.batch import PT


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
    return places((-p4[..., PT]).masked_fill(~among, torch.inf))


def places(key: Tensor) -> Tensor:
    """Return the place of each entry in its sorted row, `[n, p]`."""
    return key.argsort(dim=1, stable=True).argsort(dim=1)
