"""What tasks with classes share: a split by hash, weights per class, a test set of its own size."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from transferline.data.events import unit_interval
from transferline.data.folds import Fold
from transferline.data.readers.shards import ShardSet
from transferline.errors import DataError
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import Rows

NO_CLASS = -1
"""Target of events that take no part."""


class Classified(NamedTuple):
    """All events of a task: `target [n]`, `weight [n]` signed, for evaluation."""

    shards: ShardSet
    target: NDArray[np.int64]
    weight: NDArray[np.float64]


class Classification(Task):
    r"""Events in classes, each of which has its own.

    **Splits.** A hash u in [0, 1) of the event's (run, lumi, event) decides: test if
    u < `test_share`, validation if u < `test_share` + `valid_share`, else training pool. So
    everything made from one event (other selections, variations) falls on the same side. A
    signal and a background event that happen to share their numbers share their side too;
    they are different collisions, so that passes no information, while mixing the sample's
    name into the hash would part two preparations of the same event.

    **Weights.** Evaluation uses the signed physics weight w. For the loss, `weights` takes
    |w| (`abs`), w (`signed`), w with negative events left out of the pool (`drop`), or 1 for
    every event whatever its cross section (`unit`), then
    scales each class to a mean of 1 (or, for `natural` subsets, to equal sums).

    Attributes:
        weights: policy for the training weights.
        test_share, valid_share: shares of the events, by hash.
        test_max, valid_max: at most so many events of each class there; what is left over is
            not used at all, so that raising them later leaves the training pool alone.
    """

    weights: Literal["abs", "signed", "drop", "unit"] = "abs"
    test_share: float = Field(0.4, gt=0.0, lt=1.0)
    valid_share: float = Field(0.05, ge=0.0, lt=1.0)
    test_max: int | None = Field(None, gt=0)
    valid_max: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.test_share + self.valid_share >= 1.0:
            raise ValueError("test_share + valid_share leave nothing to train on.")
        return self

    @property
    def n_outputs(self) -> int:
        """One per class."""
        return len(self.classes())

    @abstractmethod
    def classified(self) -> Classified:
        """Open the shards and say of every event which class it is of, `NO_CLASS` if none.

        Raises:
            DataError: a directory is no shard set, or its labels contradict each other.
        """

    def load(self) -> TaskData:
        """See `Task.load`."""
        shards, target, weight = self.classified()
        u = unit_interval(np.asarray(shards.hash))
        edge = self.test_share + self.valid_share
        part = target != NO_CLASS
        usable = part & (weight > 0) if self.weights == "drop" else part
        pool = np.flatnonzero((u >= edge) & usable).astype(np.int64)
        valid = part & (u >= self.test_share) & (u < edge)
        data = TaskData(
            shards=shards,
            target=target,
            pool=pool,
            valid=self._capped(valid, u, target, self.valid_max),
            test=self._capped(part & (u < self.test_share), u, target, self.test_max),
            weight=weight,
            training_weight=self._training_weight(weight, target, pool),
        )
        self._check_classes(data)
        return data

    def folded(self, data: TaskData, fold: Fold) -> TaskData:
        """See `Task.folded`; the training weights are scaled on the new pool alone."""
        part = super().folded(data, fold)
        test = part.test[data.target[part.test] != NO_CLASS]
        weight = self._training_weight(data.weight, data.target, part.pool)
        part = replace(part, test=test, training_weight=weight)
        self._check_classes(part)
        return part

    def _capped(
        self,
        part: NDArray[np.bool_],
        u: NDArray[np.float64],
        target: NDArray[np.int64],
        largest: int | None,
    ) -> Rows:
        """Rows of `part`; of each class at most `largest`, those with the smallest hashes."""
        if largest is None:
            return np.flatnonzero(part).astype(np.int64)
        kept = []
        for label in range(self.n_outputs):
            rows = np.flatnonzero(part & (target == label))
            kept.append(rows[np.argsort(u[rows], kind="stable")][:largest])
        return np.sort(np.concatenate(kept)).astype(np.int64)

    def _training_weight(
        self, weight: NDArray[np.float64], target: NDArray[np.int64], pool: Rows
    ) -> NDArray[np.float64]:
        """Scale from the pool alone: a run's weights do not depend on its own subset."""
        chosen = weight if self.weights == "signed" else np.abs(weight)
        if self.weights == "drop":
            chosen = np.maximum(weight, 0.0)
        if self.weights == "unit":
            chosen = np.ones_like(weight)
        scaled = np.zeros_like(chosen)
        for label, name in enumerate(self.classes()):
            of_class = pool[target[pool] == label]
            total = chosen[of_class].sum()
            if total <= 0:
                raise DataError(
                    f"task {self.name}: the {name} events of the training pool have "
                    f"a sum of weights of {total:.3g}. Use weights: abs, or prepare more events."
                )
            count = len(of_class) if self.subset == "balanced" else len(pool) / self.n_outputs
            scaled[target == label] = chosen[target == label] * count / total
        return scaled

    def _check_classes(self, data: TaskData) -> None:
        for part, rows in (("training pool", data.pool), ("test set", data.test)):
            for label, name in enumerate(self.classes()):
                if not (data.target[rows] == label).any():
                    raise DataError(f"task {self.name}: the {part} holds no {name} event.")
        for label, name in enumerate(self.classes()):
            total = data.weight[data.test[data.target[data.test] == label]].sum()
            if total <= 0:  # said before anything is trained
                raise DataError(
                    f"task {self.name}: the {name} events of the test set have a sum of weights "
                    f"of {total:.3g}: no share of them exists. Prepare more events."
                )
