"""Formats of jets that come with one entry per jet or with one per event: what they share.

The layouts are told apart from the branches, never from the file's name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import Events
from transferline.data.layouts.jet_table import JetTable
from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import CHUNK_SIZE, Columns, Source, unit_sums
from transferline.data.readers.jet_columns import Plan, labels_of, offered
from transferline.data.readers.jet_sets import (
    JetSets,
    content_identity,
    nested_columns,
    pieces,
    single_columns,
)
from transferline.data.readers.jet_values import Raw, Values, lists, same_bounds, scalar
from transferline.data.readers.rootfile import (
    RootReader,
    iterated,
    open_root,
    open_tree,
    opened_status,
    read_provenance,
)
from transferline.errors import DataError

Offsets = NDArray[np.int64]

_EVENTS = 2_000  # read at a time: an event may hold five jets of a hundred particles


class RootJets(RootReader):
    """Large-radius jets with their particles, ROOT, one entry per jet or per event.

    A format says its `table`, branches `of_event` that are numbers of the event (the first of them
    is there, or none counts), what files of jets lack to hold events (`no_events`), whether jets
    of one entry are `replicas` of one jet, which share its weight, and `jet_sets`.

    Attributes:
        sets: `jets` gives every jet as a set of its own, from both layouts. `events` gives events
            of jets of constituents (collections `jet` and, nested, `constituent`), from files
            with one entry per event only.
    """

    table: ClassVar[JetTable]
    of_event: ClassVar[tuple[str, ...]] = ()
    no_events: ClassVar[str]
    replicas: ClassVar[bool] = False
    sets: Literal["jets", "events"] = "jets"

    @abstractmethod
    def jet_sets(self, plan: Plan, raw: Raw, identity: NDArray[np.void]) -> JetSets:
        """Compute the columns of a plan."""

    def format_of(self, *, jagged: bool) -> str:
        """Name the layout of a file for people."""
        return f"{self.table.format}, one entry per {'event' if jagged else 'jet'}"

    def offers(self, path: str) -> dict[str, list[str]]:
        """Return collection -> columns that this file has."""
        with open_root(path, self.patience) as file:
            tree, _ = self._tree(file, public_name(path))
            return self._offered(tree.keys())

    def _offered(self, branches: list[str]) -> dict[str, list[str]]:
        found = offered(self.table, branches)
        labels = labels_of(self.table, branches)
        return nested_columns(found, labels) if self.sets == "events" else found

    def _tree(self, file: Any, name: str, columns: Columns | None = None) -> tuple[Any, Plan]:
        """Return the tree, if it holds such sets, and the branches behind `columns`."""
        tree = open_tree(file, name, self.table.tree)
        plan = self._plan(name, tree.keys(), columns or {})
        if self.sets == "events" and not is_jagged(tree, self.table):
            raise DataError(
                f"{name}: has one entry per jet, so it holds no events. {self.no_events}, or ask "
                "for single jets (`sets: jets`)."
            )
        return tree, plan

    def _plan(self, name: str, branches: list[str], columns: Columns) -> Plan:
        wanted = single_columns(name, columns) if self.sets == "events" else columns
        return Plan.make(name, self.table, branches, wanted, f"tree '{self.table.tree}'")

    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Describe one file; checks that `columns` can be read, and that there are events."""
        name = public_name(path)
        with open_root(path, self.patience) as file:
            status = opened_status(file, path)
            tree, _ = self._tree(file, name, columns)
            entries = int(tree.num_entries)
            return Source(
                path=name,
                entries=entries,
                format=self.format_of(jagged=is_jagged(tree, self.table)),
                is_simulation=True,
                **asdict(status),
                **unit_sums(entries),
                provenance=read_provenance(file, name),
            )

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        columns: Columns | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> Iterator[Events]:
        """Yield the sets in some entries of one file, `chunk_size` sets at most at a time.

        Raises:
            DataError: a branch holds another type or other counts, or a momentum is not finite.
        """
        with open_root(path, self.patience) as file:
            name = public_name(path)
            tree, plan = self._tree(file, name, columns)
            branches = tree.keys()
            if columns is None:
                plan = self._plan(name, branches, self._offered(branches))
            jagged = is_jagged(tree, self.table)
            of_event = [b for b in self.of_event if b in branches and not _is_list(tree[b])]
            if of_event[:1] != list(self.of_event[:1]):
                of_event = []  # what is beside the number is that of many events
            names = list(dict.fromkeys([*plan.branches(), *of_event]))
            step = min(chunk_size, self.step, _EVENTS) if jagged else min(chunk_size, self.step)
            for arrays in iterated(tree, names, start, stop, step):
                events = self._events(name, plan, arrays, of_event, jagged)
                yield from pieces(events, chunk_size)

    def _events(
        self,
        path: str,
        plan: Plan,
        arrays: Mapping[str, ak.Array],
        of_event: list[str],
        jagged: bool,
    ) -> Events:
        bounds, raw = taken_apart(path, plan, arrays, self.table, of_event, jagged=jagged)
        numbers = [scalar(path, branch, arrays[branch]) for branch in of_event]
        event = _identity(plan, numbers, bounds, raw)
        counts = np.ones(len(event), np.int64) if bounds is None else np.diff(bounds)
        jets = self.jet_sets(plan, raw, np.repeat(event, counts))
        if self.sets == "jets":
            if self.replicas:  # sums of weights before any cut count entries
                jets = replace(jets, weight=1.0 / np.repeat(counts, counts))
            return jets.events()
        assert bounds is not None  # _tree has refused files of jets
        return jets.nested(bounds, np.ones(len(event)), event)


