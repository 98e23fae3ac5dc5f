r"""Weak supervision: tell two mixed samples apart, be judged on what they are mixed of.

Source: arXiv:1708.02949 (CWoLa): a classifier of two mixtures of signal and background that differ
in their proportions orders events as one of signal and background does. As arXiv:2401.13537 and
2409.12589 set it up: background in two equal parts, N signal events mixed into one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from transferline.data.events import unit_interval
from transferline.data.folds import Fold
from transferline.data.readers.shards import ShardSet
from transferline.errors import ConfigError, DataError
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.metrics import measure
from transferline.evaluation.significance import significance_improvements
from transferline.learning.engineered import Engineered
from transferline.learning.engineered_jets import JET_FEATURES
from transferline.learning.tasks.base import TaskData, place_of
from transferline.learning.tasks.classification import Classification, Classified
from transferline.learning.tasks.subsets import LabelledRows, Rows, draw, hold_out

_Names = Annotated[tuple[str, ...], Field(min_length=1)]


class WeakSupervision(Classification):
    """Two samples of equal size, N signal events in the second: labels say which sample.

    Each seed mixes its own two samples of the training pool, so that the spread over seeds holds
    what the choice of the N does; with one seed, more signal contains less. `n_train` counts the
    events of both samples; a smaller number than there are holds a proportionate part of the N.
    Test events carry their true class.

    Metrics: those of two classes and `sic_cut`, `sic_fpr1` (see `significance_improvements`) on
    true classes; `auc_mixed` on two samples that are mixed of the test events in the same
    proportions: what a search could measure without knowing the signal. With N = 0 it is one half
    within its error, while the others say what an arbitrary function happens to do.

    Attributes:
        signal, background: names of samples in a study, or directories of shards.
        n_signal: N.
        n_mixed: events of each mixed sample, N included; all that there are unless given.
    """

    kind: Literal["weak_supervision"] = "weak_supervision"
    engineered: ClassVar[Engineered] = JET_FEATURES
    signal: _Names
    background: _Names
    n_signal: int = Field(ge=0)
    n_mixed: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        twice = sorted({n for n in self.samples() if self.samples().count(n) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: a sample stands twice.")
        return self

    def classes(self) -> list[str]:
        """Return the names of the two outputs."""
        return ["background", "signal"]

    def samples(self) -> list[str]:
        """Return the samples, signal first."""
        return [*self.signal, *self.background]

    def located(self, places: Mapping[str, Path]) -> Self:
        """See `Task.located`."""
        found = {
            role: tuple(place_of(self.name, name, places) for name in getattr(self, role))
            for role in ("signal", "background")
        }
        return self.model_copy(update=found)

    def classified(self) -> Classified:
        """See `Classification.classified`: the true classes, every event with weight one.

        Raises:
            DataError: the events of a sample differ in their weights.
        """
        shards = ShardSet([Path(name) for name in self.samples()])
        source, weight = np.asarray(shards.source), np.asarray(shards.weight, np.float64)
        for number, name in enumerate(self.samples()):
            mine = weight[source == number]
            if len(mine) and not np.allclose(mine, mine[0], rtol=1e-5, atol=0.0):
                raise DataError(
                    f"task {self.name}: the events of {name} have unequal weights, and mixed "
                    "samples stand for data, where every event counts one. Unweight them first "
                    "(`mix`)."
                )
        is_signal = source < len(self.signal)
        return Classified(shards, is_signal.astype(np.int64), np.ones(len(weight)))

    def load(self) -> TaskData:
        """See `Task.load`; target is the sample in the pool, the true class elsewhere.

        Background is divided by hash: an event is of the same sample whatever the seed.

        Raises:
            DataError: there are fewer signal or background events than are wanted.
        """
        data = super().load()
        background = _by_hash(data, data.pool, 0)
        target = data.target.copy()
        target[background[1::2]] = 1
        found = replace(data, target=target)
        weight = self._training_weight(data.weight, target, self._mixed(found, seed=0))
        return replace(found, training_weight=weight)

    def labelled(self, data: TaskData, n_train: int, seed: int) -> LabelledRows:
        """See `Task.labelled`; drawn of the two samples that belong to the seed."""
        rows = draw(self._mixed(data, seed), data.target, n_train, seed, self.subset)
        return hold_out(rows, data.target, self.select_share, self.subset)

    def _mixed(self, data: TaskData, seed: int) -> Rows:
        """Return the events of both samples; what they are of is told by the target.

        Raises:
            DataError: see `load`.
        """
        is_signal = np.asarray(data.shards.source)[data.pool] < len(self.signal)
        first, second = (data.pool[~is_signal & (data.target[data.pool] == i)] for i in (0, 1))
        signal, size = data.pool[is_signal], self._size(data)
        wanted = ((first, size), (second, size - self.n_signal), (signal, self.n_signal))
        if any(number < 0 or number > len(rows) for rows, number in wanted):
            raise DataError(
                f"task {self.name}: two samples of {size} events, {self.n_signal} of them signal, "
                f"cannot be mixed of {len(first) + len(second)} background and {len(signal)} "
                "signal events."
            )
        shuffled = (np.random.default_rng([seed, i]) for i in range(len(wanted)))
        parts = [r.permutation(rows)[:n] for r, (rows, n) in zip(shuffled, wanted, strict=True)]
        return np.sort(np.concatenate(parts))

    def _size(self, data: TaskData) -> int:
        """Events of each sample."""
        if self.n_mixed is not None:
            return self.n_mixed
        is_signal = np.asarray(data.shards.source)[data.pool] < len(self.signal)
        background = int((~is_signal).sum())
        # Of an odd number the first half holds one more.
        return min(background - background // 2, background // 2 + self.n_signal)

    def evaluate(
        self, scores: NDArray[np.float64], data: TaskData, rows: Rows
    ) -> tuple[dict[str, Measurement], Replicas]:
        """See `Task.evaluate`."""
        target, weight = data.target[rows], data.weight[rows]
        metrics, replicas = measure(scores, target, weight, seed=0)
        metrics |= significance_improvements(scores, target.astype(np.float64), weight)
        places, labels = self._held_out(data, rows)
        mixed, _ = measure(scores[places], labels, weight[places], seed=0)
        return {**metrics, "auc_mixed": mixed["auc"]}, replicas

    def _held_out(self, data: TaskData, rows: Rows) -> tuple[Rows, NDArray[np.int64]]:
        """Places in `rows` of two mixed samples like those of the pool, and which sample each is.

        As many signal events in a background event as in the pool.
        """
        place = np.argsort(rows)
        signal, background = _by_hash(data, rows, 1), _by_hash(data, rows, 0)
        share = self.n_signal / max(self._size(data), 1)
        first, rest = background[::2], background[1::2]
        number = min(round(share * len(rest)), len(signal))
        second = np.concatenate((signal[:number], rest[: len(rest) - number]))
        found = place[np.searchsorted(rows[place], np.concatenate((first, second)))].astype(
            np.int64
        )
        return found, np.repeat([0, 1], [len(first), len(second)]).astype(np.int64)

    def details(self, scores: NDArray[np.float64], data: TaskData, rows: Rows) -> dict[str, Any]:
        """Return what the mixed samples hold."""
        return {"weak": {"n_signal": self.n_signal, "n_mixed": self._size(data)}}

    def folded(self, data: TaskData, fold: Fold) -> TaskData:
        """There are none: labels of the pool and of test events mean different things.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"task {self.name}: weak_supervision has no folds.")


def _by_hash(data: TaskData, rows: Rows, label: int) -> Rows:
    """The rows of one class in the order of their hashes, which has nothing of the files' order."""
    own = rows[data.target[rows] == label]
    order = np.argsort(unit_interval(np.asarray(data.shards.hash)[own]), kind="stable")
    return np.asarray(own[order], np.int64)
