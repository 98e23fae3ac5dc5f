"""One number per pair and head, and the tables of each set that attention reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from transferline.compilation import compiled
from transferline.models.backbones.kernels.biased_attention import Index, Sets
from transferline.models.backbones.kernels.packed import flat
from transferline.models.backbones.kernels.products import Array

HIDDEN = -1e9  # large, not infinite, as hidden places have it elsewhere


@compiled(nogil=True, error_model="numpy")
def _fill(rows: Array, heads: int, starts: Index, tables: Index, out: Array) -> Any:
    pair = 0
    for s in range(len(starts) - 1):
        n = starts[s + 1] - starts[s]
        columns = (n + 7) // 8 * 8
        for h in range(heads):
            first = tables[-1] * h + tables[s]
            here = pair * heads + h
            for i in range(n):
                for j in range(i + 1):
                    value = rows[here]
                    out[first + i * columns + j] = value
                    out[first + j * columns + i] = value
                    here += heads
                for j in range(n, columns):
                    out[first + i * columns + j] = np.float32(HIDDEN)
        pair += n * (n + 1) // 2


@compiled(nogil=True, error_model="numpy")
def _fold(tables_: Array, heads: int, starts: Index, tables: Index, out: Array) -> Any:
    pair = 0
    for s in range(len(starts) - 1):
        n = starts[s + 1] - starts[s]
        columns = (n + 7) // 8 * 8
        for h in range(heads):
            first = tables[-1] * h + tables[s]
            here = pair * heads + h
            for i in range(n):
                for j in range(i):
                    above = tables_[first + j * columns + i]
                    out[here] = tables_[first + i * columns + j] + above
                    here += heads
                out[here] = tables_[first + i * columns + i]
                here += heads
        pair += n * (n + 1) // 2


class _PairTables(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sets: Sets) -> Tensor:
        heads = rows.shape[1]
        out = torch.empty(heads, int(sets.tables[-1]), dtype=torch.float32)
        _fill(flat(rows), heads, sets.starts, sets.tables, flat(out))
        ctx.sets, ctx.shape = sets, rows.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        out = torch.empty(ctx.shape, dtype=torch.float32)
        sets = ctx.sets
        _fold(flat(grads[0].contiguous()), ctx.shape[1], sets.starts, sets.tables, flat(out))
        return out, None


def pair_tables(rows: Tensor, sets: Sets) -> Tensor:
    """Return the symmetric tables `[h, s]` of `rows [pairs, h]`.

    The pairs of a set are (0, 0), (1, 0), (1, 1), (2, 0) and so on, one set after the other.
    """
    out: Tensor = _PairTables.apply(rows.contiguous(), sets)  # type: ignore[no-untyped-call]
    return out


def grid_tables(grid: Tensor, is_real: Tensor, sets: Sets) -> Tensor:
    """Return the tables `[h, s]` of real places of `grid [n, h, p, p]`."""
    n, heads, p, _ = grid.shape
    place = is_real.flatten().nonzero().squeeze(1)
    counts = is_real.sum(1)
    columns = -(-counts // 8) * 8
    set_ = place // p
    token = torch.repeat_interleave(torch.arange(len(place)), columns[set_])
    ends = torch.cumsum(columns[set_], 0)
    column = torch.arange(len(token)) - (ends - columns[set_])[token]
    set_ = set_[token]
    first = torch.from_numpy(sets.starts)[set_]
    shown = column < counts[set_]
    other = place[first + torch.where(shown, column, torch.zeros_like(column))] % p
    index = (set_ * p + place[token] % p) * p + other
    flat_grid = grid.permute(1, 0, 2, 3).reshape(heads, n * p * p)
    return flat_grid[:, index].masked_fill(~shown, HIDDEN)
