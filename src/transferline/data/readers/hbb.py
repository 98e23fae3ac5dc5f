"""CMS open data record 12102 (X to bb): ROOT, one entry per jet or one entry per event.

The layouts are told apart from the branches, never from the file's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import Events
from transferline.data.layouts import hbb as layout
from transferline.data.layouts.hbb import HBB
from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import CHUNK_SIZE, Columns, Source, unit_sums
from transferline.data.readers.jet_columns import Plan, labels_of, offered, species_of
from transferline.data.readers.jet_sets import (
    JetSets,
    content_identity,
    nested_columns,
    pieces,
    single_columns,
)
from transferline.data.readers.jet_values import (
    Raw,
    Values,
    error_of,
    jet_sets,
    lists,
    mass_of,
    same_bounds,
    scalar,
)
from transferline.data.readers.rootfile import (
    RootReader,
    iterated,
    open_root,
    open_tree,
    opened_status,
    read_provenance,
)
from transferline.errors import DataError

_WHERE = f"tree '{HBB.tree}'"
_STEP = 2_000  # entries read at a time: an event may hold five jets of a hundred candidates
Offsets = NDArray[np.int64]


class Hbb(RootReader):
    """CMS record 12102: large-radius jets with their candidates, one entry per jet or per event.

    Attributes:
        sets: `jets` gives every jet as a set of its own, from both layouts. `events` gives events
            of jets of constituents (collections `jet` and, nested, `constituent`), from files
            with one entry per event only.

    Columns are those of `jetclass`, impact parameters in mm. Labels are `label_*`, `isH`, `isQCD`
    and `sample_isQCD`. Jets of one event share its identity where the files tell it.
    """

    kind: Literal["hbb"] = "hbb"
    step: ClassVar[int] = _STEP
    sets: Literal["jets", "events"] = "jets"

    def offers(self, path: str) -> dict[str, list[str]]:
        """Return collection -> columns that this file has."""
        with open_root(path, self.patience) as file:
            tree = self._tree(file, public_name(path))
            return self._offered(tree.keys())

    def _offered(self, branches: list[str]) -> dict[str, list[str]]:
        found = offered(HBB, branches)
        return nested_columns(found, labels_of(HBB, branches)) if self.sets == "events" else found

    def _tree(self, file: Any, name: str) -> Any:
        """Return the tree, if it holds such sets."""
        tree = open_tree(file, name, HBB.tree)
        Plan.make(name, HBB, tree.keys(), {}, _WHERE)
        if self.sets == "events" and not is_jagged(tree):
            raise DataError(
                f"{name}: has one entry per jet, so it holds no events. The published record 12102 "
                "is so: its jets were mixed at random and carry no run or luminosity block, and "
                "X to HH events cannot be put together again. Use files with one entry per event "
                "(jagged fj_* branches), or ask for single jets (`sets: jets`)."
            )
        return tree

    def _plan(self, name: str, tree: Any, columns: Columns) -> Plan:
        branches = tree.keys()
        wanted = single_columns(columns) if self.sets == "events" else columns
        return Plan.make(name, HBB, branches, wanted, _WHERE)

    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Describe one file; checks that `columns` can be read, and that there are events."""
        name = public_name(path)
        with open_root(path, self.patience) as file:
            status = opened_status(file, path)
            tree = self._tree(file, name)
            self._plan(name, tree, columns or {})
            entries = int(tree.num_entries)
            return Source(
                path=name,
                entries=entries,
                format=f"{HBB.format}, one entry per {'event' if is_jagged(tree) else 'jet'}",
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
        """Yield the sets in some entries of one file, `chunk_size` sets at most at a time."""
        with open_root(path, self.patience) as file:
            name = public_name(path)
            tree = self._tree(file, name)
            branches = tree.keys()
            wanted = self._offered(branches) if columns is None else columns
            plan = self._plan(name, tree, wanted)
            jagged = is_jagged(tree)
            of_event = [b for b in layout.EVENT if b in branches and not _is_list(tree[b])]
            chunks = iterated(
                tree,
                list(dict.fromkeys([*plan.branches(), *of_event])),
                start,
                stop,
                min(chunk_size, _STEP),
            )
            for arrays in chunks:
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
        bounds, raw = _raw(path, plan, arrays, of_event, jagged)
        event = _identity(arrays, of_event, bounds, raw)
        jet = event if bounds is None else np.repeat(event, np.diff(bounds))
        jets: JetSets = jet_sets(plan, raw, constituent, context, jet)
        if self.sets == "jets":
            return jets.events()
        assert bounds is not None  # _tree has refused files of jets
        return jets.nested(bounds, np.ones(len(event)), event)


def is_jagged(tree: Any) -> bool:
    """Tell whether a tree of this format has one entry per event: its jets come in lists."""
    return _is_list(tree[layout.SHAPE])


def _is_list(branch: Any) -> bool:
    name = str(branch.typename)
    return "[" in name or "vector" in name


def _raw(
    path: str, plan: Plan, arrays: Mapping[str, ak.Array], of_event: list[str], jagged: bool
) -> tuple[Offsets | None, Raw]:
    """Take the branches apart; return the bounds of the events among the jets, if there are."""
    depth = int(jagged)
    jet: dict[str, Values] = {}
    part: dict[str, Values] = {}
    events: Offsets | None = None
    offsets: Offsets | None = None
    for branch in plan.branches():
        values = arrays[branch]
        if jagged and branch not in of_event and values.ndim == 1:
            # A label of the whole event, such as `sample_isQCD`, belongs to each of its jets.
            counts = np.diff(lists(path, layout.SHAPE, arrays[layout.SHAPE])[0][0])
            jet[branch] = np.repeat(scalar(path, branch, values), counts)
            continue
        particles = branch.startswith("pfcand_")
        found, numbers = lists(path, branch, values, depth + particles)
        if jagged:
            same_bounds(path, branch, found[0], found[0] if events is None else events)
            events = found[0]
        if particles:
            same_bounds(path, branch, found[-1], found[-1] if offsets is None else offsets)
            offsets, part[branch] = found[-1], numbers
        else:
            jet[branch] = numbers
    if offsets is None:
        offsets = np.zeros(len(jet[layout.SHAPE]) + 1, np.int64)
    return events, Raw(path, offsets, jet, part)


def _identity(
    arrays: Mapping[str, ak.Array], of_event: list[str], bounds: Offsets | None, raw: Raw
) -> NDArray[np.void]:
    """Identify the entries: by what the file says of the event, else by the jets."""
    if of_event:
        return content_identity(*(scalar(raw.path, b, arrays[b]) for b in of_event))
    jets = [raw.jet[branch] for branch in HBB.identity]
    if bounds is None:
        return content_identity(*jets)
    # The leading jet of every event; an event without jets is like any other such.
    some = np.diff(bounds) > 0
    first = [np.zeros(len(some)) for _ in jets]
    for values, column in zip(first, jets, strict=True):
        values[some] = column[bounds[:-1][some]]
    return content_identity(*first)


def constituent(column: str, raw: Raw) -> Values:
    """Return one column of the particles, `[k]`."""
    if column == "species":
        return species_of({name: raw.part[flag] for flag, name in layout.FLAGS.items()})
    if column == "charge":
        return raw.part["pfcand_charge"]
    if column in {"d0", "dz"}:
        return layout.MM_PER_CM * raw.wide(_IMPACT[column])
    if column in {"d0err", "dzerr"}:
        value = _IMPACT[column.removesuffix("err")]
        return layout.MM_PER_CM * error_of(raw.wide(value), raw.wide(f"{value}sig"))
    return _momentum(column, raw)


_IMPACT = {"d0": "pfcand_dxy", "dz": "pfcand_dz"}


def _momentum(column: str, raw: Raw) -> Values:
    if column == "phi":
        phi = raw.wide("fj_phi") + raw.wide("pfcand_phirel")
        return (phi + np.pi) % (2 * np.pi) - np.pi
    if column == "mass" and "pfcand_mass" in raw.part:
        return raw.part["pfcand_mass"]
    if column == "pt":
        return raw.wide("pfcand_ptrel") * raw.wide("fj_pt")
    jet_eta = raw.wide("fj_eta")
    eta = jet_eta + np.where(jet_eta > 0, 1.0, -1.0) * raw.wide("pfcand_etarel")
    if column == "eta":
        return eta
    jet_p = raw.wide("fj_pt") * np.cosh(jet_eta)
    energy = raw.wide("pfcand_erel") * np.hypot(jet_p, raw.wide("fj_mass"))
    return mass_of(energy, raw.wide("pfcand_ptrel") * raw.wide("fj_pt") * np.cosh(eta))


def context(column: str, raw: Raw) -> Values:
    """Return one column of the jets, `[m]`."""
    ((branch,),) = HBB.context[column]
    return raw.jet[branch]
