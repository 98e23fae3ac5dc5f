r"""What one token per set takes of itself and of the set's rows, without keys and values of rows.

With $\hat x_j$ the LayerNorm of a row without scale and offset, the score of head h is
$q_h \cdot W_{k,h} \hat x_j = u_h \cdot \hat x_j$ with $u_h = W_{k,h}^T q_h$, up to what is the same
for all j and cancels in the softmax; and $\sum_j \alpha_{hj} W_{v,h} \hat x_j = W_{v,h} z_h$ with
$z_h = \sum_j \alpha_{hj} \hat x_j$. One query per set makes this far cheaper than two layers of all
rows. Without gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferline.compilation import compiled
from transferline.models.backbones.kernels.lanes import load, store
from transferline.models.backbones.kernels.packed import flat
from transferline.models.backbones.kernels.products import PANEL, Array, pack, product
from transferline.models.backbones.kernels.softmax import divide_rows, exp_down
from transferline.models.backbones.kernels.standardise import standardise


@compiled(nogil=True, error_model="numpy")
def _attend(  # noqa: PLR0917  numba takes no keyword-only arguments
    token: Array, rows: Array, starts: NDArray[np.int64], width: int, queries: Array, eps: float,
    out: Array,
) -> Any:  # fmt: skip
    sets = len(starts) - 1
    heads = len(queries) // max(sets * width, 1)
    most = 1
    for s in range(sets):
        most = max(most, starts[s + 1] - starts[s] + 1)
    x, table = np.empty(most * width, np.float32), np.empty(most * heads, np.float32)
    panels = np.empty((heads + 15) // 16 * 16 * width, np.float32)
    nothing, sums = np.zeros(max(heads, width), np.float32), np.empty(heads, np.float32)
    for s in range(sets):
        first, n = starts[s], starts[s + 1] - starts[s] + 1
        for c in range(0, width, 8):
            store(x, c, load(token, s * width + c))
        for c in range(0, (n - 1) * width, 8):
            store(x, width + c, load(rows, first * width + c))
        for i in range(n):
            standardise(x, i * width, width, eps)
        q0 = s * heads * width
        pack(queries, q0, 1, width, width, heads, panels)
        product(
            x, 0, width, 1, n, panels, 0, PANEL, width, heads, width, nothing, 0, 0,
            table, 0, heads,
        )  # fmt: skip
        exp_down(table, n, heads, sums)
        product(
            table, 0, 1, heads, heads, x, 0, width, 1, width, n, nothing, 0, 0, out, q0, width
        )  # fmt: skip
        divide_rows(out, q0, heads, width, width, sums)


def token_attention(
    token: Tensor, rows: Tensor, starts: NDArray[np.int64], queries: Tensor, eps: float = 1e-5
) -> Tensor:
    """Return z, `[n, h, d]`.

    Args:
        token: `[n, d]` float32 on the CPU; d is a multiple of 8.
        rows: `[t, d]` of all sets, end to end.
        starts: `[n + 1]` first row of each set, and t.
        queries: u, `[n, h, d]`.
        eps: of the LayerNorm.
    """
    heads, width = queries.shape[1:]
    filled = torch.zeros(len(token), -(-heads // 8) * 8, width, dtype=torch.float32)
    filled[:, :heads] = queries
    out = torch.empty_like(filled)
    _attend(
        flat(token.contiguous()), flat(rows.contiguous()), starts, width, flat(filled), eps,
        flat(out),
    )  # fmt: skip
    return out[:, :heads]
