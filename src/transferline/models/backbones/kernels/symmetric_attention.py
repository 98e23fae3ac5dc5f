r"""Attention within sets with a symmetric bias, without gradient and dropout.

Where $b_{ij} = b_{ji}$, the table of scores can be made the other way round, the row i that looks
in lanes and what it looks at from top to bottom: $t_{ji} = k_j \cdot q_i / \sqrt d + b_{ji}$. Then
the softmax goes down columns, no sum runs across lanes, and no place is added that has to be
hidden.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from transferline.compilation import compiled
from transferline.models.backbones.kernels.biased_attention import Index, Sets, take
from transferline.models.backbones.kernels.lanes import every, load, multiply, store, transpose
from transferline.models.backbones.kernels.packed import flat
from transferline.models.backbones.kernels.products import PANEL, Array, product
from transferline.models.backbones.kernels.softmax import divide_rows, exp_down

f4 = np.float32


@compiled(nogil=True, error_model="numpy")
def _pack(  # noqa: PLR0917  numba takes no keyword-only arguments
    qkv: Array, first: int, stride: int, n: int, d: int, scale: float, edge: Array, panels: Array
) -> Any:
    """N queries of d numbers that stand `stride` apart into panels, times `scale`."""
    for c in range(0, n, 8):
        source, a, row = qkv, first + c * stride, stride
        if c + 8 > n:  # rows of others, or none at all, follow: as many zeros
            take(qkv, a, stride, n - c, 8, d, 1.0, edge)
            source, a, row = edge, 0, d
        to = c // PANEL * PANEL * d + c % PANEL
        for k in range(0, d, 8):
            transpose(source, a + k, row, panels, to + k * PANEL, PANEL)
        for k in range(to, to + d * PANEL, PANEL):
            store(panels, k, multiply(load(panels, k), every(f4(scale))))


@compiled(nogil=True, error_model="numpy")
def _attend(  # noqa: PLR0917
    qkv: Array, bias: Array, heads: int, d: int, starts: Index, tables: Index, most: int, out: Array
) -> Any:
    all_ = heads * d
    stride, scale = 3 * all_, 1.0 / np.sqrt(d)
    keys, v = np.empty(most * d, np.float32), np.empty(most * d, np.float32)
    panels, edge = np.empty((most + 8) * d, np.float32), np.empty(8 * d, np.float32)
    table, sums = np.empty(most * most, np.float32), np.empty(most, np.float32)
    nothing = np.zeros(d, np.float32)
    for s in range(len(starts) - 1):
        first, n = starts[s], starts[s + 1] - starts[s]
        columns = (n + 7) // 8 * 8
        for h in range(heads):
            q0, b0 = stride * first + h * d, tables[-1] * h + tables[s]
            _pack(qkv, q0, stride, n, d, scale, edge, panels)
            take(qkv, q0 + all_, stride, n, n, d, 1.0, keys)
            take(qkv, q0 + 2 * all_, stride, n, n, d, 1.0, v)
            product(
                keys, 0, d, 1, n, panels, 0, PANEL, d, columns, d, bias, b0, columns,
                table, 0, columns,
            )  # fmt: skip
            exp_down(table, n, columns, sums)
            to = first * all_ + h * d
            product(table, 0, 1, columns, n, v, 0, d, 1, d, n, nothing, 0, 0, out, to, all_)
            divide_rows(out, to, n, d, all_, sums)


def symmetric_attention(qkv: Tensor, bias: Tensor, sets: Sets) -> Tensor:
    """Do the same as `biased_attention`, with tables that are symmetric."""
    heads, width = len(bias), qkv.shape[1] // 3
    out = torch.empty(len(qkv), width, dtype=torch.float32)
    _attend(
        flat(qkv.contiguous()), flat(bias.contiguous()), heads, width // heads, sets.starts,
        sets.tables, sets.most, flat(out),
    )  # fmt: skip
    return out
