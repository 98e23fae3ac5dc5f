"""Which particle a jet comes from: ten classes of jets, or as many as there are samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from transferline.data.layouts.jetclass import CLASSES
from transferline.data.readers.shards import ShardSet
from transferline.errors import DataError, did_you_mean
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.tagging import Question, class_details, measure_classes
from transferline.learning.engineered import Engineered
from transferline.learning.engineered_jets import JET_FEATURES
from transferline.learning.tasks.base import TaskData, place_of
from transferline.learning.tasks.classification import NO_CLASS, Classification, Classified
from transferline.learning.tasks.subsets import Rows

_EFFICIENCY = 50.0
_LEPTONIC = {"Hqql": 99.0, "Tbl": 99.5}  # easy to tell, so quoted further up
_Percent = Annotated[float, Field(gt=0, lt=100)]


class JetTagging(Classification):
    """Jets of several classes, with the metrics of Particle Transformer (arXiv:2202.03772).

    The jets of a class are those of its samples (`class_samples`), or those of mixed samples that
    carry its label (`mixed_samples`, as the files of JetClass: `label_Hbb` in the file is the label
    `Hbb`). Jets of mixed samples with none of the `labels` take no part. Splits and weights are
    those of `Classification`; jets of several samples of one class count as they come.

    Attributes:
        class_samples: class -> names of samples in a study, or directories of shards.
        mixed_samples: samples that hold jets of all classes, in place of it.
        labels: the classes in mixed samples.
        background: the class against which rejections are measured.
        efficiency: class -> signal efficiency, in per cent, at which its rejection is quoted; for
            classes that are not named 50, for Hqql 99 and for Tbl 99.5, as published.
    """

    kind: Literal["jet_tagging"] = "jet_tagging"
    engineered: ClassVar[Engineered] = JET_FEATURES
    class_samples: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    mixed_samples: tuple[str, ...] = ()
    labels: Annotated[tuple[str, ...], Field(min_length=2)] = CLASSES
    background: str = "QCD"
    efficiency: dict[str, _Percent] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.class_samples) == bool(self.mixed_samples):
            raise ValueError("needs either `class_samples`, or `mixed_samples` with their labels.")
        if self.class_samples and self.labels != type(self).model_fields["labels"].default:
            raise ValueError("`labels` tell classes of `mixed_samples` apart; leave them out.")
        classes = self.classes()
        if len(classes) < 2:
            raise ValueError("needs at least two classes.")
        for names, what in ((self.samples(), "a sample"), (classes, "a class")):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{', '.join(twice)}: {what} stands twice.")
        if self.background not in classes:
            hint = did_you_mean(self.background, classes)
            raise ValueError(f"background: no class '{self.background}'.{hint}")
        for name in self.efficiency:
            if name not in classes or name == self.background:
                hint = did_you_mean(name, classes)
                raise ValueError(f"efficiency: '{name}' is no class beside the background.{hint}")
        return self

    def classes(self) -> list[str]:
        """Return the names of the classes, in order."""
        return list(self.class_samples or self.labels)

    def samples(self) -> list[str]:
        """Return the samples, class after class."""
        return [*self.mixed_samples, *(n for names in self.class_samples.values() for n in names)]

    def located(self, places: Mapping[str, Path]) -> Self:
        """See `Task.located`."""
        found = {name: place_of(self.name, name, places) for name in self.samples()}
        of_class = {
            label: tuple(found[name] for name in names)
            for label, names in self.class_samples.items()
        }
        mixed = tuple(found[name] for name in self.mixed_samples)
        return self.model_copy(update={"class_samples": of_class, "mixed_samples": mixed})

    def question(self) -> Question:
        """Return what the metrics need to know."""
        signals = [name for name in self.classes() if name != self.background]
        known = {**dict.fromkeys(signals, _EFFICIENCY), **_LEPTONIC, **self.efficiency}
        efficiency = {name: known[name] for name in signals}
        return Question(tuple(self.classes()), self.background, efficiency)

    def classified(self) -> Classified:
        """See `Classification.classified`."""
        shards = ShardSet([Path(name) for name in self.samples()])
        target = self._by_label(shards) if self.mixed_samples else self._by_sample(shards)
        return Classified(shards, target, np.asarray(shards.weight, dtype=np.float64))

    def _by_sample(self, shards: ShardSet) -> NDArray[np.int64]:
        """Return the class of each jet's sample, which the labels of the jet may not deny."""
        numbers = [i for i, names in enumerate(self.class_samples.values()) for _ in names]
        target = np.array(numbers, np.int64)[shards.source]
        for number, name in enumerate(self.class_samples):
            labels = shards.labels.get(name)
            wrong = 0 if labels is None else int(((labels < 0.5) & (target == number)).sum())
            if wrong:
                raise DataError(
                    f"task {self.name}: {wrong} jets in the samples of class {name} do not carry "
                    f"its label. Take `mixed_samples`, or samples of {name} alone."
                )
        return target

    def _by_label(self, shards: ShardSet) -> NDArray[np.int64]:
        """Return the class that each jet is labelled with."""
        for name in self.labels:
            if name not in shards.labels:
                hint = did_you_mean(name, shards.labels)
                raise DataError(
                    f"task {self.name}: the samples have no label '{name}'; they have "
                    f"{', '.join(shards.labels) or 'none'}.{hint}"
                )
        table = np.stack([shards.labels[name] > 0.5 for name in self.labels], axis=1)
        several = int((table.sum(1) > 1).sum())
        if several:
            raise DataError(f"task {self.name}: {several} jets carry more than one of its labels.")
        return np.where(table.any(1), table.argmax(1), NO_CLASS).astype(np.int64)

    def scores(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities of all classes, be they two."""
        return probability

    def evaluate(
        self, scores: NDArray[np.float64], data: TaskData, rows: Rows
    ) -> tuple[dict[str, Measurement], Replicas]:
        """Accuracy, AUC and rejections; `scores` are the probabilities of all classes."""
        # One seed for all runs: replicas of two Records then compare in pairs.
        return measure_classes(scores, data.target[rows], data.weight[rows], self.question(), 0)

    def details(self, scores: NDArray[np.float64], data: TaskData, rows: Rows) -> dict[str, Any]:
        """Confusion matrix and ROC curves, see `class_details`."""
        return class_details(scores, data.target[rows], data.weight[rows], self.question())
