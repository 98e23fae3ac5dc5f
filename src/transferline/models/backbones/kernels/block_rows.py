r"""Everything of a block after its heads, block by block of rows in the cache, without gradient.

$x' = x + \mathrm{LN}(W_o\, z + b_o)$, then
$x'' = w \odot x' + W_2\, \mathrm{LN}(\mathrm{GELU}(W_1\, \mathrm{LN}(x') + b_1)) + b_2$: the hidden
layer, four times as wide as a row, is never written to memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from transferline.compilation import compiled
from transferline.models.backbones.kernels.elementary import gelu
from transferline.models.backbones.kernels.lanes import add, fma, load, store
from transferline.models.backbones.kernels.packed import Packed, flat
from transferline.models.backbones.kernels.products import PANEL, Array, product
from transferline.models.backbones.kernels.standardise import standardise

BLOCK = 48  # rows that pass all steps together, in the cache
_GAP = 16  # rows of scratch stand this far apart, else they would meet in one set of the cache


@compiled(nogil=True, error_model="numpy")
def _normed_sum(  # noqa: PLR0917  numba takes no keyword-only arguments
    x: Array, x0: int, rows: Array, r0: int, scale: Array, offset: Array, eps: float,
    normed: Array,
) -> Any:  # fmt: skip
    """One row of x' in place, and of LN(x') without scale and offset into `normed`."""
    width = len(scale)
    standardise(x, x0, width, eps)
    for c in range(0, width, 8):
        value = fma(load(x, x0 + c), load(scale, c), load(offset, c))
        value = add(value, load(rows, r0 + c))
        store(x, x0 + c, value)
        store(normed, x0 + c, value)
    standardise(normed, x0, width, eps)


@compiled(nogil=True, error_model="numpy")
def _block(  # noqa: PLR0917
    mixed: Array, rows: Array, out_panels: Array, out_bias: Array, scale: Array, offset: Array,
    panels1: Array, bias1: Array, panels2: Array, bias2: Array, residual: Array, eps: float,
    out: Array,
) -> Any:  # fmt: skip
    width, hidden = len(out_bias), len(bias1)
    t, near, far = len(rows) // width, width + _GAP, hidden + _GAP
    x, y = np.empty(BLOCK * near, np.float32), np.empty(BLOCK * near, np.float32)
    h = np.empty(BLOCK * far, np.float32)
    for r in range(0, t, BLOCK):
        n, r0 = min(BLOCK, t - r), r * width
        product(
            mixed, r0, width, 1, n, out_panels, 0, PANEL, width, width, width,
            out_bias, 0, 0, x, 0, near,
        )  # fmt: skip
        for i in range(n):
            _normed_sum(x, i * near, rows, r0 + i * width, scale, offset, eps, y)
        product(
            y, 0, near, 1, n, panels1, 0, PANEL, width, hidden, width, bias1, 0, 0, h, 0, far
        )  # fmt: skip
        for i in range(n):
            for c in range(i * far, i * far + hidden, 8):
                store(h, c, gelu(load(h, c)))
            standardise(h, i * far, hidden, eps)
            for c in range(0, width, 8):
                store(
                    y, i * near + c, fma(load(x, i * near + c), load(residual, c), load(bias2, c))
                )
        product(
            h, 0, far, 1, n, panels2, 0, PANEL, hidden, width, hidden, y, 0, near, out, r0, width
        )  # fmt: skip


def block_rows(  # noqa: PLR0917
    mixed: Tensor, rows: Tensor, out: Packed, norm: nn.LayerNorm, first: Packed, last: Packed,
    residual: Tensor,
) -> Tensor:  # fmt: skip
    """Return x'' of `rows [t, d]` and what the heads gave, `mixed [t, d]`.

    Args:
        mixed: float32 on the CPU, contiguous as `rows`; all sizes are multiples of 8.
        rows: x.
        out: the layer after the heads.
        norm: the norm after it.
        first: the first layer of the feed-forward network, with the norm before it.
        last: its last layer, with the norm before it.
        residual: `[d]` w.
    """
    result = torch.empty_like(rows)
    _block(
        flat(mixed), flat(rows), *out, flat(norm.weight), flat(norm.bias), *first, *last,
        flat(residual), norm.eps, flat(result),
    )  # fmt: skip
    return result
