r"""A linear layer fused with what comes before it: LayerNorm, or GELU, dropout and LayerNorm.

$y = W\, P(x) + b$ row by row, where P is nothing, the LayerNorm without scale and offset (they can
be part of W and b), or this LayerNorm of dropout of the GELU. Nothing but x is kept for the way
back: P is computed again, block by block in the cache, and dropout repeats its mask.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from transferline.compilation import compiled
from transferline.models.backbones.kernels.dropout import NO_DROPOUT, Dropout
from transferline.models.backbones.kernels.elementary import gelu, gelu_and_slope
from transferline.models.backbones.kernels.lanes import (
    add,
    every,
    kept,
    load,
    multiply,
    store,
)
from transferline.models.backbones.kernels.packed import Packed, flat
from transferline.models.backbones.kernels.products import PANEL, Array, pack, product
from transferline.models.backbones.kernels.standardise import standardise, standardise_backward

BLOCK = 48  # rows that pass all steps together, in the cache
_GAP = 16  # rows of scratch stand this far apart, else they would meet in one set of the cache

Before = Literal["nothing", "norm", "gelu_norm"]
_CODES: dict[Before, int] = {"nothing": 0, "norm": 1, "gelu_norm": 2}
_NORM, _GELU = 1, 2

f4 = np.float32


@compiled(nogil=True, error_model="numpy")
def _before(  # noqa: PLR0917  numba takes no keyword-only arguments
    x: Array, first: int, width: int, kind: int, dropout: Dropout, eps: float,
    out: Array, o0: int,
) -> Any:  # fmt: skip
    """One row of P(x), the factor of its LayerNorm returned."""
    low, high, limit, scale = dropout
    for i in range(0, width, 8):
        value = load(x, first + i)
        if kind == _GELU:
            value = gelu(value)
            if limit > 0:
                value = multiply(value, every(scale))
                value = kept(value, np.uint32(first + i), low, high, limit)
        store(out, o0 + i, value)
    return standardise(out, o0, width, eps) if kind >= _NORM else f4(1.0)


@compiled(nogil=True, error_model="numpy")
def _before_with_slope(  # noqa: PLR0917
    x: Array, first: int, width: int, dropout: Dropout, eps: float,
    out: Array, slopes: Array, o0: int,
) -> Any:  # fmt: skip
    """The same of GELU, dropout and LayerNorm, and the derivative of the first two."""
    low, high, limit, scale = dropout
    for i in range(0, width, 8):
        value, slope = gelu_and_slope(load(x, first + i))
        if limit > 0:
            place = np.uint32(first + i)
            keep = kept(every(scale), place, low, high, limit)
            value, slope = multiply(value, keep), multiply(slope, keep)
        store(out, o0 + i, value)
        store(slopes, o0 + i, slope)
    return standardise(out, o0, width, eps)


@compiled(nogil=True, error_model="numpy")
def _forward(  # noqa: PLR0917
    x: Array, t: int, panels: Array, bias: Array, kind: int, dropout: Dropout, eps: float,
    out: Array,
) -> Any:  # fmt: skip
    outputs = len(bias)
    width = len(panels) // ((outputs + 15) // 16 * 16)
    stride = width + _GAP
    block = np.empty(BLOCK * stride, np.float32)
    for r in range(0, t, BLOCK):
        n = min(BLOCK, t - r)
        for i in range(n):
            _before(x, (r + i) * width, width, kind, dropout, eps, block, i * stride)
        product(
            block, 0, stride, 1, n, panels, 0, PANEL, width, outputs, width,
            bias, 0, 0, out, r * outputs, outputs,
        )  # fmt: skip


@compiled(nogil=True, error_model="numpy")
def _copy_and_add(  # noqa: PLR0917
    grad: Array, first: int, n: int, width: int, out: Array, stride: int, sums: Array
) -> Any:
    """Copy a block of rows to rows that stand further apart; add it up column by column."""
    for c in range(0, width, 8):
        column = load(sums, c)
        for i in range(n):
            value = load(grad, first + i * width + c)
            store(out, i * stride + c, value)
            column = add(column, value)
        store(sums, c, column)


@compiled(nogil=True, error_model="numpy")
def _backward(  # noqa: PLR0917
    x: Array, t: int, weight: Array, kind: int, dropout: Dropout, eps: float, grad: Array,
    grad_x: Array, grad_weight: Array, grad_bias: Array,
) -> Any:  # fmt: skip
    """All gradients; `grad_x` has no elements if nobody wants it."""
    outputs = len(grad_bias)
    width = len(weight) // outputs
    panels = np.empty(outputs * ((width + 15) // 16 * 16), np.float32)
    pack(weight, 0, width, 1, outputs, width, panels)
    stride, far = width + _GAP, outputs + _GAP
    block, back = np.empty(BLOCK * stride, np.float32), np.empty(BLOCK * stride, np.float32)
    slopes = np.empty(BLOCK * stride if kind == _GELU else 0, np.float32)
    given, factor = np.empty(BLOCK * far, np.float32), np.empty(BLOCK, np.float32)
    nothing = np.zeros(width, np.float32)
    for r in range(0, t, BLOCK):
        n = min(BLOCK, t - r)
        for i in range(n):
            first, o = (r + i) * width, i * stride
            if kind == _GELU:
                factor[i] = _before_with_slope(x, first, width, dropout, eps, block, slopes, o)
            else:
                factor[i] = _before(x, first, width, kind, dropout, eps, block, o)
        _copy_and_add(grad, r * outputs, n, outputs, given, far, grad_bias)
        product(
            given, 0, 1, far, outputs, block, 0, stride, 1, width, n,
            grad_weight, 0, width, grad_weight, 0, width,
        )  # fmt: skip
        if not len(grad_x):
            continue
        product(
            given, 0, far, 1, n, panels, 0, 16, outputs, width, outputs,
            nothing, 0, 0, back, 0, stride,
        )  # fmt: skip
        for i in range(n):
            o, first = i * stride, (r + i) * width
            if kind >= _NORM:
                standardise_backward(back, o, width, block, o, factor[i])
            for c in range(0, width, 8):
                value = load(back, o + c)
                if kind == _GELU:
                    value = multiply(value, load(slopes, o + c))
                store(grad_x, first + c, value)


class _RowsLinear(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917  torch passes them by position
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, kind: int, dropout: Dropout, eps: float
    ) -> Tensor:
        out = torch.empty(len(x), len(bias), dtype=torch.float32)
        _forward(flat(x), len(x), *Packed.of(weight, bias), kind, dropout, eps, flat(out))
        ctx.save_for_backward(x, weight)
        ctx.rest = kind, dropout, eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        kind, dropout, eps = ctx.rest
        grad_x = torch.empty(x.shape if ctx.needs_input_grad[0] else (0,), dtype=torch.float32)
        grad_weight, grad_bias = (
            torch.zeros_like(weight),
            torch.zeros(len(weight), dtype=torch.float32),
        )
        _backward(
            flat(x), len(x), flat(weight), kind, dropout, eps, flat(grads[0].contiguous()),
            flat(grad_x), flat(grad_weight), flat(grad_bias),
        )  # fmt: skip
        wanted = grad_x if ctx.needs_input_grad[0] else None
        return wanted, grad_weight, grad_bias, None, None, None


def rows_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    before: Before,
    *,
    dropout: Dropout = NO_DROPOUT,
    eps: float = 1e-5,
) -> Tensor:
    """Return `P(x) @ weight.T + bias`, `[t, o]`.

    Args:
        x: `[t, i]` float32 on the CPU; i and o are multiples of 8.
        weight: `[o, i]`.
        bias: `[o]`.
        before: what P is.
        dropout: between GELU and LayerNorm.
        eps: of the LayerNorm.
    """
    # torch annotates no argument of apply.
    out: Tensor = _RowsLinear.apply(  # type: ignore[no-untyped-call]
        x.contiguous(), weight.contiguous(), bias.contiguous(), _CODES[before], dropout, eps
    )
    return out


def packed_linear(x: Tensor, layer: Packed, before: Before, eps: float = 1e-5) -> Tensor:
    """Return the same of packed weights, without gradient and dropout."""
    out = torch.empty(len(x), len(layer.bias), dtype=torch.float32)
    _forward(flat(x.contiguous()), len(x), *layer, _CODES[before], NO_DROPOUT, eps, flat(out))
    return out
