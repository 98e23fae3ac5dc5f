r"""Scaled dot-product attention within small sets, fused: one pass over the pairs of each set.

For the tokens of one set and one head, $e_{ij} = q_i \cdot k_j / \sqrt{d} + b_j$,
$\alpha_{ij} = \mathrm{softmax}_j(e_{ij})$, $o_i = \sum_j \alpha_{ij} v_j$ (arXiv:1706.03762). In
plain tensor operations an event of seven objects means matrices of 8 x 16 and softmax over rows of
eight: they take half of a training step for a fiftieth of its arithmetic.
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

LARGEST = 17
"""Places of a set up to which this beats every other way (16, and one empty)."""


@compiled(nogil=True, fastmath=True, error_model="numpy")
def _forward(  # noqa: PLR0917  numba takes no keyword-only arguments
    qkv: Array,
    bias: Array,
    starts: NDArray[np.int64],
    pairs: NDArray[np.int64],
    alpha: Array,
    out: Array,
) -> Any:
    heads, width = qkv.shape[2], qkv.shape[3]
    scale = np.float32(1.0 / np.sqrt(width))
    for s in range(len(starts) - 1):
        first, size = starts[s], starts[s + 1] - starts[s]
        out[first : first + size] = np.float32(0.0)  # here, while it is in the cache
        for h in range(heads):
            table = alpha[h, pairs[s] : pairs[s] + size * size].reshape(size, size)
            for i in range(size):
                for j in range(size):
                    score = np.float32(0.0)
                    for d in range(width):
                        score += qkv[first + i, 0, h, d] * qkv[first + j, 1, h, d]
                    table[i, j] = score * scale + bias[first + j]
            mix(table, qkv, 2, first, h, out)


@compiled(nogil=True, fastmath=True, error_model="numpy")
def _backward(  # noqa: PLR0917  numba takes no keyword-only arguments
    qkv: Array,
    starts: NDArray[np.int64],
    pairs: NDArray[np.int64],
    alpha: Array,
    grad: Array,
    grad_qkv: Array,
    most: int,
) -> Any:
    heads, width = qkv.shape[2], qkv.shape[3]
    scale = np.float32(1.0 / np.sqrt(width))
    scores = np.empty((most, most), np.float32)
    for s in range(len(starts) - 1):
        first, size = starts[s], starts[s + 1] - starts[s]
        grad_qkv[first : first + size] = np.float32(0.0)
        for h in range(heads):
            table = alpha[h, pairs[s] : pairs[s] + size * size].reshape(size, size)
            mix_backward(table, qkv, 2, first, h, grad, grad_qkv, scores)
            for i in range(size):
                for j in range(size):
                    step = scores[i, j] * scale
                    for d in range(width):
                        grad_qkv[first + i, 0, h, d] += step * qkv[first + j, 1, h, d]
                        grad_qkv[first + j, 1, h, d] += step * qkv[first + i, 0, h, d]


class _DotAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor, counts: Tensor) -> Tensor:
        t, _, heads, width = qkv.shape
        layout = Layout.of(counts)
        starts, pairs = layout.starts, layout.pairs
        alpha = torch.empty(heads, int(pairs[-1]), dtype=torch.float32)
        out = torch.empty(t, heads, width, dtype=torch.float32)
        out[int(starts[-1]) :] = 0.0
        _forward(qkv.numpy(), bias.numpy(), starts, pairs, alpha.numpy(), out.numpy())
        ctx.save_for_backward(qkv, alpha)
        ctx.layout = layout
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        qkv, alpha = ctx.saved_tensors
        starts, pairs, most = ctx.layout.starts, ctx.layout.pairs, ctx.layout.most
        grad_qkv = torch.empty_like(qkv)
        grad_qkv[int(starts[-1]) :] = 0.0
        grad = grads[0].contiguous().numpy()
        _backward(qkv.numpy(), starts, pairs, alpha.numpy(), grad, grad_qkv.numpy(), most)
        return grad_qkv, None, None


def dot_attention(qkv: Tensor, bias: Tensor, counts: Tensor) -> Tensor:
    """Attend within sets that stand end to end; the result is `[t, h, d]`.

    Args:
        qkv: `[t, 3, h, d]` queries, keys and values of all tokens, on the CPU; computed in
            float32.
        bias: `[t]`, finite, added to what every token's key scores; gets no gradient.
        counts: `[n]` tokens of each set, int64. Tokens beyond their sum belong to no set: their
            result is zero.
    """
    with torch.autocast(qkv.device.type, enabled=False):
        rows = qkv.float().contiguous()
        # torch annotates no argument of apply.
        out: Tensor = _DotAttention.apply(rows, bias.float(), counts)  # type: ignore[no-untyped-call]
    return out
