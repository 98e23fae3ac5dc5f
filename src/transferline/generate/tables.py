"""Event content as plain columns: scalars per event and collections of varying length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transferline.generate.compiled import Array


@dataclass(frozen=True)
class Collection:
    """Objects of one kind, event by event: `counts [n]` and columns laid end to end."""

    counts: Array
    columns: dict[str, Array]

    @classmethod
    def sorted_by_pt(cls, n: int, event: Array, columns: dict[str, Array]) -> Collection:
        """Order objects by event, then by falling pT."""
        order = np.lexsort((-columns["pt"], event))
        return cls.grouped(n, event[order], {k: v[order] for k, v in columns.items()})

    @classmethod
    def grouped(cls, n: int, event: Array, columns: dict[str, Array]) -> Collection:
        """Take objects that are already ordered by event."""
        return cls(np.bincount(event, minlength=n), columns)

    @property
    def event(self) -> Array:
        """Event number of every object."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def offsets(self) -> Array:
        """Bounds of every event."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def __getitem__(self, name: str) -> Array:
        """Return one column."""
        return self.columns[name]

    def __len__(self) -> int:
        """Number of objects in all events."""
        return int(self.counts.sum())

    def add(self, **columns: Array) -> Collection:
        """Return the same objects with more columns."""
        return Collection(self.counts, {**self.columns, **columns})

    def events(self, order: Array) -> Collection:
        """Return the events `order`, in that order."""
        counts = self.counts[order]
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        index = np.repeat(self.offsets[order], counts) + inside
        return Collection(counts, {k: v[index] for k, v in self.columns.items()})

    @property
    def slot(self) -> Array:
        """Number of every object within its event."""
        return np.asarray(np.arange(len(self)) - np.repeat(self.offsets[:-1], self.counts))


@dataclass(frozen=True)
class EventTable:
    """The content of `n` events."""

    scalars: dict[str, Array]
    collections: dict[str, Collection]

    @property
    def n(self) -> int:
        """Number of events."""
        scalars, collections = self.scalars.values(), self.collections.values()
        return len(next(iter(scalars)) if scalars else next(iter(collections)).counts)

    def take(self, order: Array) -> EventTable:
        """Return the events `order`, in that order."""
        return EventTable(
            {k: v[order] for k, v in self.scalars.items()},
            {k: v.events(order) for k, v in self.collections.items()},
        )


def concatenate(tables: Sequence[EventTable]) -> EventTable:
    """Put tables with equal columns end to end."""
    first = tables[0]
    scalars = {k: np.concatenate([t.scalars[k] for t in tables]) for k in first.scalars}
    collections = {
        name: Collection(
            np.concatenate([t.collections[name].counts for t in tables]),
            {
                k: np.concatenate([t.collections[name].columns[k] for t in tables])
                for k in first.collections[name].columns
            },
        )
        for name in first.collections
    }
    return EventTable(scalars, collections)


def in_baskets(tables: Iterable[EventTable], size: int) -> Iterator[EventTable]:
    """Join small tables to at least `size` events: each basket of a ROOT file has a cost."""
    waiting: list[EventTable] = []
    for table in tables:
        waiting.append(table)
        if sum(t.n for t in waiting) >= size:
            yield concatenate(waiting)
            waiting = []
    if waiting:
        yield concatenate(waiting)
