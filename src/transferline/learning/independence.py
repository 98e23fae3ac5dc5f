"""Whether a model may judge some events: it must not have been made from them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from transferline.data.origins import Origin
from transferline.data.readers.shards import ShardSet
from transferline.errors import DataError
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import Rows
from transferline.models.checkpoint import Checkpoint
from transferline.models.seen import ROLES, Hashes, Level, Role, Seen, by_origin

INDEPENDENT = (
    "every event was scored by a model that did not train on it, its backbone's pre-training "
    "included"
)
_STEP: dict[Role, str] = {"training": "training", "pretraining": "pre-training"}
_WHOSE: dict[Role, str] = {"training": "model", "pretraining": "backbone"}


class OverlapWarning(UserWarning):
    """Events that a model is measured on may have been in its pre-training."""


@dataclass
class Tally:
    """Counts events by how sure it is that the model which scores them has seen them.

    Attributes:
        events: all that were counted.
        counts: (step, level) -> events, `Level.NO` left out.
        samples: step -> names of the samples that were seen in it.
    """

    events: int = 0
    counts: Counter[tuple[Role, Level]] = field(default_factory=Counter)
    samples: dict[Role, list[str]] = field(default_factory=dict)

    def add(self, seen: Seen, hashes: Hashes, origin: Origin) -> None:
        """Count events of one origin."""
        self.events += len(hashes)
        for role in ROLES:
            known = self.samples.setdefault(role, [])
            known += [name for name in seen.samples(role) if name not in known]
            levels, numbers = np.unique(seen.level(role, hashes, origin), return_counts=True)
            for level, n in zip(levels.tolist(), numbers.tolist(), strict=True):
                if level != Level.NO:
                    self.counts[role, Level(level)] += n

    def add_rows(self, seen: Seen, shards: ShardSet, rows: Rows) -> None:
        """Count rows of shards."""
        hashes = np.asarray(shards.hash)[rows]
        for _, origin, places in by_origin(shards, rows):
            self.add(seen, hashes[places], origin)

    def join(self, other: Tally) -> None:
        """Count what another one counted."""
        self.events += other.events
        self.counts.update(other.counts)
        for role, names in other.samples.items():
            known = self.samples.setdefault(role, [])
            known += [name for name in names if name not in known]

    def verdict(self) -> str:
        """Return one sentence: independent, seen in the training, or before it, or not known."""
        if not self.events:
            return "no event was scored"
        for role in ROLES:
            if n := self.counts[role, Level.YES]:
                return (
                    f"{n} of {self.events} events were in the {_STEP[role]} of the {_WHOSE[role]} "
                    "that scored them"
                )
        reasons = "; ".join(self._reasons())
        return f"cannot be told: {reasons}" if reasons else INDEPENDENT

    def _reasons(self) -> Iterator[str]:
        for role in ROLES:
            step = _STEP[role]
            names = ", ".join(self.samples.get(role, []))
            if self.counts[role, Level.UNLISTED]:
                of = f" ({names})" if names else ""
                yield f"the checkpoint does not list the events of its {step}{of}"
            if n := self.counts[role, Level.RELATED]:
                yield (
                    f"{n} events were generated with the process and seed of its {step} ({names}) "
                    "and other settings, so they may be the same under other numbers"
                )
            if n := self.counts[role, Level.ALIKE]:
                yield (
                    f"{n} events have the numbers of simulated events of its {step} ({names}); "
                    "samples number alike, and nothing tells whether these are the same"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        counts = {f"{role}.{level.name.lower()}": n for (role, level), n in self.counts.items()}
        told = {"verdict": self.verdict(), "events": self.events, "counts": counts}
        return {**told, "samples": {role: names for role, names in self.samples.items() if names}}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Undo `to_dict`."""
        tally = cls(int(value["events"]))
        for role in ROLES:
            tally.samples[role] = list(value["samples"].get(role, ()))
            for level in Level:
                if n := value["counts"].get(f"{role}.{level.name.lower()}"):
                    tally.counts[role, level] = int(n)
        return tally


def check_test_events(
    checkpoint: Checkpoint, task: Task, data: TaskData, *, allow: bool = False
) -> dict[str, Any]:
    """Compare the test events of a task with the events that a checkpoint was made from.

    What else the task measures the backbone on (`Task.examined_on`) counts as test events.

    Args:
        checkpoint: what is about to be transferred.
        task: the question.
        data: of the task.
        allow: go on even if events are in both.

    Returns:
        what a Record notes down: the verdict and the numbers of events.

    Raises:
        DataError: test events were seen.

    Warns:
        OverlapWarning: simulated test events may have been seen, which their numbers alone do
            not tell.
    """
    tally, known = Tally(), checkpoint.saw().as_pretraining()
    for what, (shards, rows) in _judging(task, data).items():
        part = Tally()
        part.add_rows(known, shards, rows)
        _check_unseen(part, what, allow)
        tally.join(part)
    levels = {level for level in Level if tally.counts["pretraining", level]}
    if Level.YES not in levels and levels:
        warnings.warn(f"test events: {tally.verdict()}.", OverlapWarning, stacklevel=2)
    return tally.to_dict()


def _judging(task: Task, data: TaskData) -> dict[str, tuple[ShardSet, Rows]]:
    others = {f"test events of {name}": rows for name, rows in task.examined_on().items()}
    return {"test events": (data.shards, data.test), **others}


def _check_unseen(tally: Tally, what: str, allow: bool) -> None:
    seen, names = tally.counts["pretraining", Level.YES], ", ".join(tally.samples["pretraining"])
    if seen and not allow:
        raise DataError(
            f"{seen} of the {tally.events} {what} were in the pre-training of this checkpoint "
            f"({names}), so it would be measured on what it has seen. Pre-train on other events; "
            "or keep every event out of the models that judge it (pretrain --folds K, then "
            "transfer --folds K); or accept it: --allow-overlap, in a study allow_overlap: true."
        )
