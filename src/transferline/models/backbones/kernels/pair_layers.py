"""The network of pairs as a differentiable function, with the statistics that training collects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from transferline.models.backbones.kernels.packed import flat
from transferline.models.backbones.kernels.pair_network import (
    activated,
    all_layers,
    collect,
    layer_backward,
    layer_forward,
    top_backward,
)

Norms = Sequence[nn.BatchNorm1d]
_LANES = 8


@dataclass
class _Layer:
    """Scale and offset of a BatchNorm, and zhat = factor z + shift; `[c]` each."""

    scale: Tensor
    offset: Tensor
    factor: Tensor
    shift: Tensor

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> _Layer:
        factor = (var.double() + eps).rsqrt()
        scale, shift = weight.double() * factor, -mean.double() * factor
        offset = bias.double() + weight.double() * shift
        return cls(scale.float(), offset.float(), factor.float(), shift.float())


class _PairLayers(torch.autograd.Function):
    """`given` holds mean and variance of each layer, or is empty: then they are taken, into it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, given: list[tuple[Tensor, Tensor]], eps: float, bends: bool,
        *parameters: Tensor,
    ) -> Tensor:  # fmt: skip
        n = (len(parameters) - 2) // 3
        scales, offsets, weights = (
            parameters[: n + 1], parameters[n + 1 : 2 * n + 2], parameters[2 * n + 2 :]
        )  # fmt: skip
        ctx.collects, z, layers = not given, x, []
        spreads = np.zeros((2, x.shape[1]))
        if ctx.collects:
            collect(flat(x), len(x), spreads)
        for k, (scale, offset) in enumerate(zip(scales, offsets, strict=True)):
            if ctx.collects:
                mean, squares = torch.from_numpy(spreads)
                given.append((mean, squares / len(x)))
            layers.append(_Layer.of(scale, offset, *given[k], eps))
            if k < n:
                spreads = np.zeros((2, len(weights[k])))
                z = _next(z, layers[k], k > 0, weights[k], spreads)
        out, last = torch.empty_like(z), layers[n]
        activated(
            flat(z), 0, len(x), flat(last.scale), flat(last.offset), bends, flat(out),
            out.shape[1],
        )  # fmt: skip
        ctx.layers, ctx.bends = layers, bends
        ctx.save_for_backward(x, *weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Compute all layers again: by now the memory of the rest of the network is free."""
        layers, n = ctx.layers, len(ctx.layers) - 1
        x, *weights = ctx.saved_tensors
        z, pairs = [x], len(x)
        for k, weight in enumerate(weights):
            z.append(_next(z[k], layers[k], k > 0, weight, np.zeros((2, len(weight)))))
        step = max(table.shape[1] for table in z)
        grad = torch.empty(pairs, step, dtype=torch.float32)
        grad_weights = [torch.zeros_like(weight) for weight in weights]
        sums = [np.zeros((2, table.shape[1])) for table in z]
        last = layers[n]
        top_backward(
            flat(grads[0].contiguous()), pairs, flat(z[n]), flat(last.scale), flat(last.offset),
            ctx.bends, flat(last.factor), flat(last.shift), flat(grad), step, sums[n],
        )  # fmt: skip
        for k in range(n, 0, -1):
            below = layers[k - 1]
            of_grad, of_z, rest = _of_norm(layers[k], sums[k] / max(pairs, 1), ctx.collects)
            layer_backward(
                flat(grad), step, pairs, flat(z.pop()), flat(of_grad), flat(of_z), flat(rest),
                flat(z[-1]), flat(below.scale), flat(below.offset), k > 1, flat(below.factor),
                flat(below.shift), flat(weights[k - 1]), flat(grad_weights[k - 1]), sums[k - 1],
            )  # fmt: skip
        totals = [torch.from_numpy(two).float() for two in sums]
        return (
            None, None, None, None, *(two[1] for two in totals), *(two[0] for two in totals),
            *grad_weights,
        )  # fmt: skip


def _next(z: Tensor, layer: _Layer, bends: bool, weight: Tensor, statistics: Any) -> Tensor:
    """What the next layer gives, before its norm; mean and spread are added to `statistics`."""
    out = torch.empty(len(z), len(weight), dtype=torch.float32)
    layer_forward(
        flat(z), len(z), flat(layer.scale), flat(layer.offset), bends, flat(weight), flat(out),
        statistics,
    )  # fmt: skip
    return out


def _of_norm(layer: _Layer, means: Any, collects: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return a, b, c of the gradient `a g + b z + c` below a BatchNorm, g being that above it."""
    scale, zero = layer.scale, torch.zeros_like(layer.scale)
    if not collects:
        return scale, zero, zero
    plain, product = torch.from_numpy(means).float()
    return (
        scale,
        -scale * product * layer.factor,
        -scale * (plain + product * layer.shift),
    )


def pair_layers(x: Tensor, norms: Norms, linears: list[nn.Linear], bends: bool) -> Tensor:
    """Return BatchNorm, then Linear, BatchNorm and GELU for each layer, `[pairs, c]`.

    Args:
        x: `[pairs, 8]` float32 on the CPU, without gradient; columns beyond those of the first
            norm are zero.
        norms: with `training` the statistics are those of x (two pairs at least), and are
            collected; all with the same eps.
        linears: one fewer.
        bends: whether the last layer ends with a GELU.
    """
    scales, offsets = [_filled(norm.weight) for norm in norms], [_filled(norms[0].bias)]
    weights = [_filled(linear.weight) for linear in linears]
    given = [] if norms[0].training else _running(norms)
    for k, (norm, linear) in enumerate(zip(norms[1:], linears, strict=True), start=1):
        # A bias before a norm that takes its own mean changes nothing: its gradient is zero.
        share = scales[k] * (given[k][1] + norm.eps).rsqrt() if given else torch.zeros(())
        offsets.append(_filled(norm.bias) + share * _filled(linear.bias))
    if given and not torch.is_grad_enabled():
        out: Tensor = _evaluated(x, given, norms[0].eps, bends, scales, offsets, weights)
        return out[:, : norms[-1].num_features]
    out = _PairLayers.apply(  # type: ignore[no-untyped-call]  # torch's own annotation
        x, given, norms[0].eps, bends, *scales, *offsets, *weights
    )
    if norms[0].training:
        _keep(norms, linears, given, len(x))
    return out[:, : norms[-1].num_features]


def _filled(tensor: Tensor) -> Tensor:
    """Append zeros up to a multiple of 8: such a channel is zero in all layers."""
    pad = [amount for size in reversed(tensor.shape) for amount in (0, -size % _LANES)]
    return F.pad(tensor, pad).contiguous()


def _running(norms: Norms) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance in evaluation."""
    found = []
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        found.append((_filled(norm.running_mean), _filled(norm.running_var)))
    return found


@torch.no_grad()
def _keep(
    norms: Norms, linears: list[nn.Linear], given: list[tuple[Tensor, Tensor]], pairs: int
) -> None:
    """Do what a BatchNorm does to its running statistics; the biases are part of the means."""
    for k, (norm, (mean, var)) in enumerate(zip(norms, given, strict=True)):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        size = norm.num_features
        unbiased = (var * (pairs / (pairs - 1))).float()
        whole = mean.float()[:size] + (linears[k - 1].bias if k else 0.0)
        norm.running_mean.lerp_(whole, norm.momentum)
        norm.running_var.lerp_(unbiased[:size], norm.momentum)
        norm.num_batches_tracked.add_(1)


def _evaluated(  # noqa: PLR0917
    x: Tensor, given: list[tuple[Tensor, Tensor]], eps: float, bends: bool,
    scales: list[Tensor], offsets: list[Tensor], weights: list[Tensor],
) -> Tensor:  # fmt: skip
    rows = zip(scales, offsets, given, strict=True)
    layers = [_Layer.of(scale, offset, *two, eps) for scale, offset, two in rows]
    widths = np.array([x.shape[1], *(len(weight) for weight in weights)], np.int64)
    out = torch.empty(len(x), int(widths[-1]), dtype=torch.float32)
    scale = torch.cat([layer.scale for layer in layers])
    offset = torch.cat([layer.offset for layer in layers])
    weight = torch.cat([weight.detach().flatten() for weight in weights])
    all_layers(flat(x), len(x), widths, flat(scale), flat(offset), flat(weight), bends, flat(out))
    return out
