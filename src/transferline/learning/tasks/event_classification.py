"""Signal against background, each one or several prepared samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from transferline.data.card import DataCard
from transferline.data.events import unit_interval
from transferline.data.folds import Fold
from transferline.data.readers.shards import ShardSet
from transferline.errors import ConfigError, DataError, did_you_mean
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.metrics import measure
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import Rows

_CLASSES = ("background", "signal")


class EventClassification(Task):
    r"""Two classes: target 1 for the events of `signal`, 0 for those of `background`.

    **Splits.** A hash u in [0, 1) of the event's (run, lumi, event) decides: test if
    u < `test_share`, validation if u < `test_share` + `valid_share`, else training pool. So
    everything made from one event (other selections, variations) falls on the same side. A
    signal and a background event that happen to share their numbers share their side too;
    they are different collisions, so that passes no information, while mixing the sample's
    name into the hash would part two preparations of the same event.

    **Weights.** Evaluation uses the signed physics weight w. For the loss, `weights` takes
    |w| (`abs`), w (`signed`), or w with negative events left out of the pool (`drop`), then
    scales each class to a mean of 1 (or, for `natural` subsets, to equal sums).

    Attributes:
        signal, background: names of samples in a study, or directories of shards.
        weights: policy for the training weights.
        test_share, valid_share: shares of the events, by hash.
        test_max, valid_max: at most so many events of each class there; what is left over is
            not used at all, so that raising them later leaves the training pool alone.
        cross_sections: sample -> pb, where a class has several samples, which are added in
            proportion to them; those of the samples' own cards unless given.
    """

    kind: Literal["event_classification"] = "event_classification"
    signal: list[str] = Field(min_length=1)
    background: list[str] = Field(min_length=1)
    weights: Literal["abs", "signed", "drop"] = "abs"
    test_share: float = Field(0.4, gt=0.0, lt=1.0)
    valid_share: float = Field(0.05, ge=0.0, lt=1.0)
    test_max: int | None = Field(None, gt=0)
    valid_max: int | None = Field(None, gt=0)
    cross_sections: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.test_share + self.valid_share >= 1.0:
            raise ValueError("test_share + valid_share leave nothing to train on.")
        both = sorted(set(self.signal) & set(self.background))
        if both:
            raise ValueError(f"{', '.join(both)}: is signal and background at once.")
        for names in (self.signal, self.background):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{', '.join(twice)}: stands twice in one class.")
        for name in self.cross_sections:
            if name not in self.samples():
                hint = did_you_mean(name, self.samples())
                raise ValueError(f"cross_sections: no sample '{name}'.{hint}")
        return self

    @property
    def n_outputs(self) -> int:
        """Two: background and signal."""
        return len(_CLASSES)

    def classes(self) -> list[str]:
        """`background`, `signal`."""
        return list(_CLASSES)

    def samples(self) -> list[str]:
        """Signal first, then background."""
        return [*self.signal, *self.background]

    def located(self, places: Mapping[str, Path]) -> Self:
        """See `Task.located`."""
        for name in self.samples():
            if name not in places:
                raise ConfigError(
                    f"task {self.name}: no sample '{name}'.{did_you_mean(name, places)}"
                )
        return self.model_copy(
            update={
                "signal": [str(places[name]) for name in self.signal],
                "background": [str(places[name]) for name in self.background],
                "cross_sections": {
                    str(places[name]): value for name, value in self.cross_sections.items()
                },
            }
        )

    def load(self) -> TaskData:
        """See `Task.load`."""
        names = self.samples()
        shards = ShardSet([Path(name) for name in names])
        source = np.asarray(shards.source)
        target = (source < len(self.signal)).astype(np.int64)
        weight = np.asarray(shards.weight, dtype=np.float64) * self._scales(shards)[source]
        u = unit_interval(np.asarray(shards.hash))
        edge = self.test_share + self.valid_share
        usable = weight > 0 if self.weights == "drop" else np.ones(len(u), dtype=bool)
        pool = np.flatnonzero((u >= edge) & usable).astype(np.int64)
        data = TaskData(
            shards=shards,
            target=target,
            pool=pool,
            valid=_capped((u >= self.test_share) & (u < edge), u, target, self.valid_max),
            test=_capped(u < self.test_share, u, target, self.test_max),
            weight=weight,
            training_weight=self._training_weight(weight, target, pool),
        )
        self._check_classes(data)
        return data

    def folded(self, data: TaskData, fold: Fold) -> TaskData:
        """See `Task.folded`; the training weights are scaled on the new pool alone."""
        part = super().folded(data, fold)
        weight = self._training_weight(data.weight, data.target, part.pool)
        part = replace(part, training_weight=weight)
        self._check_classes(part)
        return part

    def _scales(self, shards: ShardSet) -> NDArray[np.float64]:
        """Factor on the weights of every sample: pb per unit of weight, 1 where it stands alone.

        Samples of one process are one sample in parts: they share its cross section in
        proportion to their sums of weights.
        """
        scales = []
        for i, (name, card) in enumerate(zip(self.samples(), shards.cards, strict=True)):
            first = i < len(self.signal)
            alone = len(self.signal if first else self.background) == 1
            if alone:
                scales.append(1.0)
                continue
            of_class = slice(len(self.signal)) if first else slice(len(self.signal), None)
            parts = [c for c in shards.cards[of_class] if _same_process(c, card)]
            share = (card.sum_weight or 0.0) / sum(c.sum_weight or 0.0 for c in parts)
            scales.append(share * card.normalisation(self.cross_sections.get(name)))
        return np.array(scales)

    def _training_weight(
        self, weight: NDArray[np.float64], target: NDArray[np.int64], pool: Rows
    ) -> NDArray[np.float64]:
        """Scale from the pool alone: a run's weights do not depend on its own subset."""
        chosen = weight if self.weights == "signed" else np.abs(weight)
        if self.weights == "drop":
            chosen = np.maximum(weight, 0.0)
        scaled = np.zeros_like(chosen)
        for label in range(len(_CLASSES)):
            of_class = pool[target[pool] == label]
            total = chosen[of_class].sum()
            if total <= 0:
                raise DataError(
                    f"task {self.name}: the {_CLASSES[label]} events of the training pool have "
                    f"a sum of weights of {total:.3g}. Use weights: abs, or prepare more events."
                )
            count = len(of_class) if self.subset == "balanced" else len(pool) / len(_CLASSES)
            scaled[target == label] = chosen[target == label] * count / total
        return scaled

    def _check_classes(self, data: TaskData) -> None:
        for part, rows in (("training pool", data.pool), ("test set", data.test)):
            for label, name in enumerate(_CLASSES):
                if not (data.target[rows] == label).any():
                    raise DataError(f"task {self.name}: the {part} holds no {name} event.")

    def evaluate(
        self, scores: NDArray[np.float64], data: TaskData, rows: Rows
    ) -> tuple[dict[str, Measurement], Replicas]:
        """AUC, accuracy and background rejections; `scores` are probabilities of signal."""
        # One seed for all runs: replicas of two Records then compare in pairs.
        return measure(scores, data.target[rows], data.weight[rows], seed=0)


def _same_process(one: DataCard, other: DataCard) -> bool:
    """Whether two cards are of the same sample or of one generated process."""
    if one is other:
        return True
    names = [{p.get("process") for p in card.provenance} - {None} for card in (one, other)]
    return bool(names[0]) and names[0] == names[1]


def _capped(
    part: NDArray[np.bool_],
    u: NDArray[np.float64],
    target: NDArray[np.int64],
    largest: int | None,
) -> Rows:
    """Rows of `part`; of each class at most `largest`, those with the smallest hashes."""
    if largest is None:
        return np.flatnonzero(part).astype(np.int64)
    kept = []
    for label in range(len(_CLASSES)):
        rows = np.flatnonzero(part & (target == label))
        kept.append(rows[np.argsort(u[rows], kind="stable")][:largest])
    return np.sort(np.concatenate(kept)).astype(np.int64)
