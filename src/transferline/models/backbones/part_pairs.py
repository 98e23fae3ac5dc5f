"""The network from pairs of particles to the bias of attention, plain and with kernels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from transferline.models.backbones.kernels.biased_attention import Sets
from transferline.models.backbones.kernels.pair_layers import pair_layers
from transferline.models.backbones.kernels.pair_rows import pair_rows
from transferline.models.backbones.kernels.pair_tables import pair_tables
from transferline.models.backbones.pair_features import (
    N_PAIR_FEATURES,
    pair_columns,
    pair_features,
)
from transferline.models.backbones.real_norm import RealNorm

_CHUNK = 32_768  # pairs whose features are computed at once


class PairEmbedding(nn.Module):
    """BatchNorm, then Linear, BatchNorm and GELU for each size; pair by pair.

    Args:
        sizes: of the hidden layers, and the number of heads.
        activation: whether the last layer ends with a GELU.
        published: see `pair_features`.
    """

    def __init__(self, sizes: Sequence[int], activation: bool, published: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [RealNorm(N_PAIR_FEATURES)]
        for before, after in pairwise((N_PAIR_FEATURES, *sizes)):
            layers += [nn.Linear(before, after), RealNorm(after), nn.GELU()]
        self.layers = nn.Sequential(*(layers if activation else layers[:-1]))
        self.published = published
        self.activation = activation

    def forward(self, p4: Tensor, is_real: Tensor, packed: bool, fused: bool = False) -> Tensor:
        """Return the bias `[n, h, p, p]`, symmetric, zero where a particle is not real."""
        columns = pair_columns(p4.float(), self.published)
        if not packed:
            return self._padded(columns, is_real.unsqueeze(1) & is_real.unsqueeze(2))
        p = is_real.shape[1]
        place = is_real.flatten().nonzero().squeeze(1)
        counts = is_real.sum(1)
        a, b = pairs_of(counts)
        rows = self.rows(columns.flatten(0, 1)[place], counts, fused)
        event, i, j = place[a] // p, place[a] % p, place[b] % p
        grid = rows.new_zeros(len(is_real), p, p, rows.shape[-1])
        grid = grid.index_put((event, i, j), rows).index_put((event, j, i), rows)
        return grid.permute(0, 3, 1, 2)

    def tables(self, p4: Tensor, is_real: Tensor, sets: Sets) -> Tensor:
        """Return the bias as the tables that `biased_attention` reads, with kernels."""
        columns = pair_columns(p4[is_real].float(), self.published)
        return pair_tables(self.rows(columns, is_real.sum(1), True), sets)

    def rows(self, columns: Tensor, counts: Tensor, fused: bool) -> Tensor:
        """Return one number per head for each pair of rows of `columns`, see `pairs_of`."""
        if not fused or (self.training and int((counts * (counts + 1)).sum()) < 4):
            out: Tensor = self.layers(self._features(columns, *pairs_of(counts)))
            return out
        norms = [layer for layer in self.layers if isinstance(layer, RealNorm)]
        linears = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        features = pair_rows(columns.detach(), counts, self.published)
        return pair_layers(features, norms, linears, self.activation)

    @torch.no_grad()
    def _features(self, columns: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the four features of each pair, chunk by chunk."""
        found = columns.new_empty(len(a), N_PAIR_FEATURES)
        by_column = columns.t().contiguous()
        for low in range(0, len(a), _CHUNK):
            part = slice(low, low + _CHUNK)
            one, other = by_column[:, a[part]].t(), by_column[:, b[part]].t()
            found[part] = pair_features(one, other, self.published)
        return found

    def _padded(self, columns: Tensor, both: Tensor) -> Tensor:
        """All places with all places."""
        found = pair_features(columns.unsqueeze(2), columns.unsqueeze(1), self.published)
        rows: Tensor = self.layers(found.view(-1, N_PAIR_FEATURES))
        grid = rows.view(*both.shape, rows.shape[-1]).permute(0, 3, 1, 2)
        return torch.where(both.unsqueeze(1), grid, torch.zeros_like(grid))


def pairs_of(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows a >= b of all pairs within sets of `counts [n]` rows, and each with itself.

    They are ordered by set, a and b: `[pairs]` each.
    """
    starts = torch.cumsum(counts, 0) - counts
    t = int(counts.sum())
    own = torch.arange(t, device=counts.device)
    place = own - torch.repeat_interleave(starts, counts)  # of each row in its set
    partners = place + 1
    a = torch.repeat_interleave(own, partners)
    first = torch.cumsum(partners, 0) - partners
    return a, own[a] - place[a] + torch.arange(len(a), device=counts.device) - first[a]
