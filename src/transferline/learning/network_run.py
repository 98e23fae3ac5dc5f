"""One network trained on a task's labelled events: its learning rates, and its scores."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from transferline.config import Recipe, added
from transferline.data.loader import POOL, Loader
from transferline.data.readers.shards import ShardSet
from transferline.errors import DataError, NumericalError
from transferline.learning.modes import (
    TRAINED,
    BackboneHashes,
    Mode,
    adapts,
    check_end,
    check_score,
    check_start,
    starting_model,
)
from transferline.learning.objectives.supervised import Supervised
from transferline.learning.optim import Optim
from transferline.learning.per_event import EventTable
from transferline.learning.probe import ProbedModel, embedded, scorer
from transferline.learning.source_rows import by_length, long_sets
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import LabelledRows, Rows
from transferline.learning.training import FitResult, StopRequestedError, fit
from transferline.learning.training_step import BackboneState
from transferline.models.checkpoint import Checkpoint
from transferline.models.event_head import EventHeadModule
from transferline.models.heads import class_probability
from transferline.models.model import Model
from transferline.progress import say

_BACKBONE: dict[Mode, BackboneState] = {
    "scratch": "trained",
    "finetuned": "trained",
    "fixed": "adapting",
    "frozen": "frozen",
}
_SCORING_BATCH, _LONG_BATCH = 1024, 256  # of short and of long sets, whose pairs fill the memory
_SMALLEST_BATCH = 32
_LONGER = 3  # times as many steps as the training before
_LAST = 1.5  # where the cap is less than so many times the next length, the cap is taken


class Adaptation(Recipe):
    """How a network is trained on the labelled events of a task.

    Attributes:
        optim: optimiser; its `steps` are the most of one training, its `lr` is replaced.
        lr: learning rates to try; the selecting share of the labelled events chooses.
        epochs: passes over the fitted events, which bounds the steps; no bound if None.
        min_steps: so many steps at least, however few events there are.
        small_batches: few events make small batches, so that a pass has eight steps at least.
        trial_share: share of the steps that each rate is tried with. Where that is less than all,
            the best rate is then trained with three times as many steps, and so on up to the cap,
            while that lowers the validation loss. Each is a training of its own, whose rate falls
            to its end. The cap is `optim.steps`, or what `epochs` bound.
        trial_most: steps of a trial at most, however large that share; no bound if None.
        head_first: train the head alone, on cached embeddings, before all weights move (linear
            probing, then fine-tuning: arXiv:2202.10054); at once if None. Modes that
            train the head alone need none.
        objective: label smoothing and augmentation; the latter cannot act on cached embeddings.
    """

    optim: Optim
    lr: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-3,), min_length=1)
    epochs: float | None = Field(None, gt=0)
    min_steps: int = Field(100, gt=0, le=10**9)
    small_batches: bool = True
    trial_share: float = Field(1.0, gt=0, le=1)
    trial_most: int | None = added(None, gt=0)
    head_first: Optim | None = None
    objective: Supervised = Supervised()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.lr)) < len(self.lr):
            raise ValueError("lr names a learning rate twice.")
        if "lr" not in self.model_fields_set and self.optim.lr != Optim.model_fields["lr"].default:
            raise ValueError(
                f"optim.lr ({self.optim.lr:g}) is not used here: give the rates to try beside "
                f"`optim`, as lr: [{self.optim.lr:g}]."
            )
        return self

    def sized(self, n_fit: int) -> Optim:
        """Return the optimiser settings for `n_fit` events."""
        batch = self.batch_size(self.optim, n_fit)
        steps = self.optim.steps
        if self.epochs is not None:
            steps = min(steps, max(self.min_steps, math.ceil(self.epochs * n_fit / batch)))
        return self.optim.model_copy(update={"batch_size": batch, "steps": steps})

    def batch_size(self, optim: Optim, n_fit: int) -> int:
        """Return the events per step: fewer for few events, down to 32, unless forbidden."""
        least = max(_SMALLEST_BATCH, n_fit // 8) if self.small_batches else n_fit
        return min(optim.batch_size, least, n_fit)

    def examples(self, n_fit: int) -> int:
        """Events that one run trains on, repetitions and the grid included.

        So many at most, unless a rate diverges after its trial and another one is trained.

        Those of `head_first` pass through the head alone and are left out.
        """
        optim = self.sized(n_fit)
        if len(self.lr) == 1:
            return optim.steps * optim.batch_size
        tried, *longer = self.lengths(optim)
        return (len(self.lr) * tried + sum(longer)) * optim.batch_size

    def lengths(self, optim: Optim) -> list[int]:
        """Steps of a trial, then those of the longer and longer trainings that may follow."""
        found = [self.trial_steps(optim)]
        while found[-1] < optim.steps:
            longer = _LONGER * found[-1]
            found.append(longer if _LAST * longer < optim.steps else optim.steps)
        return found

    def trial_steps(self, optim: Optim) -> int:
        """Steps with which each learning rate is tried."""
        steps = max(1, round(self.trial_share * optim.steps))
        return steps if self.trial_most is None else min(steps, self.trial_most)


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
    embeddings: EventTable
    label: str | None = None

    def train(self) -> Trial:
        """Try every learning rate and return the training with the best validation loss.

        A run is short: one that is stopped starts anew, and leaves nothing behind.

        Raises:
            StopRequestedError: SIGTERM or Ctrl-C.
            BrokenTransferError: see `check_start` and `check_end`.
            NumericalError: every learning rate diverged.
        """
        self.grid: list[dict[str, Any]] = []
        self.examples_seen = self.steps = 0
        if len(self.how.lr) > 1 and not len(self.rows.select):
            raise DataError(
                f"{len(self.rows.fit)} labelled events leave none to choose among "
                f"{len(self.how.lr)} learning rates; raise n_train or select_share, or give one."
            )
        optim = self.how.sized(len(self.rows.fit))
        if self.label is not None and self.mode != "frozen":
            say(str(self._loader(self.data.shards, self.rows.fit, optim.batch_size).memory))
        try:
            return self._best(optim)
        except StopRequestedError as error:
            raise StopRequestedError(
                f"stopped; {self.out} holds nothing of this run yet. Repeat the command.",
                error.signal_number,
            ) from error

    def _best(self, optim: Optim) -> Trial:
        """Try the learning rates, then train the best one longer while that helps."""
        tried, *longer = self.how.lengths(optim) if len(self.how.lr) > 1 else [optim.steps]
        with _workspace(self.out / "trials") as folder:
            trials = [t for lr in self.how.lr if (t := self._try(lr, tried, optim, folder))]
            if not trials:
                raise NumericalError(f"every learning rate of {self.how.lr} diverged; lower them.")
            best = min(trials, key=lambda trial: trial.loss)
            rates = [trial.lr for trial in sorted(trials, key=lambda trial: trial.loss)]
            for steps in longer:
                found = self._lasting(rates, steps, optim, folder)
                if found is None or found.loss >= best.loss:
                    break
                best = found
            for name in ("metrics.jsonl", "metrics.csv"):
                (best.logs / name).replace(self.out / name)
        return best

    def _lasting(self, rates: list[float], steps: int, optim: Optim, folder: Path) -> Trial | None:
        """Train with the first of the `rates` that does not diverge; those that do are dropped."""
        while rates:
            if found := self._try(rates[0], steps, optim, folder):
                return found
            del rates[0]
        return None

    def _try(self, lr: float, steps: int, optim: Optim, folder: Path) -> Trial | None:
        """A rate that diverges loses; it does not end the run."""
        optim = optim.model_copy(update={"steps": steps})
        try:
            trial = self._fit(lr, optim, folder / f"{lr:.6g}-{steps}")
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
        model = self._start()
        if self._first_head is not None:
            _head(model).load_state_dict(self._first_head)
        before = check_start(self.mode, self.checkpoint, model)
        has_head = self._first_head is not None
        model, result = self._train(model, optim, logs, _BACKBONE[self.mode], has_head=has_head)
        check_score(self.mode, self.checkpoint, _head(model))
        return Trial(lr, optim, model, check_end(self.mode, before, model), result, logs)

    def _start(self) -> Model:
        task = self.task
        return starting_model(self.checkpoint, self.mode, task.head, task.n_outputs, self.seed)

    @cached_property
    def _first_head(self) -> dict[str, Tensor] | None:
        """Weights of a head that was trained on the backbone as it starts."""
        first = self.how.head_first
        if first is None or self.mode not in TRAINED:
            return None
        optim = first.model_copy(
            update={
                "batch_size": self.how.batch_size(first, len(self.rows.fit)),
                "patience": None,
            }
        )
        start = self._start()
        if isinstance(start.head, EventHeadModule) and start.head.score is not None:
            start.head.score.requires_grad_(False)  # it moves when the backbone does
        with _workspace(self.out / "head") as logs:
            model, _ = self._train(start, optim, logs, "frozen")
        return _head(model).state_dict()

    def _train(
        self,
        model: Model,
        optim: Optim,
        logs: Path,
        backbone: BackboneState,
        *,
        has_head: bool = False,
    ) -> tuple[Model, FitResult]:
        events: ShardSet = self.data.shards
        if backbone == "frozen":  # its embeddings stay what they are
            model = ProbedModel(model.features, model.backbone, model.head)
            events = self._embedded
            model.standardise(partial(self.embeddings, self.rows.fit))
        select = by_length(self.data.shards, self.rows.select)
        result = fit(
            self.how.objective.build(model),
            self._loader(events, self.rows.fit, optim.batch_size),
            self._loader(events, select, self._scoring_batch(select), shuffle=False)
            if len(select)
            else None,
            optim,
            logs,
            seed=self.seed,
            label=f"{self.label}, lr {optim.lr:g}" if self.label else None,
            backbone=backbone,
            has_head=has_head,
        )
        self.examples_seen += result.examples_seen
        self.steps += result.steps
        model.cpu().eval()
        if isinstance(model, ProbedModel):
            model.fold()
        return model, result

    def _loader(
        self, events: ShardSet, rows: Rows, batch_size: int, shuffle: bool = True
    ) -> Loader:
        return Loader(
            events,
            rows,
            batch_size,
            seed=self.seed,
            shuffle=shuffle,
            target=self.data.target,
            weight=self.data.training_weight,
            # What is normalised over a batch must meet the lengths that it is evaluated with.
            pool=1 if adapts(self.checkpoint) else POOL,
        )

    @cached_property
    def _embedded(self) -> ShardSet:
        """The task's events as embeddings of the backbone as it starts."""
        self.embeddings(np.concatenate((self.rows.fit, self.rows.select)))  # in large batches
        return embedded(self.data.shards, self.embeddings)

    def scores(self, trial: Trial, rows: Rows) -> NDArray[np.float64]:
        """Return the scores of every row that the task measures, see `Task.scores`."""
        if self.mode == "frozen":
            with torch.no_grad():
                return self._scores(trial.model(self._embedded.gather(rows)))
        score, order = scorer(trial.model, trial.optim), self._by_length(rows)
        parts = np.array_split(rows[order], max(1, len(rows) // self._scoring_batch(rows)))
        outputs = torch.cat([score(self.data.shards, part) for part in parts])
        back = torch.empty_like(outputs)
        back[torch.from_numpy(order)] = outputs
        return self._scores(back)

    def _scores(self, outputs: Tensor) -> NDArray[np.float64]:
        return self.task.scores(class_probability(outputs.double()).numpy())

    def _by_length(self, rows: Rows) -> Rows:
        """Return an order of `rows`: that of their lengths where padding would cost much.

        Sets of a few objects keep theirs, so that their sums come out as they always did.
        """
        if not self._long(rows):
            return np.arange(len(rows))
        return np.argsort(self.data.shards.lengths[rows], kind="stable")

    def _scoring_batch(self, rows: Rows) -> int:
        return _LONG_BATCH if self._long(rows) else _SCORING_BATCH

    def _long(self, rows: Rows) -> bool:
        return long_sets(self.data.shards.lengths[rows])


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """An empty directory that is gone afterwards; what a killed run left in it goes first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _head(model: Model) -> nn.Module:
    assert model.head is not None  # starting_model gives every model one
    return model.head
