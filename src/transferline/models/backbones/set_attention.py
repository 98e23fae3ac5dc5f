r"""GATv2 attention within small sets, fused: one pass over the pairs, forward and backward.

For the tokens $z_i$ of one set and one head,
$e_{ij} = a \cdot \mathrm{LeakyReLU}(z_i + z_j)$, $\alpha_{ij} = \mathrm{softmax}_j(e_{ij})$,
$o_i = \sum_j \alpha_{ij} z_j$ (arXiv:2105.14491 with shared weights, so that $e$ is symmetric and
half of the pairs are enough). In plain tensor operations the `[pairs, d]` table of $z_i + z_j$
goes through memory several times and bounds the speed; here it never leaves the registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from transferline.compilation import compiled
from transferline.models.backbones.small_sets import Array, Layout, mix, mix_backward

SLOPE = 0.2
"""Of LeakyReLU for negative arguments."""


@compiled(nogil=True, fastmath=True, error_model="numpy")
def _forward(  # noqa: PLR0917  numba takes no keyword-only arguments
    rows: Array,
    a: Array,
    starts: NDArray[np.int64],
    pairs: NDArray[np.int64],
    alpha: Array,
    out: Array,
) -> Any:
    heads, width = a.shape
    slope = np.float32(SLOPE)
    for s in range(len(starts) - 1):
        first, size = starts[s], starts[s + 1] - starts[s]
        out[first : first + size] = np.float32(0.0)  # here, while it is in the cache
        for h in range(heads):
            table = alpha[h, pairs[s] : pairs[s] + size * size].reshape(size, size)
            for i in range(size):
                for j in range(i, size):
                    score = np.float32(0.0)
                    for d in range(width):
                        x = rows[first + i, 0, h, d] + rows[first + j, 0, h, d]
                        score += a[h, d] * max(x, slope * x)
                    table[i, j] = score
                    table[j, i] = score
            mix(table, rows, 0, first, h, out)


@compiled(nogil=True, fastmath=True, error_model="numpy")
def _backward(  # noqa: PLR0917  numba takes no keyword-only arguments
    rows: Array,
    a: Array,
    starts: NDArray[np.int64],
    pairs: NDArray[np.int64],
    alpha: Array,
    grad: Array,
    grad_rows: Array,
    grad_a: Array,
    most: int,
) -> Any:
    heads, width = a.shape
    slope = np.float32(SLOPE)
    scores = np.empty((most, most), np.float32)
    for s in range(len(starts) - 1):
        first, size = starts[s], starts[s + 1] - starts[s]
        grad_rows[first : first + size] = np.float32(0.0)
        for h in range(heads):
            table = alpha[h, pairs[s] : pairs[s] + size * size].reshape(size, size)
            mix_backward(table, rows, 0, first, h, grad, grad_rows, scores)
            for i in range(size):
                for j in range(i, size):
                    both = scores[i, j] + scores[j, i] if i != j else scores[i, i]
                    for d in range(width):
                        x = rows[first + i, 0, h, d] + rows[first + j, 0, h, d]
                        grad_a[h, d] += both * max(x, slope * x)
                        step = both * a[h, d] * (np.float32(1.0) if x > 0 else slope)
                        grad_rows[first + i, 0, h, d] += step
                        grad_rows[first + j, 0, h, d] += step


class _SetAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, a: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        layout = Layout.of(counts)
        starts, pairs = layout.starts, layout.pairs
        alpha = torch.empty(a.shape[0], int(pairs[-1]), dtype=torch.float32)
        out = torch.empty_like(z)
        rows = z.unsqueeze(1).numpy()
        _forward(rows, a.numpy(), starts, pairs, alpha.numpy(), out.numpy())
        ctx.save_for_backward(z, a, alpha)
        ctx.layout = layout
        ctx.mark_non_differentiable(alpha)
        return out, alpha

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        z, a, alpha = ctx.saved_tensors
        starts, pairs, most = ctx.layout.starts, ctx.layout.pairs, ctx.layout.most
        grad_z, grad_a = torch.empty_like(z), torch.zeros_like(a)
        rows, grad_rows = z.unsqueeze(1).numpy(), grad_z.unsqueeze(1).numpy()
        grad = grads[0].contiguous().numpy()
        vectors, of_vectors = a.numpy(), grad_a.numpy()
        _backward(rows, vectors, starts, pairs, alpha.numpy(), grad, grad_rows, of_vectors, most)
        return grad_z, grad_a, None


def set_attention(z: Tensor, a: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Attend within sets that stand end to end.

    Args:
        z: `[t, h, d]` tokens of all sets, on the CPU; computed in float32.
        a: `[h, d]` attention vectors.
        counts: `[n]` tokens of each set, int64; their sum is `t`.

    Returns:
        The outputs `[t, h, d]`, and the attention weights `[h, sum of counts^2]`, the
        `[count, count]` tables of the sets row by row, one set after the other.
    """
    with torch.autocast(z.device.type, enabled=False):
        tokens, vectors = z.float().contiguous(), a.float().contiguous()
        # torch annotates no argument of apply.
        found = _SetAttention.apply(tokens, vectors, counts)  # type: ignore[no-untyped-call]
    out, alpha = found
    return out, alpha
