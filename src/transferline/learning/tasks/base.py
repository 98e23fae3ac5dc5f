"""Task: a question asked downstream; samples, target, head, metrics."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from transferline.config import Recipe
from transferline.data.folds import Fold
from transferline.data.readers.shards import ShardSet
from transferline.errors import ConfigError, DataError, did_you_mean
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.measurement import Measurement
from transferline.files import json_hash
from transferline.learning.engineered import EVENT_FEATURES, Engineered
from transferline.learning.tasks.subsets import LabelledRows, Rows, Subset, draw, hold_out
from transferline.models.heads import Head

Embed = Callable[[ShardSet, Rows], Tensor]
"""From events or jets to their pooled embeddings `[n, d]`."""


@dataclass(frozen=True)
class TaskData:
    """The events of a task. Rows count through all shards; the three parts are disjoint.

    Attributes:
        shards: all samples of the task.
        target: `[n]` class of every row.
        pool: rows that labelled subsets are drawn from.
        valid: rows for choices that people make, such as which backbone ships; no run sees them.
        test: rows that every run is measured on, whatever its mode, size and seed.
        weight: `[n]` signed physics weights, for evaluation.
        training_weight: `[n]` weights for losses: mean 1 per class (`balanced` subsets), or
            equal sums per class (`natural` ones); 0 where an event must not train.
        fold: the fold that the test rows are, where a task is folded.
    """

    shards: ShardSet
    target: NDArray[np.int64]
    pool: Rows
    valid: Rows
    test: Rows
    weight: NDArray[np.float64]
    training_weight: NDArray[np.float64]
    fold: Fold | None = None

    def __post_init__(self) -> None:
        parts = (self.pool, self.valid, self.test)
        if len(np.unique(np.concatenate(parts))) != sum(map(len, parts)):
            raise DataError("training pool, validation and test rows of the task overlap.")

    @property
    def digest(self) -> str:
        """SHA-256 of the content of all shards, wherever they stand, of weights and fold."""
        weights = hashlib.sha256(np.ascontiguousarray(self.weight).tobytes()).hexdigest()
        fold = [] if self.fold is None else [str(self.fold), self.fold.salt]
        return json_hash([self.shards.content_hash, weights, *fold])


class Task(Recipe, ABC):
    """A downstream question.

    **The label budget.** `n_train` counts every labelled event that a run may look at, all
    classes together: `select_share` of them do not train but choose (early stopping, learning
    rate, tree settings). No other labelled event enters a run, in any mode.

    Attributes:
        kind: name in the table `TASKS`.
        name: of this question in Records and plots.
        head: what is put on the backbone, new in every run.
        subset: `balanced` draws equally many events of each class, `natural` as they come.
        select_share: share of the `n_train` events that selects instead of fitting, 5,000 of them
            at most.
        engineered: features of an event that boosted trees are given.
    """

    engineered: ClassVar[Engineered] = EVENT_FEATURES
    kind: str
    name: str = Field(min_length=1, max_length=80)
    head: Head = Head()
    subset: Subset = "balanced"
    select_share: float = Field(0.2, ge=0.0, lt=1.0)

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Size of the head's output."""

    def classes(self) -> list[str]:
        """Return the names of the head's outputs, for the columns of predictions."""
        return [str(i) for i in range(self.n_outputs)]

    @abstractmethod
    def samples(self) -> list[str]:
        """Names or directories of the shards, each once."""

    @abstractmethod
    def located(self, places: Mapping[str, Path]) -> Self:
        """Return the task with names of samples replaced by the directories of their shards.

        Raises:
            ConfigError: a name is not among `places`.
        """

    @abstractmethod
    def load(self) -> TaskData:
        """Open the shards, split them, and weight them.

        Raises:
            DataError: a directory is no shard set, or a part would be empty.
        """

    def scores(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what `evaluate` takes, of the probabilities of all classes `[n, c]`.

        Of two classes that is the probability of the second, `[n]`; of more all of them.
        """
        return probability[:, 1] if probability.shape[1] == 2 else probability

    @abstractmethod
    def evaluate(
        self, scores: NDArray[np.float64], data: TaskData, rows: Rows
    ) -> tuple[dict[str, Measurement], Replicas]:
        """Return the metrics of `scores` with signed weights, and their replicas.

        Args:
            scores: of the rows, `[len(rows)]` or, of more than two classes, `[len(rows), c]`.
            data: the events.
            rows: which of them were scored.
        """

    def details(self, scores: NDArray[np.float64], data: TaskData, rows: Rows) -> dict[str, Any]:
        """Return what else figures need of the scores, as JSON for `Record.extra`."""
        return {}

    def examine(self, start: Embed | None, end: Embed) -> dict[str, Measurement]:
        """Return metrics of a trained backbone itself, whatever the head on it.

        Args:
            start: embeddings before the training; None if it did not move.
            end: embeddings after it.
        """
        return {}

    def examined_with(self) -> dict[str, str]:
        """Return the hashes of the data that `examine` looks at, beside those of the task."""
        return {}

    def examined_on(self) -> dict[str, tuple[ShardSet, Rows]]:
        """Return name -> rows that the metrics of `examine` are measured on, as on test events."""
        return {}

    def folded(self, data: TaskData, fold: Fold) -> TaskData:
        """Return the data of the model that scores the events of `fold` and never sees them.

        All events outside the fold may train, those in it are the test set: the folds stand in
        place of the task's own test and validation shares.

        Args:
            data: `self.load()`.
            fold: the events to leave out.

        Raises:
            DataError: a part would lack a class.
        """
        held = fold.holds(data.shards.id)
        return replace(
            data,
            pool=np.flatnonzero(~held & (data.training_weight != 0)).astype(np.int64),
            valid=np.zeros(0, np.int64),
            test=np.flatnonzero(held).astype(np.int64),
            fold=fold,
        )

    def labelled(self, data: TaskData, n_train: int, seed: int) -> LabelledRows:
        """Draw the labelled events of a run: the same for all modes, nested in `n_train`.

        Raises:
            DataError: the pool is too small.
        """
        rows = draw(data.pool, data.target, n_train, seed, self.subset)
        return hold_out(rows, data.target, self.select_share, self.subset)


def place_of(task: str, name: str, places: Mapping[str, Path]) -> str:
    """Return the directory of a task's sample.

    Raises:
        ConfigError: there is none.
    """
    if name not in places:
        raise ConfigError(f"task {task}: no sample '{name}'.{did_you_mean(name, places)}")
    return str(places[name])
