r"""The two residual connections of a block of Particle Transformer, each in one pass.

With D dropout, $x + D(\gamma \odot \hat z + \beta)$, where $\hat z$ is z after a LayerNorm
without scale and offset, and $w \odot x + D(z)$.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from transferline.compilation import compiled
from transferline.models.backbones.kernels.dropout import Dropout
from transferline.models.backbones.kernels.lanes import (
    add,
    every,
    fma,
    kept,
    load,
    multiply,
    store,
)
from transferline.models.backbones.kernels.packed import flat
from transferline.models.backbones.kernels.products import Array
from transferline.models.backbones.kernels.standardise import standardise, standardise_backward

f4 = np.float32


@compiled(inline="always")
def _dropped(value: Any, place: int, dropout: Dropout) -> Any:
    low, high, limit, scale = dropout
    if limit > 0:
        value = kept(multiply(value, every(scale)), np.uint32(place), low, high, limit)
    return value


@compiled(nogil=True, error_model="numpy")
def _normed(  # noqa: PLR0917  numba takes no keyword-only arguments
    x: Array, z: Array, scale: Array, offset: Array, dropout: Dropout, eps: float, out: Array
) -> Any:
    width = len(scale)
    for first in range(0, len(x), width):
        for c in range(0, width, 8):
            store(out, first + c, load(z, first + c))
        standardise(out, first, width, eps)
        for c in range(0, width, 8):
            value = fma(load(out, first + c), load(scale, c), load(offset, c))
            store(out, first + c, add(load(x, first + c), _dropped(value, first + c, dropout)))


@compiled(nogil=True, error_model="numpy")
def _normed_backward(  # noqa: PLR0917
    z: Array, scale: Array, dropout: Dropout, eps: float, grad: Array, grad_z: Array,
    grad_scale: Array, grad_offset: Array,
) -> Any:  # fmt: skip
    width = len(scale)
    row = np.empty(width, np.float32)
    for first in range(0, len(z), width):
        for c in range(0, width, 8):
            store(row, c, load(z, first + c))
        factor = standardise(row, 0, width, eps)
        for c in range(0, width, 8):
            g = _dropped(load(grad, first + c), first + c, dropout)
            store(grad_offset, c, add(load(grad_offset, c), g))
            store(grad_scale, c, fma(g, load(row, c), load(grad_scale, c)))
            store(grad_z, first + c, multiply(g, load(scale, c)))
        standardise_backward(grad_z, first, width, row, 0, factor)


@compiled(nogil=True, error_model="numpy")
def _scaled(x: Array, z: Array, scale: Array, dropout: Dropout, out: Array) -> Any:
    width = len(scale)
    for first in range(0, len(x), width):
        for c in range(0, width, 8):
            value = _dropped(load(z, first + c), first + c, dropout)
            store(out, first + c, fma(load(scale, c), load(x, first + c), value))


@compiled(nogil=True, error_model="numpy")
def _scaled_backward(  # noqa: PLR0917
    x: Array, scale: Array, dropout: Dropout, grad: Array, grad_x: Array, grad_z: Array,
    grad_scale: Array,
) -> Any:  # fmt: skip
    width = len(scale)
    for first in range(0, len(x), width):
        for c in range(0, width, 8):
            g = load(grad, first + c)
            store(grad_x, first + c, multiply(g, load(scale, c)))
            store(grad_z, first + c, _dropped(g, first + c, dropout))
            store(grad_scale, c, fma(g, load(x, first + c), load(grad_scale, c)))


class _NormResidual(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917  torch passes them by position
        ctx: Any, x: Tensor, z: Tensor, scale: Tensor, offset: Tensor, dropout: Dropout, eps: float
    ) -> Tensor:
        out = torch.empty_like(x)
        _normed(flat(x), flat(z), flat(scale), flat(offset), dropout, eps, flat(out))
        ctx.save_for_backward(z, scale)
        ctx.rest = dropout, eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        z, scale = ctx.saved_tensors
        dropout, eps = ctx.rest
        grad = grads[0].contiguous()
        grad_z, grad_scale, grad_offset = (
            torch.empty_like(z),
            *torch.zeros(2, len(scale), dtype=torch.float32),
        )
        _normed_backward(
            flat(z), flat(scale), dropout, eps, flat(grad), flat(grad_z), flat(grad_scale),
            flat(grad_offset),
        )  # fmt: skip
        return grad, grad_z, grad_scale, grad_offset, None, None


class _ScaledResidual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor, scale: Tensor, dropout: Dropout) -> Tensor:
        out = torch.empty_like(x)
        _scaled(flat(x), flat(z), flat(scale), dropout, flat(out))
        ctx.save_for_backward(x, scale)
        ctx.dropout = dropout
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        grad_x, grad_z, grad_scale = (
            torch.empty_like(x),
            torch.empty_like(x),
            torch.zeros_like(scale),
        )
        _scaled_backward(
            flat(x), flat(scale), ctx.dropout, flat(grads[0].contiguous()), flat(grad_x),
            flat(grad_z), flat(grad_scale),
        )  # fmt: skip
        return grad_x, grad_z, grad_scale, None


def norm_residual(  # noqa: PLR0917
    x: Tensor, z: Tensor, scale: Tensor, offset: Tensor, dropout: Dropout, eps: float = 1e-5
) -> Tensor:
    """Return `x + dropout(layer_norm(z) * scale + offset)`, `[t, c]` float32, c a multiple of 8."""
    # torch annotates no argument of apply.
    out: Tensor = _NormResidual.apply(  # type: ignore[no-untyped-call]
        x.contiguous(), z.contiguous(), scale.contiguous(), offset.contiguous(), dropout, eps
    )
    return out


def scaled_residual(x: Tensor, z: Tensor, scale: Tensor, dropout: Dropout) -> Tensor:
    """Return `scale * x + dropout(z)`, `[t, c]` float32, c a multiple of 8."""
    out: Tensor = _ScaledResidual.apply(  # type: ignore[no-untyped-call]
        x.contiguous(), z.contiguous(), scale.contiguous(), dropout
    )
    return out
