"""Signal against background events made of jets of constituents, with gradients into each jet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from transferline.config import added
from transferline.data.events import unit_interval
from transferline.data.folds import Fold
from transferline.data.readers.nested_shards import NestedShardSet
from transferline.data.readers.shards import ShardSet
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.event_rejection import effective_background, rejections
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.metrics import measure
from transferline.evaluation.sculpting import Sculpting
from transferline.evaluation.sensitivity import MISSING, can_fit, expected
from transferline.learning.engineered import Engineered
from transferline.learning.engineered_jet_events import JET_EVENT_FEATURES
from transferline.learning.tasks.base import Embed, TaskData, place_of
from transferline.learning.tasks.event_classification import EventClassification
from transferline.learning.tasks.jet_probe import JetProbe
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
        luminosity: in 1/pb, of the expected sensitivity; needs the cross sections of all samples.
        jet_probe: jets whose class a linear probe reads off the trained backbone.
    """

    # A question of its own, asked of the same samples and splits.
    kind: Literal["joint_analysis"] = "joint_analysis"  # type: ignore[assignment]
    engineered: ClassVar[Engineered] = JET_EVENT_FEATURES
    head: EventHead = EventHead(kind="deepsets")
    subset: Subset = "natural"
    signal_share: float | None = Field(None, gt=0, lt=1)
    luminosity: float | None = added(None, gt=0)
    jet_probe: JetProbe | None = added(None)

    def opened(self, paths: list[Path]) -> NestedShardSet:
        """Open the shards of the samples, which must hold events of jets."""
        return NestedShardSet(paths)

    def load(self) -> TaskData:
        """See `Task.load`.

        Raises:
            DataError: there is a `luminosity`, and a sample has no cross section.
        """
        data = super().load()
        if self.luminosity is not None:  # now, not after a training
            self._scales(data.shards, absolute=True)
        return self._shared(data)

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

    def samples(self) -> list[str]:
        """Signal, background, and the jets of the probe."""
        probed = [] if self.jet_probe is None else self.jet_probe.samples()
        return list(dict.fromkeys([*self.event_samples(), *probed]))

    def located(self, places: Mapping[str, Path]) -> Self:
        """See `Task.located`."""
        found = super().located(places)
        if self.jet_probe is None:
            return found
        jets = {name: place_of(self.name, name, places) for name in self.jet_probe.samples()}
        return found.model_copy(update={"jet_probe": self.jet_probe.located(jets)})

    def examine(self, start: Embed | None, end: Embed) -> dict[str, Measurement]:
        """`jet_probe` and, where the backbone moved, `jet_probe_start`: AUC of single jets."""
        if self.jet_probe is None:
            return {}
        found = {"jet_probe": self.jet_probe.auc(end)}
        if start is not None:
            found["jet_probe_start"] = self.jet_probe.auc(start)
        return found

    def examined_with(self) -> dict[str, str]:
        """See `Task.examined_with`."""
        return {} if self.jet_probe is None else {"jet_probe": self.jet_probe.content_hash()}

    def examined_on(self) -> dict[str, tuple[ShardSet, Rows]]:
        """See `Task.examined_on`."""
        return {} if self.jet_probe is None else {"jet_probe": self.jet_probe.measured()}

    def evaluate(
        self, scores: NDArray[np.float64], data: TaskData, rows: Rows
    ) -> tuple[dict[str, Measurement], Replicas]:
        """AUC and accuracy, rejections, their effective size, sensitivity, and mass sculpting.

        `rejection_90` counts the background by its weights, `unweighted_rejection_90` by events,
        whatever their cross section, as the paper did; also at 50 and 70, and `unweighted_auc`
        beside `auc`. The replicas of the unweighted numbers travel in the Record, so that ratios
        of two runs are taken in pairs. The test set above the
        threshold is worth `n_eff_90` background events. `sculpting` is the divergence of
        `transferline.evaluation.sculpting` of the mass of the two leading jets.

        With a `luminosity` there are `significance`, `limit` and `asimov_significance`, see
        `transferline.evaluation.sensitivity.expected`. Where several signal samples stand for
        several hypotheses, such as masses, `NAME[SAMPLE]` is that of one of them against all
        background, and there is no sensitivity to their sum.
        """
        found, replicas = super().evaluate(scores, data, rows)
        target, weight = data.target[rows], data.weight[rows]
        stratum = np.asarray(data.shards.source)[rows]
        found |= rejections(scores, target, weight, stratum=stratum)[0]
        plain, kept = self._by_events(scores, target)
        size = effective_background(scores, target, weight, _HEADLINE, stratum)
        found |= {**plain, f"n_eff_{_HEADLINE}": Measurement(size, 0.0)}
        found["sculpting"] = self._sculpting(scores, data, rows).measurement()
        replicas = replace(replicas, values={**replicas.values, **kept})
        return {**found, **self._by_sample(scores, data, rows)}, replicas

    @staticmethod
    def _by_events(
        scores: NDArray[np.float64], target: NDArray[np.int64]
    ) -> tuple[dict[str, Measurement], dict[str, tuple[float, ...]]]:
        """Rejections and AUC of events that all count the same, and replicas of two of them."""
        ones = np.ones(len(scores))
        found, drawn = rejections(scores, target, ones)
        every, replicas = measure(scores, target, ones)
        headline = f"rejection_{_HEADLINE}"
        found["auc"] = every["auc"]
        kept = {headline: drawn[headline], "auc": replicas.values["auc"]}
        return (
            {f"unweighted_{name}": value for name, value in found.items()},
            {f"unweighted_{name}": values for name, values in kept.items()},
        )

    def details(self, scores: NDArray[np.float64], data: TaskData, rows: Rows) -> dict[str, Any]:
        """Return `mass`: that of the two leading jets of background events in slices of the score.

        Where the sensitivity was not fitted, `sensitivity` says why.
        """
        found: dict[str, Any] = {"mass": self._sculpting(scores, data, rows).details()}
        if self.luminosity is not None and not can_fit():
            found["sensitivity"] = MISSING
        return found

    def _sculpting(self, scores: NDArray[np.float64], data: TaskData, rows: Rows) -> Sculpting:
        of_background = rows[data.target[rows] == 0]
        mass = dijet_mass(data.shards, of_background)
        return Sculpting(scores[data.target[rows] == 0], mass, data.weight[of_background])

    def _by_sample(
        self, scores: NDArray[np.float64], data: TaskData, rows: Rows
    ) -> dict[str, Measurement]:
        """The headline and the sensitivity for the signal of each sample."""
        found: dict[str, Measurement] = {}
        source, target = np.asarray(data.shards.source)[rows], data.target[rows]
        events = None if self.luminosity is None else self._expected_events(data, rows)
        names = _names([card.sample for card in data.shards.cards[: len(self.signal)]])
        for i, name in enumerate(names):
            of_it = (target == 0) | (source == i)
            if not (target[of_it] == 1).any():
                continue
            part: dict[str, Measurement] = {}
            if len(names) > 1:
                weight = data.weight[rows][of_it]
                part, _ = rejections(
                    scores[of_it],
                    target[of_it],
                    weight,
                    points=(_HEADLINE,),
                    stratum=source[of_it],
                )
            if events is not None:
                part |= expected(scores[of_it], target[of_it], events[of_it], stratum=source[of_it])
            single = len(names) == 1
            found |= {key if single else f"{key}[{name}]": value for key, value in part.items()}
        return found

    def _expected_events(self, data: TaskData, rows: Rows) -> NDArray[np.float64]:
        """Events that `luminosity` holds per scored event: those of a sample share all of it."""
        assert self.luminosity is not None  # the caller asks
        source = np.asarray(data.shards.source)
        weight = np.asarray(data.shards.weight, np.float64)
        weight = weight * self._scales(data.shards, absolute=True)[source]
        n = len(data.shards.cards)
        whole = np.bincount(source, weight, n)
        scored = np.bincount(source[rows], weight[rows], n)
        share = np.divide(whole, scored, out=np.zeros(n), where=scored != 0)
        return weight[rows] * (self.luminosity * share)[source[rows]]


def _names(found: Sequence[str]) -> list[str]:
    """Names of samples that are all different, however the samples are called.

    >>> _names(["X", "", "X"])
    ['X#1', '2', 'X#3']
    """
    return [
        (f"{name}#{i + 1}" if found.count(name) > 1 else name) if name else str(i + 1)
        for i, name in enumerate(found)
    ]


def dijet_mass(shards: ShardSet, rows: Rows) -> NDArray[np.float64]:
    """Return the mass in GeV of the two leading jets of events, of one jet where there is one."""
    batch = ShardSet.gather(shards, rows)
    p4 = batch.p4[:, :2].double() * batch.is_real[:, :2, None]
    pt, eta, phi, mass = p4.unbind(-1)
    x, y, z = pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()
    energy = (x**2 + y**2 + z**2 + mass**2).sqrt()
    square = energy.sum(1) ** 2 - sum(p.sum(1) ** 2 for p in (x, y, z))
    found: NDArray[np.float64] = square.clamp(min=0.0).sqrt().numpy()
    return found
