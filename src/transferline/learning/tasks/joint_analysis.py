"""Signal against background events made of jets of constituents, with gradients into each jet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from transferline.data.events import unit_interval
from transferline.data.folds import Fold
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.event_rejection import effective_background, rejections
from transferline.evaluation.measurement import Measurement
from transferline.learning.engineered import Engineered
from transferline.learning.engineered_jet_events import JET_EVENT_FEATURES
from transferline.learning.tasks.base import TaskData
from transferline.learning.tasks.event_classification import EventClassification
from transferline.learning.tasks.subsets import Rows, Subset
from transferline.models.event_head import EventHead

_HEADLINE = 90


class JointAnalysis(EventClassification):
    r"""A jet backbone inside an analysis of whole events (arXiv:2401.13536).

    The samples are shards of events of jets (`kind: jet_events`); target, weight and identity are
    the event's. Splits and weights are those of `EventClassification`. With `subset: natural` the
    sums of training weights of both classes are equal: the published `pos_weight`, the number of
    background events over that of signal, up to a common factor.

    Attributes:
        head: sums over the jets of an event, see `EventHead`.
        signal_share: signal among the events of the training pool, in place of what the samples
            have; the class in excess loses those with the largest hashes. Published: 0.068.
    """

    # A question of its own, asked of the same samples and splits.
    kind: Literal["joint_analysis"] = "joint_analysis"  # type: ignore[assignment]
    engineered: ClassVar[Engineered] = JET_EVENT_FEATURES
    head: EventHead = EventHead(kind="deepsets")
    subset: Subset = "natural"
    signal_share: float | None = Field(None, gt=0, lt=1)

    def opened(self, paths: list[Path]) -> NestedShardSet:
        """Open the shards of the samples, which must hold events of jets."""
        return NestedShardSet(paths)

    def load(self) -> TaskData:
        """See `Task.load`."""
        return self._shared(super().load())

    def folded(self, data: TaskData, fold: Fold) -> TaskData:
        """See `Task.folded`; the new pool is thinned again."""
        return self._shared(super().folded(data, fold))

    def _shared(self, data: TaskData) -> TaskData:
        """Thin the pool to `signal_share`, and balance the weights on what is left."""
        if self.signal_share is None:
            return data
        pool = self._thinned(data, self.signal_share)
        weight = self._training_weight(data.weight, data.target, pool)
        return replace(data, pool=pool, training_weight=weight)

    @staticmethod
    def _thinned(data: TaskData, share: float) -> Rows:
        """Rows of the pool with this share of signal, by hash and so nested in the samples."""
        parts = [data.pool[data.target[data.pool] == label] for label in (0, 1)]
        ratio = share / (1 - share)  # signal per background event
        most = [round(len(parts[1]) / ratio), round(len(parts[0]) * ratio)]
        # Other bits than those of the split, which have a range of their own in the pool.
        place = unit_interval(np.asarray(data.shards.hash) << np.uint64(20))
        kept = [
            rows[np.argsort(place[rows], kind="stable")][: max(n, 1)]
            for rows, n in zip(parts, most, strict=True)
        ]
        return np.sort(np.concatenate(kept)).astype(np.int64)

    def evaluate(
        self, scores: NDArray[np.float64], data: TaskData, rows: Rows
    ) -> tuple[dict[str, Measurement], Replicas]:
        """AUC and accuracy, rejections as weighted and as published, and their effective size.

        `rejection_90` counts the background by its weights, `unweighted_rejection_90` by events,
        whatever their cross section, as the paper did; also at 50 and 70. The test set above the
        threshold is worth `n_eff_90` background events. `rejection_90[NAME]` is that of the
        signal of one sample, such as one mass, against all background.
        """
        found, replicas = super().evaluate(scores, data, rows)
        target, weight = data.target[rows], data.weight[rows]
        found |= rejections(scores, target, weight)
        plain = rejections(scores, target, np.ones(len(rows)))
        found |= {f"unweighted_{name}": value for name, value in plain.items()}
        size = effective_background(scores, target, weight, _HEADLINE)
        found[f"n_eff_{_HEADLINE}"] = Measurement(size, 0.0)
        return {**found, **self._by_sample(scores, data, rows)}, replicas

    def _by_sample(
        self, scores: NDArray[np.float64], data: TaskData, rows: Rows
    ) -> dict[str, Measurement]:
        """The headline for the signal of each sample, if there are several."""
        found: dict[str, Measurement] = {}
        if len(self.signal) == 1:
            return found
        source, target = data.shards.source[rows], data.target[rows]
        for i in range(len(self.signal)):
            of_it = (target == 0) | (source == i)
            if not (target[of_it] == 1).any():
                continue
            name = data.shards.cards[i].sample or str(i)
            part = rejections(
                scores[of_it], target[of_it], data.weight[rows][of_it], points=(_HEADLINE,)
            )
            found[f"rejection_{_HEADLINE}[{name}]"] = part[f"rejection_{_HEADLINE}"]
        return found
