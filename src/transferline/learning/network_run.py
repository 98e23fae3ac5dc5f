"""One network trained on a task's labelled events: its learning rates, and its scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from transferline.config import Recipe
from transferline.data.loader import Loader
from transferline.data.readers.shards import ShardSet
from transferline.errors import NumericalError
from transferline.learning.modes import BackboneHashes, Mode, check_end, check_start, starting_model
from transferline.learning.objectives.supervised import Supervised
from transferline.learning.optim import Optim
from transferline.learning.per_event import EventTable
from transferline.learning.probe import EmbeddedShards, ProbedModel, scorer
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import LabelledRows, Rows
from transferline.learning.training import FitResult, fit
from transferline.models.checkpoint import Checkpoint
from transferline.models.model import Model

_SCORING_BATCH = 1024
_SMALLEST_BATCH = 32


class Adaptation(Recipe):
    """How a network is trained on the labelled events of a task.

    Attributes:
        optim: optimiser; its `steps` are the most of one training, its `lr` is replaced.
        lr: learning rates to try; the selecting share of the labelled events chooses.
        epochs: passes over the fitted events, which bounds the steps; no bound if None.
        min_steps: so many steps at least, however few events there are.
        trial_share: share of the steps that each rate is tried with; below 1 the best rate is
            then trained in full.
        objective: label smoothing and augmentation.
    """

    optim: Optim
    lr: tuple[float, ...] = Field((1e-3,), min_length=1)
    epochs: float | None = Field(None, gt=0)
    min_steps: int = Field(100, gt=0)
    trial_share: float = Field(1.0, gt=0, le=1)
    objective: Supervised = Supervised()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.lr)) < len(self.lr):
            raise ValueError("lr names a learning rate twice.")
        return self

    def sized(self, n_fit: int) -> Optim:
        """Return the optimiser settings for `n_fit` events.

        Few events make small batches: eight steps per pass, down to batches of 32.
        """
        batch = min(self.optim.batch_size, max(_SMALLEST_BATCH, n_fit // 8), n_fit)
        steps = self.optim.steps
        if self.epochs is not None:
            steps = min(steps, max(self.min_steps, math.ceil(self.epochs * n_fit / batch)))
        return self.optim.model_copy(update={"batch_size": batch, "steps": steps})

    def examples(self, n_fit: int) -> int:
        """Events that one run trains on at most: repetitions and the grid included."""
        optim = self.sized(n_fit)
        trials = [optim.steps] if len(self.lr) == 1 else [self.trial_steps(optim)] * len(self.lr)
        again = optim.steps if self._tries_first else 0
        return (sum(trials) + again) * optim.batch_size

    def trial_steps(self, optim: Optim) -> int:
        """Steps with which each learning rate is tried."""
        return max(1, round(self.trial_share * optim.steps))

    @property
    def _tries_first(self) -> bool:
        return len(self.lr) > 1 and self.trial_share < 1


@dataclass(frozen=True)
class Trial:
    """One training with one learning rate."""

    lr: float
    optim: Optim
    model: Model
    hashes: BackboneHashes
    result: FitResult
    logs: Path

    @property
    def loss(self) -> float:
        """Validation loss that ranks trials; the last training loss counts for nothing."""
        return self.result.best_loss if math.isfinite(self.result.best_loss) else math.inf


@dataclass
class NetworkRun:
    """Everything one network run needs; `train` does it."""

    checkpoint: Checkpoint
    mode: Mode
    task: Task
    data: TaskData
    rows: LabelledRows
    how: Adaptation
    seed: int
    out: Path
    embeddings: EventTable | None = None
    label: str | None = None

    def train(self) -> Trial:
        """Try every learning rate and return the training with the best validation loss.

        Raises:
            BrokenTransferError: see `check_start` and `check_end`.
            NumericalError: every learning rate diverged.
        """
        self.grid: list[dict[str, Any]] = []
        self.examples_seen = self.steps = 0
        optim = self.how.sized(len(self.rows.fit))
        tried = optim
        if len(self.how.lr) > 1:
            tried = optim.model_copy(update={"steps": self.how.trial_steps(optim)})
        with TemporaryDirectory(prefix="trials-", dir=self.out) as folder:
            trials = [t for lr in self.how.lr if (t := self._try(lr, tried, Path(folder)))]
            if not trials:
                raise NumericalError(f"every learning rate of {self.how.lr} diverged; lower them.")
            best = min(trials, key=lambda trial: trial.loss)
            if tried.steps < optim.steps:
                best = self._fit(best.lr, optim, Path(folder) / "full")
            for name in ("metrics.jsonl", "metrics.csv"):
                (best.logs / name).replace(self.out / name)
        return best

    def _try(self, lr: float, optim: Optim, folder: Path) -> Trial | None:
        """A rate that diverges loses; it does not end the run."""
        try:
            trial = self._fit(lr, optim, folder / f"{lr:.6g}")
        except NumericalError as error:
            self.grid.append({"lr": lr, "steps": optim.steps, "diverged": str(error)})
            return None
        self.grid.append(
            {
                "lr": lr,
                "steps": trial.result.steps,
                "best_step": trial.result.best_step,
                "loss": None if math.isinf(trial.loss) else trial.loss,
            }
        )
        return trial

    def _fit(self, lr: float, optim: Optim, logs: Path) -> Trial:
        optim = optim.model_copy(update={"lr": lr})
        head, n_outputs = self.task.head, self.task.n_outputs
        model = starting_model(self.checkpoint, self.mode, head, n_outputs, self.seed)
        before = check_start(self.mode, self.checkpoint, model)
        if self.embeddings is not None:
            model = ProbedModel(model.features, model.backbone, model.head)
        result = fit(
            self.how.objective.build(model),
            self._loader(self.rows.fit, optim.batch_size),
            self._loader(self.rows.select) if len(self.rows.select) else None,
            optim,
            logs,
            seed=self.seed,
            label=f"{self.label}, lr {lr:g}" if self.label else None,
            frozen_backbone=self.mode == "frozen",
        )
        self.examples_seen += result.examples_seen
        self.steps += result.steps
        model.cpu().eval()
        return Trial(lr, optim, model, check_end(self.mode, before, model), result, logs)

    def _loader(self, rows: Rows, batch_size: int | None = None) -> Loader:
        """Batches to train on, or, without a size, to validate on."""
        return Loader(
            self._events,
            rows,
            batch_size or _SCORING_BATCH,
            seed=self.seed,
            shuffle=batch_size is not None,
            target=self.data.target,
            weight=self.data.training_weight,
        )

    @cached_property
    def _events(self) -> ShardSet:
        """The task's events, or, with a table of embeddings, those in their place."""
        if self.embeddings is None:
            return self.data.shards
        self.embeddings(np.concatenate((self.rows.fit, self.rows.select)))  # in large batches
        return EmbeddedShards(self.data.shards, self.embeddings)

    def scores(self, trial: Trial, rows: Rows) -> NDArray[np.float64]:
        """Probability of class 1 of every row, `[len(rows)]`."""
        if self.embeddings is not None:
            assert trial.model.head is not None  # starting_model gives every model one
            with torch.no_grad():
                return _signal(trial.model.head(self.embeddings(rows)))
        score = scorer(trial.model, trial.optim)
        parts = np.array_split(rows, max(1, len(rows) // _SCORING_BATCH))
        return _signal(torch.cat([score(self.data.shards, part) for part in parts]))


def _signal(logits: Tensor) -> NDArray[np.float64]:
    probability: NDArray[np.float64] = logits.double().softmax(-1)[:, 1].numpy()
    return probability
