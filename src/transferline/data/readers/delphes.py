"""Delphes: jets of constituents, and the other objects of an event, by the names of branches.

Only named branches are read: the tree holds objects of many C++ classes, and reading all of it
fails on some and is slow on others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import ClassVar, Literal

import awkward as ak
import numpy as np
from pydantic import Field

from transferline.data.events import Events
from transferline.data.layouts import delphes as layout
from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import CHUNK_SIZE, Columns, Source
from transferline.data.readers.delphes_values import (
    Found,
    check_objects,
    constituent,
    context,
    object_records,
    offered_objects,
    raw_jets,
    singles,
)
from transferline.data.readers.jet_columns import (
    CONSTITUENT,
    CONTEXT,
    JET,
    Plan,
    labels_of,
    offered,
)
from transferline.data.readers.jet_sets import (
    content_identity,
    nested_columns,
    pieces,
    single_columns,
)
from transferline.data.readers.jet_values import jet_sets
from transferline.data.readers.rootfile import (
    RootReader,
    iterated,
    open_root,
    open_tree,
    opened_status,
)
from transferline.errors import DataError

_STEP = 1_000  # events that are read at a time: each holds hundreds of candidates


class Delphes(RootReader):
    """Delphes: jets with the particles they refer to, and other objects.

    Attributes:
        jets: the collection of jets; by default the first that the file has of `FatJet`,
            `JetPUPPIAK8`, `JetAK8`, `JetPUPPI`, `Jet`.
        sets: `jets` gives every jet as a set of its own; `events` gives events with the
            collections `jet`, `constituent` (nested), `electron`, `muon`, `photon`, `met`.

    Columns of jets are those of `jetclass`. The weight is `Event.Weight`. Jets of one event share
    its identity, which is a hash of its number and its missing momentum.
    """

    kind: Literal["delphes"] = "delphes"
    step: ClassVar[int] = _STEP
    jets: str | None = Field(None, pattern=r"^\w+$")
    sets: Literal["jets", "events"] = "jets"

    def offers(self, path: str) -> dict[str, list[str]]:
        """Return collection -> columns that this file has."""
        with open_root(path, self.patience) as file:
            name = public_name(path)
            branches = open_tree(file, name, layout.TREE).keys()
            found = Found.of(name, branches, self.jets)
            found.plan({})
            return self._offered(found)

    def _offered(self, found: Found) -> dict[str, list[str]]:
        single = offered(found.table, found.branches)
        if self.sets == "jets":
            return single
        nested = nested_columns(single, labels_of(found.table, found.branches))
        return {**nested, **offered_objects(found.branches)}

    def _plan(self, found: Found, columns: Columns) -> Plan:
        if self.sets == "jets":
            return found.plan(columns)
        own = {name: columns[name] for name in columns if name in {JET, CONSTITUENT, CONTEXT}}
        check_objects(found, {name: columns[name] for name in columns if name not in own})
        return found.plan(single_columns(found.path, own))

    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Describe one file; checks that `columns` can be read and adds up the weights.

        Entries and sums are those of events, not of jets.
        """
        name = public_name(path)
        with open_root(path, self.patience) as file:
            status = opened_status(file, path)
            tree = open_tree(file, name, layout.TREE)
            found = Found.of(name, tree.keys(), self.jets)
            self._plan(found, columns or {})
            weight = singles(name, layout.WEIGHT, tree[layout.WEIGHT].array())
            if not np.isfinite(weight).all():
                raise DataError(f"{name}: branch {layout.WEIGHT} has values that are not finite.")
            return Source(
                path=name,
                entries=int(tree.num_entries),
                format=f"Delphes, {found.jets}",
                is_simulation=True,
                **asdict(status),
                count=int(tree.num_entries),
                sum_weight=float(weight.sum()),
                sum_weight2=float(np.square(weight).sum()),
            )

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        columns: Columns | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> Iterator[Events]:
        """Yield the sets in some entries of one file, `chunk_size` sets at most at a time."""
        with open_root(path, self.patience) as file:
            name = public_name(path)
            tree = open_tree(file, name, layout.TREE)
            found = Found.of(name, tree.keys(), self.jets)
            wanted = self._offered(found) if columns is None else columns
            plan = self._plan(found, wanted)
            objects = {c: wanted[c] for c in layout.OBJECTS if wanted.get(c)}
            chunks = iterated(
                tree, found.to_read(plan, objects), start, stop, min(chunk_size, _STEP)
            )
            for arrays in chunks:
                events = self._events(found, plan, arrays, objects)
                yield from pieces(events, chunk_size)

    def _events(
        self,
        found: Found,
        plan: Plan,
        arrays: Mapping[str, ak.Array],
        objects: Columns,
    ) -> Events:
        path = found.path
        number = singles(path, layout.EVENT_NUMBER, arrays[layout.EVENT_NUMBER])
        weight = singles(path, layout.WEIGHT, arrays[layout.WEIGHT]).astype(np.float64)
        more = [singles(path, b, arrays[b]) for b in found.identity]
        identity = content_identity(number, *more)
        bounds, raw = raw_jets(found, plan, arrays)
        counts = np.diff(bounds)
        jets = jet_sets(plan, raw, constituent, context, np.repeat(identity, counts))
        if self.sets == "jets":
            return replace(jets, weight=np.repeat(weight, counts)).events()
        events = jets.nested(bounds, weight, identity)
        others = {name: object_records(path, name, objects, arrays) for name in objects}
        return replace(events, particles={**events.particles, **others})
