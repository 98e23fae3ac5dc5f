r"""Attention within sets that stand end to end, without a bias: one set after the other.

For one set and head, $\alpha_{ij} = \mathrm{softmax}_j(q_i \cdot k_j / \sqrt d)$ and
$o_i = \sum_j \alpha_{ij}\, v_j$ (arXiv:1706.03762); `causal` lets j go up to i. A table of scores
stays in the cache, and is turned: its rows are keys, its columns queries, so that eight queries
pass the softmax side by side and what fills the last columns up needs no hiding. For the way back
only the peak and the inverse sum of each query are kept (as in arXiv:2205.14135). With
$\delta_i = g_i \cdot o_i$ the gradient of the scores is $\alpha_{ij} (g_i \cdot v_j - \delta_i)$.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from transferline.compilation import compiled
from transferline.models.backbones.kernels.biased_attention import Index, Sets
from transferline.models.backbones.kernels.elementary import exp
from transferline.models.backbones.kernels.lanes import (
    add,
    divide,
    every,
    fma,
    larger,
    load,
    multiply,
    store,
    subtract,
    total,
    transpose,
)
from transferline.models.backbones.kernels.packed import flat
from transferline.models.backbones.kernels.products import PANEL, Array, product

_SPARE = 8  # floats behind a row of numbers per query: the last vector of a set may pass its end
f4 = np.float32


@compiled(nogil=True, error_model="numpy")
def _turn(rows: Array, first: int, stride: int, n: int, d: int, out: Array) -> Any:  # noqa: PLR0917
    """Pack n rows of d numbers as columns, for `product`: what `pack` does, by blocks of eight."""
    whole = n // 8 * 8
    for i in range(0, whole, 8):
        panel = i // PANEL * PANEL * d + i % PANEL
        for c in range(0, d, 8):
            transpose(rows, first + i * stride + c, stride, out, panel + c * PANEL, PANEL)
    for i in range(whole, n):
        panel = i // PANEL * PANEL * d + i % PANEL
        for c in range(d):
            out[panel + c * PANEL] = rows[first + i * stride + c]


@compiled(nogil=True, error_model="numpy")
def _hide_later(table: Array, n: int, columns: int) -> Any:
    """A query does not see the keys behind it."""
    for j in range(1, n):
        for i in range(j):
            table[j * columns + i] = f4(-3e38)


@compiled(nogil=True, error_model="numpy")
def _weigh(  # noqa: PLR0917  numba takes no keyword-only arguments
    table: Array, n: int, columns: int, scale: float, peaks: Array, inverses: Array, place: int
) -> Any:
    """Scores become weights but for one factor of each query, which `inverses` gets."""
    for c in range(0, columns, 8):
        top = load(table, c)
        for j in range(1, n):
            top = larger(top, load(table, j * columns + c))
        peak = multiply(top, every(f4(scale)))
        sums = every(f4(0.0))
        for j in range(n):
            score = multiply(load(table, j * columns + c), every(f4(scale)))
            weight = exp(subtract(score, peak))
            sums = add(sums, weight)
            store(table, j * columns + c, weight)
        store(peaks, place + c, peak)
        store(inverses, place + c, divide(every(f4(1.0)), sums))


@compiled(nogil=True, error_model="numpy")
def _unweigh(  # noqa: PLR0917
    table: Array, grad: Array, n: int, columns: int, scale: float, peaks: Array, inverses: Array,
    place: int, deltas: Array,
) -> Any:  # fmt: skip
    """Scores become weights, and in `grad` the gradient of these that of the products q k."""
    for c in range(0, columns, 8):
        peak, inverse = load(peaks, place + c), load(inverses, place + c)
        delta = load(deltas, c)
        for j in range(n):
            at = j * columns + c
            score = multiply(load(table, at), every(f4(scale)))
            weight = multiply(exp(subtract(score, peak)), inverse)
            slope = multiply(subtract(load(grad, at), delta), every(f4(scale)))
            store(table, at, weight)
            store(grad, at, multiply(weight, slope))


@compiled(nogil=True, error_model="numpy")
def _forward(  # noqa: PLR0917
    qkv: Array, heads: int, d: int, starts: Index, most: int, causal: bool,
    peaks: Array, inverses: Array, out: Array,
) -> Any:  # fmt: skip
    all_, wide, scale = heads * d, 3 * heads * d, 1.0 / np.sqrt(d)
    queries, table = np.zeros((most + 8) * d, np.float32), np.empty(most * most, np.float32)
    nothing, along = np.zeros(max(most, d), np.float32), len(peaks) // heads
    for s in range(len(starts) - 1):
        first, n = starts[s], starts[s + 1] - starts[s]
        columns = (n + 7) // 8 * 8
        for h in range(heads):
            q, o, place = wide * first + h * d, all_ * first + h * d, along * h + first
            _turn(qkv, q, wide, n, d, queries)
            product(
                qkv, q + all_, wide, 1, n, queries, 0, PANEL, d, columns, d, nothing, 0, 0,
                table, 0, columns,
            )  # fmt: skip
            if causal:
                _hide_later(table, n, columns)
            _weigh(table, n, columns, scale, peaks, inverses, place)
            product(
                table, 0, 1, columns, n, qkv, q + 2 * all_, wide, 1, d, n, nothing, 0, 0,
                out, o, all_,
            )  # fmt: skip
            for i in range(n):
                factor = every(inverses[place + i])
                for c in range(o + i * all_, o + i * all_ + d, 8):
                    store(out, c, multiply(load(out, c), factor))


@compiled(nogil=True, error_model="numpy")
def _backward(  # noqa: PLR0917
    qkv: Array, heads: int, d: int, starts: Index, most: int, causal: bool, peaks: Array,
    inverses: Array, out: Array, grad: Array, grad_qkv: Array,
) -> Any:  # fmt: skip
    all_, wide, scale = heads * d, 3 * heads * d, 1.0 / np.sqrt(d)
    queries, slopes = np.zeros((most + 8) * d, np.float32), np.zeros((most + 8) * d, np.float32)
    table, of_table = np.empty(most * most, np.float32), np.empty(most * most, np.float32)
    deltas, nothing = np.zeros(most, np.float32), np.zeros(max(most, d), np.float32)
    along = len(peaks) // heads
    for s in range(len(starts) - 1):
        first, n = starts[s], starts[s + 1] - starts[s]
        columns = (n + 7) // 8 * 8
        for h in range(heads):
            q, o, place = wide * first + h * d, all_ * first + h * d, along * h + first
            k, v = q + all_, q + 2 * all_
            _turn(qkv, q, wide, n, d, queries)
            _turn(grad, o, all_, n, d, slopes)
            product(
                qkv, k, wide, 1, n, queries, 0, PANEL, d, columns, d, nothing, 0, 0,
                table, 0, columns,
            )  # fmt: skip
            product(
                qkv, v, wide, 1, n, slopes, 0, PANEL, d, columns, d, nothing, 0, 0,
                of_table, 0, columns,
            )  # fmt: skip
            if causal:
                _hide_later(table, n, columns)
            for i in range(n):
                sums = every(f4(0.0))
                for c in range(o + i * all_, o + i * all_ + d, 8):
                    sums = fma(load(grad, c), load(out, c), sums)
                deltas[i] = total(sums)
            _unweigh(table, of_table, n, columns, scale, peaks, inverses, place, deltas)
            product(of_table, 0, 1, columns, n, qkv, k, wide, 1, d, n, nothing, 0, 0,
                    grad_qkv, q, wide)  # fmt: skip
            product(of_table, 0, columns, 1, n, qkv, q, wide, 1, d, n, nothing, 0, 0,
                    grad_qkv, k, wide)  # fmt: skip
            product(table, 0, columns, 1, n, grad, o, all_, 1, d, n, nothing, 0, 0,
                    grad_qkv, v, wide)  # fmt: skip


class _PlainAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, sets: Sets, causal: bool) -> Tensor:
        rows, width = len(qkv), qkv.shape[1] // 3
        real = int(sets.starts[-1])
        out = torch.empty(rows, width, dtype=torch.float32)
        out[real:] = 0.0
        peaks, inverses = torch.empty(2, heads, real + _SPARE, dtype=torch.float32)
        sizes = heads, width // heads, sets.starts, sets.most, causal
        _forward(flat(qkv), *sizes, flat(peaks), flat(inverses), flat(out))
        ctx.save_for_backward(qkv, peaks, inverses, out)
        ctx.sizes = sizes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        qkv, peaks, inverses, out = ctx.saved_tensors
        heads, width, starts, most, causal = ctx.sizes
        grad_qkv = torch.empty_like(qkv)
        grad_qkv[int(starts[-1]) :] = 0.0
        _backward(
            flat(qkv), heads, width, starts, most, causal, flat(peaks), flat(inverses), flat(out),
            flat(grads[0].contiguous()), flat(grad_qkv),
        )  # fmt: skip
        return grad_qkv, None, None, None


def plain_attention(qkv: Tensor, heads: int, sets: Sets, causal: bool = False) -> Tensor:
    """Attend within sets; the result is `[t, c]`, the heads side by side.

    Args:
        qkv: `[t, 3 c]` queries, keys and values of all tokens, float32 on the CPU; c / heads is a
            multiple of 8. Tokens behind those of the sets belong to none: their result is zero.
        heads: how many share c.
        sets: which tokens belong together.
        causal: a token sees itself and those before it in its set.
    """
    # torch annotates no argument of apply.
    out: Tensor = _PlainAttention.apply(  # type: ignore[no-untyped-call]
        qkv.contiguous(), heads, sets, causal
    )
    return out
