"""Data parallelism: each process encodes its share of every batch, all compute the same loss.

Only `Backbone.encode` is divided. Corruption, embedding, heads and the loss see the whole batch
in every process, with the same random numbers, so any loss is that of one process, whatever it
averages over. See docs/adr/0004-data-parallel.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from transferline.errors import ConfigError
from transferline.learning.distributed import World
from transferline.models.backbones.base import Backbone, Latent


@contextmanager
def divided(module: nn.Module, world: World) -> Iterator[None]:
    """Let every backbone in `module`, a teacher's too, encode with all processes together.

    All processes must call `encode` equally often, with the same tensors.

    Raises:
        ConfigError: a backbone computes statistics over the events of a batch.
    """
    backbones = [m for m in module.modules() if isinstance(m, Backbone)] if world.size > 1 else []
    for backbone in backbones:
        _check_events_are_apart(backbone)
    for backbone in backbones:
        vars(backbone)["encode"] = _DividedEncode(backbone, world)
    try:
        yield
    finally:
        for backbone in backbones:
            del vars(backbone)["encode"]


def _check_events_are_apart(backbone: Backbone) -> None:
    if backbone.batch_dependent or any(isinstance(m, _BatchNorm) for m in backbone.modules()):
        raise ConfigError(
            f"{type(backbone).__name__} computes over all events of a batch (BatchNorm), so "
            "several processes would train another network than one. Train it in one process, "
            "without torchrun."
        )


class _DividedEncode:
    """Stands in for the method `encode` of one backbone."""

    def __init__(self, backbone: Backbone, world: World) -> None:
        self.world = world
        self.encode: Callable[..., Latent] = backbone.encode
        self.step_seed, self.calls = -1, 0

    def __call__(self, tokens: Tensor, *rest: Any, **more: Any) -> Latent:
        n, size = len(tokens), self.world.size
        # Batches may be sorted by length: every size-th event gives all processes equal work.
        # The last places repeat the last event, for equal shapes; nothing reads them.
        steps = torch.arange(-(-n // size), device=tokens.device)
        rows = (steps * size + self.world.rank).clamp(max=n - 1)

        def share(value: Any) -> Any:
            has_events = isinstance(value, Tensor) and value.ndim > 0 and len(value) == n
            return value[rows] if has_events else value

        with self._own_draws(tokens.device):
            shares = {name: share(value) for name, value in more.items()}
            own = self.encode(tokens[rows], *map(share, rest), **shares)
        return self._together(own, n)

    @contextmanager
    def _own_draws(self, device: torch.device) -> Iterator[None]:
        """Dropout must differ between the processes; what is drawn afterwards must not."""
        seed = torch.initial_seed()
        self.calls = self.calls + 1 if seed == self.step_seed else 0
        self.step_seed = seed
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed((seed + (self.calls * self.world.size + self.world.rank + 1)) % 2**63)
            yield

    def _together(self, own: Latent, n: int) -> Latent:
        """Gather the latents of all processes in one exchange, in the order of the batch."""
        parts = [own.tokens, own.pooled, own.is_real.to(own.pooled.dtype)]
        every = gather(torch.cat([part.flatten(1) for part in parts], dim=1), self.world)
        whole = every.transpose(0, 1).flatten(0, 1)[:n]
        widths = [part[0].numel() for part in parts]
        tokens, pooled, is_real = torch.split(whole, widths, dim=1)
        return Latent(
            tokens=tokens.reshape(n, *own.tokens.shape[1:]).to(own.tokens.dtype),
            is_real=is_real.bool(),
            pooled=pooled.to(own.pooled.dtype),
        )


class _Gather(torch.autograd.Function):
    """All-gather; its derivative sums what the processes made of each other's share."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, world: World) -> Tensor:
        ctx.world = world
        return world.gather(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.world.sum(gradients[0])[ctx.world.rank], None


def gather(own: Tensor, world: World) -> Tensor:
    """Return the tensors of all processes, `[size, *shape]`, differentiably."""
    every: Tensor = _Gather.apply(own, world)  # type: ignore[no-untyped-call]  # torch's own
    return every


def average_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    r"""Replace each gradient by its mean over the processes.

    Every process differentiates its own copy of the loss $L$, and the derivative of the
    exchanges makes the sum over all copies, $\sum_r L_r = R\,L$, the thing differentiated: the
    mean of the gradients is that of $L$. A parameter without a gradient in any process keeps
    none: the optimiser skips it, as it does in one process.
    """
    if world.size == 1:
        return
    chosen = list(parameters)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in chosen]
    has = torch.tensor([p.grad is not None for p in chosen]).to(grads[0])
    flat = world.sum(torch.cat([has, *(g.flatten() for g in grads)])) / world.size
    has, *means = torch.split(flat, [len(chosen), *(p.numel() for p in chosen)])
    for parameter, is_there, mean in zip(chosen, has.tolist(), means, strict=True):
        if is_there:
            parameter.grad = mean.view_as(parameter).to(parameter.dtype)
