"""Optim: optimiser, learning-rate schedule and budget of one training."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from transferline.config import Recipe, added
from transferline.errors import ConfigError
from transferline.learning.objectives.base import Objective
from transferline.learning.ranger import Ranger

_PATIENT = 0.75  # of the steps at most until validations count, where the rate hardly falls
_FLAT = 0.7  # share of the steps before the rate decays, of `flat_decay`


class Optim(Recipe):
    """How one `fit` optimises.

    Attributes:
        kind: `adamw`, `sgd`, or `ranger` (see `Ranger`).
        steps: optimiser steps, the whole budget.
        batch_size: events per step.
        lr: peak learning rate.
        warmup: share of the steps with a linearly rising rate.
        schedule: after the warm-up a `cosine`, or `flat_decay` as arXiv:2202.03772 trains: `lr`
            for 70 % of the steps, then an exponential fall.
        final_lr: rate at the end, as a share of `lr`.
        weight_decay: decoupled for AdamW, on matrices only.
        momentum: of SGD.
        clip: largest gradient norm, or None.
        backbone_lr: factor on the rate of Features and backbone; heads get `lr`.
        backbone_frozen: share of the steps in which Features and backbone stand still and heads
            alone are trained; BatchNorm adapts. Fine-tuning then thaws them, as arXiv:2401.13537
            and 2409.12589 do.
        backbone_catch_up: share of the steps, after that, in which the rate of the backbone
            rises linearly from nothing to its own.
        precision: `auto` takes bfloat16 autocast where the processor multiplies it natively.
        validate_every: steps between validations, or `epoch`; a twentieth of `steps` unless given.
            Where the head was trained before (`head_first`) there are four more before the first
            of them, at a half, a quarter and so on.
        patience: validations without improvement before stopping, or None. They count where the
            rate has fallen below half of its peak, and warm-up and thaw have ended: at a high rate
            a loss that stands says little about where it ends when the rate falls. Of the twenty
            validations of a cosine about ten are left then: a patience of ten stops nothing.
        keep: weights of the `best` validation, or the `last` ones, where a validation tells too
            little to choose by, as of noisy labels; then there is no patience.
        device: `auto` takes a GPU if there is one: the first, or under torchrun one per process.
    """

    kind: Literal["adamw", "sgd", "ranger"] = "adamw"
    steps: int = Field(gt=0, le=10**9)
    batch_size: int = Field(256, gt=0, le=10**7)
    lr: float = Field(1e-3, gt=0)
    warmup: float = Field(0.05, ge=0, le=1)
    schedule: Literal["cosine", "flat_decay"] = added("cosine")
    final_lr: float = Field(0.01, ge=0, le=1)
    weight_decay: float = Field(0.01, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    clip: float | None = Field(1.0, gt=0)
    backbone_lr: float = Field(1.0, ge=0)
    backbone_frozen: float = added(0.0, ge=0, lt=1)
    backbone_catch_up: float = added(0.0, ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    validate_every: Annotated[int, Field(gt=0)] | Literal["epoch"] | None = None
    patience: int | None = Field(None, gt=0)
    keep: Literal["best", "last"] = added("best")
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.keep == "last" and self.patience is not None:
            raise ValueError("keep: last knows no best weights to be patient for: patience: null.")
        return self

    @property
    def warmup_steps(self) -> int:
        """Steps with a rising rate."""
        return max(1, round(self.warmup * self.steps)) if self.warmup > 0 else 0

    @property
    def frozen_steps(self) -> int:
        """Steps in which a backbone that is trained still stands."""
        return min(round(self.backbone_frozen * self.steps), self.steps - 1)

    @property
    def patient_from(self) -> int:
        """The step up to which no validation counts against a training whose backbone thaws."""
        thawing = round(self.backbone_catch_up * self.steps)
        return max(self.half_way, self.frozen_steps + thawing)

    @property
    def half_way(self) -> int:
        """The first step behind the warm-up whose rate is below half of the peak.

        Three quarters of the steps at most; the end of the warm-up where it never falls so far.
        """
        falling = range(self.warmup_steps, self.steps)
        half = self.warmup_steps + bisect_left(falling, True, key=lambda s: self.factor(s) < 0.5)
        if half == self.steps:  # it never does
            return self.warmup_steps
        return max(self.warmup_steps, min(half, round(_PATIENT * self.steps)))

    def factor(self, step: int) -> float:
        """Learning rate at `step` over `lr`: linear warm-up, then `schedule` to `final_lr`."""
        warm = max(1, round(self.warmup * self.steps))
        if step < self.warmup_steps:
            return (step + 1) / warm
        share = (step - warm) / max(1, self.steps - warm)
        if self.schedule == "flat_decay":
            return float(self.final_lr ** max(0.0, (share - _FLAT) / (1 - _FLAT)))
        return self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * share))

    def thawed(self, step: int) -> float:
        """Share of its rate that the backbone gets at `step`: 0 while frozen, in the end 1."""
        if step < self.frozen_steps:
            return 0.0
        return min(
            1.0, (step - self.frozen_steps + 1) / max(1, round(self.backbone_catch_up * self.steps))
        )

    def torch_device(self) -> torch.device:
        """The device that `device` means here.

        Raises:
            ConfigError: it is a GPU, and there is none.
        """
        usable = torch.cuda.is_available()
        if self.device == "auto":
            return torch.device("cuda" if usable else "cpu")
        if self.device == "cuda" and not usable:
            raise ConfigError(
                "device cuda: this torch finds no GPU here. Set optim.device (--device of predict) "
                "to auto or cpu."
            )
        return torch.device(self.device)

    def bfloat16(self, device: torch.device) -> bool:
        """Whether this training runs under bfloat16 autocast."""
        if self.precision != "auto":
            return self.precision == "bf16"
        if device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported())
        # Without native products bfloat16 is emulated, several times slower than float32.
        # The one test torch offers is private; without it, stay with float32.
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())

    def optimizer(self, objective: Objective) -> torch.optim.Optimizer:
        """Build the optimiser over the trainable parameters of `objective`."""
        groups = list(self._groups(objective))
        if self.kind == "sgd":
            return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, fused=True)
        if self.kind == "ranger":
            return Ranger(groups, lr=self.lr)
        return torch.optim.AdamW(groups, lr=self.lr, fused=True)

    def _groups(self, objective: Objective) -> Iterable[dict[str, object]]:
        inner: list[nn.Module] = [objective.model.features, objective.model.backbone]
        backbone = {id(p) for module in inner for p in module.parameters()}
        for is_backbone in (True, False):
            for is_matrix in (True, False):
                chosen = [
                    p
                    for p in objective.parameters()
                    if p.requires_grad
                    and (id(p) in backbone) == is_backbone
                    and (p.ndim > 1) == is_matrix
                ]
                if chosen:
                    # Decaying biases and norm gains pulls features towards nothing: never do it,
                    # except in plain SGD, where published recipes decay everything.
                    decays = is_matrix or self.kind == "sgd"
                    yield {
                        "params": chosen,
                        "weight_decay": self.weight_decay if decays else 0.0,
                        "scale": self.backbone_lr if is_backbone else 1.0,
                        "is_backbone": is_backbone,
                    }
