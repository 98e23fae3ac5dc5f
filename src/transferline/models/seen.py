"""Seen: which events a model was made from, so that it can be told whether it may judge them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferline.data.origins import Origin, Relation, row_origins
from transferline.data.readers.shards import ShardSet

Role = Literal["pretraining", "training"]
ROLES: tuple[Role, ...] = ("training", "pretraining")

Hashes = NDArray[np.uint64]
Levels = NDArray[np.uint8]


class Level(IntEnum):
    """How sure it is that a model has seen an event; the highest one counts."""

    NO = 0
    ALIKE = 1  # a seen event of a simulated sample has its numbers
    RELATED = 2  # equal process and seed, other settings: equal events bear other numbers
    UNLISTED = 3  # the model does not tell which events it has seen
    YES = 4


_IF_LISTED = {
    Relation.ALIKE: Level.ALIKE,
    Relation.SAME: Level.YES,
}


@dataclass(frozen=True)
class SeenEvents:
    """Events of one origin that took part in one step.

    Attributes:
        role: `pretraining` of the backbone, or `training` with labels; what only chose among
            weights (validation) is counted in.
        sample: their name on the data card.
        origin: where they come from.
        hashes: sorted `identity_hash` of each, or None where they are not listed.
    """

    role: Role
    sample: str
    origin: Origin
    hashes: Hashes | None

    def level(self, hashes: Hashes, origin: Origin) -> Levels:
        """Return the level of events of one origin, `[n]`."""
        relation = self.origin.relation(origin)
        if relation is Relation.OTHER:
            return np.full(len(hashes), Level.NO, np.uint8)
        if self.hashes is None:
            return np.full(len(hashes), Level.UNLISTED, np.uint8)
        if relation is Relation.RELATED:
            return np.full(len(hashes), Level.RELATED, np.uint8)
        return np.where(_has(self.hashes, hashes), _IF_LISTED[relation], Level.NO).astype(np.uint8)


def _has(known: Hashes, wanted: Hashes) -> NDArray[np.bool_]:
    if not len(known):
        return np.zeros(len(wanted), dtype=np.bool_)
    place = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    found: NDArray[np.bool_] = known[place] == wanted
    return found


@dataclass(frozen=True)
class Seen:
    """All events that a model was made from, by step and origin."""

    parts: tuple[SeenEvents, ...] = ()

    @classmethod
    def of(cls, role: Role, shards: ShardSet, rows: NDArray[np.int64]) -> Self:
        """List the events `rows` of `shards`."""
        parts = [
            SeenEvents(role, sample, origin, np.asarray(shards.hash)[rows[places]])
            for sample, origin, places in by_origin(shards, rows)
        ]
        return cls(_merged(parts))

    def __add__(self, other: Seen) -> Seen:
        """Join two lists."""
        return Seen(_merged([*self.parts, *other.parts]))

    def as_pretraining(self) -> Seen:
        """Return all events as those of a pre-training: the model becomes a backbone."""
        return Seen(_merged([replace(part, role="pretraining") for part in self.parts]))

    def level(self, role: Role, hashes: Hashes, origin: Origin) -> Levels:
        """Return, for events of one origin, how sure it is that the step has seen them, `[n]`."""
        found = np.full(len(hashes), Level.NO, np.uint8)
        for part in self.parts:
            if part.role == role:
                found = np.maximum(found, part.level(hashes, origin))
        return found

    def samples(self, role: Role) -> list[str]:
        """Return the names of the samples of one step, each once."""
        return list(dict.fromkeys(p.sample for p in self.parts if p.role == role and p.sample))

    def tensors(self) -> dict[str, Tensor]:
        """Return the lists as int64 tensors (the bits of the sorted uint64), named by number."""
        return {
            str(i): torch.from_numpy(part.hashes.view(np.int64))
            for i, part in enumerate(self.parts)
            if part.hashes is not None
        }

    def describe(self) -> list[dict[str, Any]]:
        """Return JSON values of everything but the lists."""
        return [
            {
                "role": part.role,
                "sample": part.sample,
                "origin": part.origin.to_dict(),
                "events": None if part.hashes is None else len(part.hashes),
            }
            for part in self.parts
        ]

    @classmethod
    def restore(cls, rows: Iterable[Mapping[str, Any]], tensors: Mapping[str, Tensor]) -> Self:
        """Undo `describe` and `tensors`.

        Raises:
            KeyError: a list that is described is missing.
            ValueError: a list is not as long as it is described.
        """
        parts = []
        for i, row in enumerate(rows):
            hashes = None if row["events"] is None else tensors[str(i)].numpy().view(np.uint64)
            if hashes is not None and len(hashes) != row["events"]:
                raise ValueError(f"list {i} has {len(hashes)} events, not {row['events']}")
            origin = Origin.from_dict(row["origin"])
            parts.append(SeenEvents(row["role"], row["sample"], origin, hashes))
        return cls(tuple(parts))


def by_origin(
    shards: ShardSet, rows: NDArray[np.int64]
) -> Iterator[tuple[str, Origin, NDArray[np.int64]]]:
    """Yield (sample, origin, places in `rows`) for every file behind `shards` that has some."""
    low = 0
    for path, card in zip(shards.paths, shards.cards, strict=True):
        places = np.flatnonzero((low <= rows) & (rows < low + card.n_events))
        for origin, mine in row_origins(path, card).groups(rows[places] - low):
            yield card.sample, origin, places[mine]
        low += card.n_events


def unlisted(provenance: Mapping[str, Any], has_head: bool) -> Seen:
    """Return what a checkpoint from before such lists saw: all that is known is the samples."""
    if not has_head:
        return Seen(tuple(_unlisted_samples(provenance)))
    parts = [SeenEvents("training", "", Origin("unknown"), None)]
    if provenance.get("record", {}).get("mode") != "scratch":
        parts += _unlisted_samples(provenance.get("pretraining", {}))
    return Seen(tuple(parts))


def _unlisted_samples(provenance: Mapping[str, Any]) -> list[SeenEvents]:
    rows = provenance.get("data") or [{}]
    kinds: dict[Any, Literal["simulation", "collisions"]] = {
        True: "simulation",
        False: "collisions",
    }
    return [
        SeenEvents(
            "pretraining",
            str(row.get("sample", "")),
            Origin(kinds.get(row.get("is_simulation"), "unknown")),
            None,
        )
        for row in rows
    ]


def _merged(parts: Iterable[SeenEvents]) -> tuple[SeenEvents, ...]:
    """One part per step, sample and origin, its list sorted, each event once."""
    groups: dict[tuple[Role, str, Origin], list[Hashes | None]] = {}
    for part in parts:
        groups.setdefault((part.role, part.sample, part.origin), []).append(part.hashes)
    merged = []
    for key, lists in groups.items():
        listed = [hashes for hashes in lists if hashes is not None]
        whole = np.unique(np.concatenate(listed)) if len(listed) == len(lists) else None
        merged.append(SeenEvents(*key, whole))
    return tuple(merged)
