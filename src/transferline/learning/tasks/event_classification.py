"""Signal against background, each one or several prepared samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from transferline.data.card import DataCard
from transferline.data.readers.shards import ShardSet
from transferline.errors import ConfigError, did_you_mean
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.metrics import measure
from transferline.learning.tasks.base import TaskData, place_of
from transferline.learning.tasks.classification import Classification, Classified
from transferline.learning.tasks.subsets import Rows

_CLASSES = ("background", "signal")


class EventClassification(Classification):
    r"""Two classes: target 1 for the events of `signal`, 0 for those of `background`.

    Splits and weights are those of `Classification`.

    Attributes:
        signal, background: names of samples in a study, or directories of shards.
        cross_sections: sample -> pb, where a class has several samples, which are added in
            proportion to them; those of the samples' own cards unless given.
    """

    kind: Literal["event_classification"] = "event_classification"
    signal: list[str] = Field(min_length=1)
    background: list[str] = Field(min_length=1)
    cross_sections: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        both = sorted(set(self.signal) & set(self.background))
        if both:
            raise ValueError(f"{', '.join(both)}: is signal and background at once.")
        for names in (self.signal, self.background):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{', '.join(twice)}: stands twice in one class.")
        for name in self.cross_sections:
            if name not in self.event_samples():
                hint = did_you_mean(name, self.event_samples())
                raise ValueError(f"cross_sections: no sample '{name}'.{hint}")
        return self

    def classes(self) -> list[str]:
        """`background`, `signal`."""
        return list(_CLASSES)

    def samples(self) -> list[str]:
        """Signal first, then background."""
        return self.event_samples()

    def event_samples(self) -> list[str]:
        """Return the samples whose events are asked about, signal first."""
        return [*self.signal, *self.background]

    def located(self, places: Mapping[str, Path]) -> Self:
        """See `Task.located`."""
        found = {name: place_of(self.name, name, places) for name in self.event_samples()}
        return self.model_copy(
            update={
                "signal": [found[name] for name in self.signal],
                "background": [found[name] for name in self.background],
                "cross_sections": {
                    found[name]: value for name, value in self.cross_sections.items()
                },
            }
        )

    def classified(self) -> Classified:
        """See `Classification.classified`."""
        shards = self.opened([Path(name) for name in self.event_samples()])
        source = np.asarray(shards.source)
        target = (source < len(self.signal)).astype(np.int64)
        weight = np.asarray(shards.weight, dtype=np.float64) * self._scales(shards)[source]
        return Classified(shards, target, weight)

    def opened(self, paths: list[Path]) -> ShardSet:
        """Open the shards of the samples.

        Raises:
            ConfigError: they hold single jets, of which trees would get the features of events.
        """
        shards = ShardSet(paths)
        for name, card in zip(self.event_samples(), shards.cards, strict=True):
            if card.selection.get("kind") == "jets":
                raise ConfigError(
                    f"task {self.name}: '{name}' holds single jets. Take kind: jet_tagging, with "
                    "class_samples, which gives boosted trees the features of jets."
                )
        return shards

    def _scales(self, shards: ShardSet, *, absolute: bool = False) -> NDArray[np.float64]:
        """Factor on the weights of every sample: pb per unit of weight, 1 where it stands alone.

        If `absolute`, pb for all. Samples of one process, with one filter, one file of hard events
        and one cross section, are one sample in parts: they share its cross section in proportion
        to their sums of weights. Slices have cross sections of their own.

        Raises:
            ConfigError: two samples of one process with two filters have the same cross section.
        """
        scales, samples = [], list(zip(self.event_samples(), shards.cards, strict=True))
        for i, (name, card) in enumerate(samples):
            first = i < len(self.signal)
            alone = len(self.signal if first else self.background) == 1
            if alone and not absolute:
                scales.append(1.0)
                continue
            of_class = slice(len(self.signal)) if first else slice(len(self.signal), None)
            scale = card.normalisation(self.cross_sections.get(name))
            given = self.cross_sections.get(name, card.cross_section_pb)
            equal = [
                other
                for its_name, other in samples[of_class]
                if self.cross_sections.get(its_name, other.cross_section_pb) == given
            ]
            if any(card.counts_again(other) for other in equal):
                raise ConfigError(
                    f"{name}: has another filter than a sample of the same process beside it, and "
                    "its whole cross section, so what passes both would count twice. Leave one "
                    "out, or give `cross_sections` of their parts."
                )
            parts = [other for other in equal if _same_process(other, card)]
            total = sum(other.sum_weight or 0.0 for other in parts)
            scales.append(scale * (card.sum_weight or 0.0) / total)
        return np.array(scales)

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
    return bool(one.generated()) and one.generated() == other.generated()
