"""One step of a training, and the loss of a validation: what moves weights and what measures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import torch
from safetensors.torch import save_file

from transferline.data.batch import Batch
from transferline.data.nested import AnyBatch
from transferline.errors import NumericalError
from transferline.files import atomic_path
from transferline.learning.data_parallel import average_gradients
from transferline.learning.distributed import World
from transferline.learning.objectives.base import Loss, Objective
from transferline.learning.optim import Optim
from transferline.runtime import limit_kernel_caches

BackboneState = Literal["trained", "frozen", "adapting"]


class Batches(Protocol):
    """What `fit` draws from: a `Loader`, or anything that gives the batches of an epoch."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, the first `start` left out."""


class Stepper:
    """Objective, optimiser and device of one training.

    Every random number of step s comes from (seed, s).
    """

    def __init__(
        self,
        objective: Objective,
        optim: Optim,
        *,
        seed: int,
        backbone: BackboneState,
        world: World,
    ) -> None:
        """Move the objective to the device of this process, and build its optimiser."""
        limit_kernel_caches()
        self.objective, self.optim, self.world = objective, optim, world
        self.seed, self.backbone = seed, backbone
        self.device = world.device(optim.torch_device())
        self.bfloat16 = optim.bfloat16(self.device)
        objective.to(self.device)
        if backbone != "trained":
            objective.model.features.requires_grad_(False)
            objective.model.backbone.requires_grad_(False)
        self.optimizer = optim.optimizer(objective)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]

    def step(self, number: int, batch: AnyBatch, out: Path) -> dict[str, float]:
        """Take step `number` on `batch`; return its loss and the parts of it.

        Raises:
            NumericalError: the loss or a gradient is not finite; the batch is saved in `out`.
        """
        batch = batch.to(self.device)
        torch.manual_seed(_step_seed(self.seed, number))
        self._train_mode()
        self._set_rates(number)
        with self._autocast():
            loss: Loss = self.objective(batch)
        if not torch.isfinite(loss.total):
            self._fail("loss", number, batch, out)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]  # torch's own annotation
        if self.optim.thawed(number) == 0.0:
            self._leave_backbone()
        average_gradients(self.parameters, self.world)
        limit = self.optim.clip if self.optim.clip is not None else math.inf
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(self.parameters, limit)):
            self._fail("gradient", number, batch, out)
        self.optimizer.step()
        self.objective.after_step()
        return {name: value.item() for name, value in {"loss": loss.total, **loss.parts}.items()}

    def _set_rates(self, number: int) -> None:
        factor, thawed = self.optim.factor(number), self.optim.thawed(number)
        for group in self.optimizer.param_groups:
            share = thawed if group["is_backbone"] else 1.0
            group["lr"] = self.optim.lr * factor * group["scale"] * share

    def _leave_backbone(self) -> None:
        """Without a gradient weights stand still, and nothing of it enters clipping or moments."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"] if group["is_backbone"] else ():
                parameter.grad = None

    @torch.no_grad()
    def mean_loss(self, loader: Batches) -> dict[str, float]:
        """Return the mean of the loss and its parts over the events of one pass.

        The same random draws at every validation, so that losses are comparable.
        """
        self.objective.eval()
        sums: dict[str, float] = {}
        n = 0
        for i, batch in enumerate(loader.batches(0)):
            torch.manual_seed(_step_seed(self.seed, -1 - i))
            with self._autocast():
                loss: Loss = self.objective(batch.to(self.device))
            n += len(batch)
            for name, value in {"loss": loss.total, **loss.parts}.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(batch)
        return self.world.same({name: total / n for name, total in sums.items()})

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def _train_mode(self) -> None:
        self.objective.train()
        if self.backbone == "frozen":
            self.objective.model.features.eval()
            self.objective.model.backbone.eval()

    def _fail(self, name: str, number: int, batch: AnyBatch, out: Path) -> None:
        """All processes come here or none: loss and gradient are the same numbers in all."""
        file = out / "bad_batch.safetensors"
        if self.world.main:
            _save_batch(file, batch)
        self.world.wait()
        raise NumericalError(
            f"the {name} is not finite at step {number}; the batch is saved in {file}. Look for "
            "infinite or NaN inputs there, or lower the learning rate."
        )


def _save_batch(file: Path, batch: AnyBatch) -> None:
    with atomic_path(file) as temporary:
        save_file(batch.tensors(), temporary)


def _step_seed(seed: int, step: int) -> int:
    """A seed per step; multiplying by a large odd number keeps neighbours apart."""
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
