r"""Attention within sets that stand end to end, with a bias for each pair: one set after the other.

For one set and head, $\alpha_{ij} = \mathrm{softmax}_j(q_i \cdot k_j / \sqrt d + b_{ij})$ and
$o_i = \sum_j D(\alpha_{ij})\, v_j$ with D dropout. The tables of one set stay in the cache; for the
way back only $\ln \sum_j e^{...}$ of each row is kept, the weights are computed again
(as in arXiv:2205.14135). With $\delta_i = g_i \cdot o_i$ the gradient of the scores is
$\alpha_{ij} (D_{ij}\, g_i \cdot v_j - \delta_i)$.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from transferline.compilation import compiled
from transferline.models.backbones.kernels.dropout import NO_DROPOUT, Dropout
from transferline.models.backbones.kernels.elementary import exp
from transferline.models.backbones.kernels.lanes import (
    add,
    every,
    fma,
    kept,
    larger,
    largest,
    load,
    multiply,
    store,
    subtract,
    total,
)
from transferline.models.backbones.kernels.packed import flat
from transferline.models.backbones.kernels.products import Array, pack, product

Index = NDArray[np.int64]
f4 = np.float32


@dataclass(frozen=True)
class Sets:
    """Where sets of so many tokens begin.

    The tables of one head stand one after the other, row by row; rows are rounded up to a
    multiple of 8 columns, and what is added there hides them.

    Attributes:
        starts: `[n + 1]` first token of each set, and the number of tokens.
        tables: `[n + 1]` first element of each table, and their size.
        most: columns of the largest table.
    """

    starts: Index
    tables: Index
    most: int

    @classmethod
    def of(cls, counts: Tensor) -> Sets:
        """Lay out sets of `counts [n]` tokens, int64, on the CPU."""
        sizes = counts.numpy()
        columns = -(-sizes // 8) * 8
        return cls(_bounds(sizes), _bounds(sizes * columns), int(columns.max(initial=0)))


def _bounds(sizes: Index) -> Index:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))


@compiled(nogil=True)
def _empty(size: int) -> Any:
    return np.empty(size, np.float32)


@compiled(nogil=True, error_model="numpy")
def take(  # noqa: PLR0917  numba takes no keyword-only arguments
    rows: Array, first: int, stride: int, n: int, columns: int, d: int, scale: float, out: Array
) -> Any:
    """Copy n rows of d numbers that stand `stride` apart, times `scale`, zeros up to `columns`."""
    for i in range(n):
        for c in range(0, d, 8):
            store(out, i * d + c, multiply(load(rows, first + i * stride + c), every(f4(scale))))
    for i in range(n * d, columns * d, 8):
        store(out, i, every(f4(0.0)))


@compiled(nogil=True, error_model="numpy")
def _weigh(table: Array, first: int, columns: int, place: int, dropout: Dropout) -> Any:
    """Scores of a row become dropped weights but for one factor; return peak and sum of them all.

    The factor is left to what is made of the row, which is shorter.
    """
    low, high, limit, _ = dropout
    top = every(f4(-3e38))
    for j in range(first, first + columns, 8):
        top = larger(top, load(table, j))
    peak = largest(top)
    sums = every(f4(0.0))
    for j in range(0, columns, 8):
        weight = exp(subtract(load(table, first + j), every(peak)))
        sums = add(sums, weight)
        if limit > 0:
            weight = kept(weight, np.uint32(place + j), low, high, limit)
        store(table, first + j, weight)
    return peak, total(sums)


@compiled(nogil=True, error_model="numpy")
def _unweigh(  # noqa: PLR0917
    table: Array, first: int, columns: int, place: int, dropout: Dropout,
    logarithm: float, delta: float, grad: Array, g0: int,
) -> Any:  # fmt: skip
    """Scores become dropped weights, and in `grad` the gradient of these that of the scores."""
    low, high, limit, scale = dropout
    for j in range(0, columns, 8):
        weight = exp(subtract(load(table, first + j), every(f4(logarithm))))
        keep = every(scale)
        if limit > 0:
            keep = kept(keep, np.uint32(place + j), low, high, limit)
        slope = fma(keep, load(grad, g0 + j), every(f4(0.0) - f4(delta)))
        store(table, first + j, multiply(weight, keep))
        store(grad, g0 + j, multiply(weight, slope))


@compiled(nogil=True, error_model="numpy")
def _forward(  # noqa: PLR0917
    qkv: Array, bias: Array, heads: int, d: int, starts: Index, tables: Index, most: int,
    dropout: Dropout, logarithms: Array, out: Array,
) -> Any:  # fmt: skip
    """Attention of all sets; `logarithms` has no elements if nobody goes back."""
    all_ = heads * d
    scale = 1.0 / np.sqrt(d)
    q, keys, v = _empty(most * d), _empty(most * d), _empty(most * d)
    panels, table, nothing = _empty(d * (most + 8)), _empty(most * most), np.zeros(d, np.float32)
    sums = _empty(most)
    for s in range(len(starts) - 1):
        first, n = starts[s], starts[s + 1] - starts[s]
        columns = (n + 7) // 8 * 8
        for h in range(heads):
            o, b0 = 3 * all_ * first + h * d, tables[-1] * h + tables[s]
            take(qkv, o, 3 * all_, n, n, d, scale, q)
            take(qkv, o + all_, 3 * all_, n, columns, d, 1.0, keys)
            take(qkv, o + 2 * all_, 3 * all_, n, columns, d, 1.0, v)
            pack(keys, 0, 1, d, d, columns, panels)
            product(
                q, 0, d, 1, n, panels, 0, 16, d, columns, d, bias, b0, columns, table, 0, columns
            )
            for i in range(n):
                r = i * columns
                peak, sums[i] = _weigh(table, r, columns, b0 + r, dropout)
                if len(logarithms):
                    logarithms[heads * (first + i) + h] = peak + np.log(sums[i])
            o_ = first * all_ + h * d
            product(
                table, 0, columns, 1, n, v, 0, d, 1, d, columns, nothing, 0, 0, out, o_, all_
            )  # fmt: skip
            for i in range(n):
                factor = every(dropout.scale / sums[i])
                for c in range(o_ + i * all_, o_ + i * all_ + d, 8):
                    store(out, c, multiply(load(out, c), factor))


@compiled(nogil=True, error_model="numpy")
def _backward(  # noqa: PLR0917
    qkv: Array, bias: Array, heads: int, d: int, starts: Index, tables: Index, most: int,
    dropout: Dropout, logarithms: Array, out: Array, grad: Array, grad_qkv: Array,
    grad_bias: Array,
) -> Any:  # fmt: skip
    all_ = heads * d
    scale = 1.0 / np.sqrt(d)
    size = most * d
    q, keys, v, g, plain = _empty(size), _empty(size), _empty(size), _empty(size), _empty(size)
    kp, vp, table = _empty(size + 8 * d), _empty(size + 8 * d), _empty(most * most)
    nothing = np.zeros(max(most, d), np.float32)
    for s in range(len(starts) - 1):
        first, n = starts[s], starts[s + 1] - starts[s]
        columns = (n + 7) // 8 * 8
        for h in range(heads):
            o, b0 = 3 * all_ * first + h * d, tables[-1] * h + tables[s]
            o_ = all_ * first + h * d
            take(qkv, o, 3 * all_, n, n, d, scale, q)
            take(qkv, o + all_, 3 * all_, n, columns, d, 1.0, plain)
            take(qkv, o + all_, 3 * all_, n, columns, d, scale, keys)
            take(qkv, o + 2 * all_, 3 * all_, n, columns, d, 1.0, v)
            take(grad, o_, all_, n, n, d, 1.0, g)
            pack(plain, 0, 1, d, d, columns, kp)
            pack(v, 0, 1, d, d, columns, vp)
            product(q, 0, d, 1, n, kp, 0, 16, d, columns, d, bias, b0, columns, table, 0, columns)
            product(g, 0, d, 1, n, vp, 0, 16, d, columns, d, nothing, 0, 0, grad_bias, b0, columns)
            for i in range(n):
                sums = every(f4(0.0))
                for c in range(0, d, 8):
                    sums = fma(load(g, i * d + c), load(out, o_ + i * all_ + c), sums)
                r = i * columns
                _unweigh(
                    table, r, columns, b0 + r, dropout, logarithms[heads * (first + i) + h],
                    total(sums), grad_bias, b0 + r,
                )  # fmt: skip
            t = 3 * all_
            product(grad_bias, b0, columns, 1, n, keys, 0, d, 1, d, columns, nothing, 0, 0,
                    grad_qkv, o, t)  # fmt: skip
            product(grad_bias, b0, 1, columns, n, q, 0, d, 1, d, n, nothing, 0, 0,
                    grad_qkv, o + all_, t)  # fmt: skip
            product(table, 0, 1, columns, n, g, 0, d, 1, d, n, nothing, 0, 0,
                    grad_qkv, o + 2 * all_, t)  # fmt: skip


class _BiasedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor, sets: Sets, dropout: Dropout) -> Tensor:
        heads, width = len(bias), qkv.shape[1] // 3
        kept = len(qkv) if any(ctx.needs_input_grad) else 0
        out = torch.empty(len(qkv), width, dtype=torch.float32)
        logarithms = torch.empty(kept, heads, dtype=torch.float32)
        sizes = heads, width // heads, sets.starts, sets.tables, sets.most
        _forward(flat(qkv), flat(bias), *sizes, dropout, flat(logarithms), flat(out))
        ctx.save_for_backward(qkv, bias, logarithms, out)
        ctx.rest = *sizes, dropout
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        qkv, bias, logarithms, out = ctx.saved_tensors
        heads, width, starts, pairs, most, dropout = ctx.rest
        grad_qkv, grad_bias = torch.empty_like(qkv), torch.empty_like(bias)
        _backward(
            flat(qkv), flat(bias), heads, width, starts, pairs, most, dropout, flat(logarithms),
            flat(out), flat(grads[0].contiguous()), flat(grad_qkv), flat(grad_bias),
        )  # fmt: skip
        return grad_qkv, grad_bias, None, None


def biased_attention(
    qkv: Tensor, bias: Tensor, sets: Sets, dropout: Dropout = NO_DROPOUT
) -> Tensor:
    """Attend within sets; the result is `[t, c]`, the heads side by side.

    Args:
        qkv: `[t, 3 c]` queries, keys and values of all tokens, float32 on the CPU; c / h is a
            multiple of 8.
        bias: `[h, s]` tables laid out by `sets`; large and negative where a row is filled up.
        sets: which tokens belong together.
        dropout: of the attention weights.
    """
    # torch annotates no argument of apply.
    out: Tensor = _BiasedAttention.apply(  # type: ignore[no-untyped-call]
        qkv.contiguous(), bias.contiguous(), sets, dropout
    )
    return out