def is_jagged(tree: Any, table: JetTable) -> bool:
    """Tell whether a tree of a format has one entry per event: its jets come in lists."""
    return _is_list(tree[table.shape])


def _is_list(branch: Any) -> bool:
    name = str(branch.typename)
    return "[" in name or "vector" in name


def taken_apart(
    path: str,
    plan: Plan,
    arrays: Mapping[str, ak.Array],
    table: JetTable,
    of_event: Sequence[str] = (),
    *,
    jagged: bool = False,
) -> tuple[Offsets | None, Raw]:
    """Take the branches of some entries apart.

    Args:
        path: the file, for errors.
        plan: the branches.
        arrays: branch -> array of the entries.
        table: the format.
        of_event: branches of the plan that are numbers of the event whatever the layout is.
        jagged: entries are events with lists of jets.

    Returns:
        The bounds of the events among the jets, if there are events, and the branches.

    Raises:
        DataError: a branch holds another type or other counts.
    """
    jet: dict[str, Values] = {}
    part: dict[str, Values] = {}
    events: Offsets | None = None
    offsets: Offsets | None = None
    for branch in plan.branches():
        values = arrays[branch]
        particles = branch.startswith(table.particles)
        if not jagged and not particles:
            jet[branch] = scalar(path, branch, values)
            continue
        if jagged and branch not in of_event and values.ndim == 1:
            # A label of the whole event, such as `sample_isQCD`, belongs to each of its jets.
            counts = np.diff(lists(path, table.shape, arrays[table.shape])[0][0])
            jet[branch] = np.repeat(scalar(path, branch, values), counts)
            continue
        found, numbers = lists(path, branch, values, int(jagged) + particles)
        if jagged:
            same_bounds(path, branch, found[0], found[0] if events is None else events)
            events = found[0]
        if particles:
            same_bounds(path, branch, found[-1], found[-1] if offsets is None else offsets)
            offsets, part[branch] = found[-1], numbers
        else:
            jet[branch] = numbers
    if offsets is None:
        offsets = np.zeros(len(jet[table.shape]) + 1, np.int64)
    return events, Raw(path, offsets, jet, part)


def _identity(
    plan: Plan, numbers: Sequence[Values], bounds: Offsets | None, raw: Raw
) -> NDArray[np.void]:
    """Identify the entries: by what the file says of the event, else by the jets."""
    if numbers:
        return content_identity(*numbers)
    jets = [raw.jet[branch] for branch in plan.identity]
    if bounds is None:
        return content_identity(*jets)
    # The first jet of every event; an event without jets is like any other such.
    some = np.diff(bounds) > 0
    first = [np.zeros(len(some)) for _ in jets]
    for values, column in zip(first, jets, strict=True):
        values[some] = column[bounds[:-1][some]]
    return content_identity(*first)
