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

from transferline.compilation import compiled

Array = NDArray[np.float32]

SLOPE = 0.2
"""Of LeakyReLU for negative arguments."""


@compiled(nogil=True, fastmath=True, error_model="numpy")
def _forward(  # noqa: PLR0917  numba takes no keyword-only arguments
    z: Array,
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
                        x = z[first + i, h, d] + z[first + j, h, d]
                        score += a[h, d] * max(x, slope * x)
                    table[i, j] = score
                    table[j, i] = score
            for i in range(size):
                top = table[i, 0]
                for j in range(1, size):
                    top = max(top, table[i, j])
                total = np.float32(0.0)
                for j in range(size):
                    table[i, j] = np.exp(table[i, j] - top)
                    total += table[i, j]
                for j in range(size):
                    table[i, j] /= total
                    weight = table[i, j]
                    for d in range(width):
                        out[first + i, h, d] += weight * z[first + j, h, d]


@compiled(nogil=True, fastmath=True, error_model="numpy")
def _backward(  # noqa: PLR0917  numba takes no keyword-only arguments
    z: Array,
    a: Array,
    starts: NDArray[np.int64],
    pairs: NDArray[np.int64],
    alpha: Array,
    grad: Array,
    grad_z: Array,
    grad_a: Array,
) -> Any:
    heads, width = a.shape
    slope = np.float32(SLOPE)
    for s in range(len(starts) - 1):
        first, size = starts[s], starts[s + 1] - starts[s]
        grad_z[first : first + size] = np.float32(0.0)
        scores = np.empty((size, size), np.float32)
        for h in range(heads):
            table = alpha[h, pairs[s] : pairs[s] + size * size].reshape(size, size)
            for i in range(size):
                mean = np.float32(0.0)
                for j in range(size):
                    dot = np.float32(0.0)
                    weight = table[i, j]
                    for d in range(width):
                        g = grad[first + i, h, d]
                        dot += g * z[first + j, h, d]
                        grad_z[first + j, h, d] += weight * g
                    scores[i, j] = dot
                    mean += weight * dot
                for j in range(size):
                    scores[i, j] = table[i, j] * (scores[i, j] - mean)
            for i in range(size):
                for j in range(i, size):
                    both = scores[i, j] + scores[j, i] if i != j else scores[i, i]
                    for d in range(width):
                        x = z[first + i, h, d] + z[first + j, h, d]
                        grad_a[h, d] += both * max(x, slope * x)
                        step = both * a[h, d] * (np.float32(1.0) if x > 0 else slope)
                        grad_z[first + i, h, d] += step
                        grad_z[first + j, h, d] += step


class _SetAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, a: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        sizes = counts.numpy()
        starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        pairs = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes * sizes)))
        alpha = torch.empty(a.shape[0], int(pairs[-1]))
        out = torch.empty_like(z)
        _forward(z.numpy(), a.numpy(), starts, pairs, alpha.numpy(), out.numpy())
        ctx.save_for_backward(z, a, alpha)
        ctx.bounds = starts, pairs
        ctx.mark_non_differentiable(alpha)
        return out, alpha

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        z, a, alpha = ctx.saved_tensors
        starts, pairs = ctx.bounds
        grad_z, grad_a = torch.empty_like(z), torch.zeros_like(a)
        grad = grads[0].contiguous().numpy()
        _backward(
            z.numpy(), a.numpy(), starts, pairs, alpha.numpy(), grad, grad_z.numpy(), grad_a.numpy()
        )
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
