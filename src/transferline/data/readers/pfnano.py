"""CMS PFNano: the constituents of the jets of NanoAOD (open data records 31300 to 31316)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import ClassVar, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import ID_DTYPE, Events
from transferline.data.layouts import nanoaod, pfnano
from transferline.data.layouts.jet_table import JetTable
from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import CHUNK_SIZE, Columns, Source
from transferline.data.readers.jet_columns import Plan, labels_of, offered, species_of_pdg
from transferline.data.readers.jet_sets import nested_columns, pieces, single_columns
from transferline.data.readers.jet_values import (
    Raw,
    Values,
    jet_sets,
    lists,
    same_bounds,
    scalar,
)
from transferline.data.readers.nanoaod import runs_sums
from transferline.data.readers.rootfile import (
    RootReader,
    iterated,
    missing_branches,
    open_root,
    open_tree,
    opened_status,
    read_provenance,
)
from transferline.errors import DataError

_WHERE = f"tree '{pfnano.TREE}'"
_STEP = 2_000  # events that are read at a time: each holds hundreds of candidates
Offsets = NDArray[np.int64]


class PFNano(RootReader):
    """CMS PFNano: jets of NanoAOD with their particle-flow constituents.

    Attributes:
        jets: `FatJet` (AK8) or `Jet` (AK4).
        sets: `jets` gives every jet as a set of its own; `events` gives events of jets of
            constituents (collections `jet` and, nested, `constituent`).

    Columns are those of `jetclass` and `puppi_weight`, impact parameters in mm; candidates without
    a track have 0 there. Jets of one event share its identity and its weight. The other objects
    of such files are read by `nanoaod`.
    """

    kind: Literal["pfnano"] = "pfnano"
    step: ClassVar[int] = _STEP
    jets: Literal["FatJet", "Jet"] = "FatJet"
    sets: Literal["jets", "events"] = "jets"

    @property
    def _table(self) -> JetTable:
        return pfnano.pfnano(self.jets)

    def offers(self, path: str) -> dict[str, list[str]]:
        """Return collection -> columns that this file has."""
        with open_root(path, self.patience) as file:
            name = public_name(path)
            branches = open_tree(file, name, pfnano.TREE).keys()
            self._plan(name, branches, {})
            return self._offered(branches)

    def _offered(self, branches: list[str]) -> dict[str, list[str]]:
        found = offered(self._table, branches)
        if self.sets == "jets":
            return found
        return nested_columns(found, labels_of(self._table, branches))

    def _plan(self, name: str, branches: list[str], columns: Columns) -> Plan:
        _check_complete(name, branches, self.jets)
        wanted = single_columns(name, columns) if self.sets == "events" else columns
        return Plan.make(name, self._table, branches, wanted, _WHERE)

    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Describe one file; checks that `columns` can be read and adds up `Runs`.

        Entries and sums are those of events, not of jets.
        """
        name = public_name(path)
        with open_root(path, self.patience) as file:
            status = opened_status(file, path)
            tree = open_tree(file, name, pfnano.TREE)
            branches, entries = tree.keys(), int(tree.num_entries)
            self._plan(name, branches, columns or {})
            is_simulation = nanoaod.GEN_WEIGHT in branches
            return Source(
                path=name,
                entries=entries,
                format=f"PFNano, {self.jets}",
                is_simulation=is_simulation,
                **asdict(status),
                provenance=read_provenance(file, name),
                **runs_sums(file, name, is_simulation, entries),
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
            tree = open_tree(file, name, pfnano.TREE)
            branches = tree.keys()
            wanted = self._offered(branches) if columns is None else columns
            plan = self._plan(name, branches, wanted)
            weight = [nanoaod.GEN_WEIGHT] if nanoaod.GEN_WEIGHT in branches else []
            pair = _pair(branches, self.jets)
            names = [*plan.branches(), *pair, *nanoaod.EVENT_ID, *weight]
            chunks = iterated(tree, list(dict.fromkeys(names)), start, stop, min(chunk_size, _STEP))
            for arrays in chunks:
                yield from pieces(self._events(name, plan, arrays, pair), chunk_size)

    def _events(
        self, path: str, plan: Plan, arrays: Mapping[str, ak.Array], pair: tuple[str, str]
    ) -> Events:
        bounds, raw = _raw(path, plan, arrays, pair)
        identity = _identity(path, arrays)
        weight = _weight(path, arrays, len(identity))
        counts = np.diff(bounds)
        jets = jet_sets(plan, raw, constituent, self._context, np.repeat(identity, counts))
        if self.sets == "events":
            return jets.nested(bounds, weight, identity)
        return replace(jets, weight=np.repeat(weight, counts)).events()

    def _context(self, column: str, raw: Raw) -> Values:
        ((branch,),) = self._table.context[column]
        return raw.jet[branch]


def _candidates(branches: list[str], jets: str, names: tuple[str, ...]) -> str:
    """Return the branch of the table of pairs that has one of these names; the first if none."""
    full = [f"{jets}PFCands_{name}" for name in names]
    return next((name for name in full if name in branches), full[0])


def _pair(branches: list[str], jets: str) -> tuple[str, str]:
    """Return the branches with the jet and with the candidate of every pair."""
    return (
        _candidates(branches, jets, pfnano.INDEX_OF_JET),
        _candidates(branches, jets, pfnano.INDEX_OF_CANDIDATE),
    )


def _check_complete(path: str, branches: list[str], jets: str) -> None:
    """Raise one DataError about what makes NanoAOD to PFNano, before columns are looked for."""
    rows = [([name], f"the constituents of {jets}") for name in _pair(branches, jets)]
    rows += [([name], "the event's identity") for name in nanoaod.EVENT_ID]
    lacking = [(names, what) for names, what in rows if names[0] not in branches]
    if any(name in branches for name in nanoaod.SIMULATION_ONLY):
        weight = ([nanoaod.GEN_WEIGHT], "simulated events need their signed weight")
        lacking += [] if nanoaod.GEN_WEIGHT in branches else [weight]
    if lacking:
        plain = "" if "PFCands_pt" in branches else " Plain NanoAOD holds no constituents."
        raise DataError(missing_branches(path, lacking, branches, _WHERE) + plain)


def _raw(
    path: str, plan: Plan, arrays: Mapping[str, ak.Array], pair: tuple[str, str]
) -> tuple[Offsets, Raw]:
    """Gather the candidates of every jet; return the bounds of the events among the jets, too."""
    jet: dict[str, Values] = {}
    found: dict[str, Values] = {}
    bounds: Offsets | None = None
    candidates: Offsets | None = None
    for branch in plan.branches():
        (own,), numbers = lists(path, branch, arrays[branch])
        if branch.startswith("PFCands_"):
            same_bounds(path, branch, own, own if candidates is None else candidates)
            candidates, found[branch] = own, numbers
        else:
            same_bounds(path, branch, own, own if bounds is None else bounds)
            bounds, jet[branch] = own, numbers
    assert bounds is not None  # the plan holds the jets' pt
    if candidates is None:
        return bounds, Raw(path, np.zeros(int(bounds[-1]) + 1, np.int64), jet, {})
    (of_pairs,), in_jet = lists(path, pair[0], arrays[pair[0]])
    (same,), in_list = lists(path, pair[1], arrays[pair[1]])
    same_bounds(path, pair[1], same, of_pairs)
    event = np.repeat(np.arange(len(of_pairs) - 1), np.diff(of_pairs))
    parent = _global(path, pair[0], in_jet, event, bounds)
    rows = _global(path, pair[1], in_list, event, candidates)
    order = np.argsort(parent, kind="stable")
    rows, parent = rows[order], parent[order]
    offsets = np.zeros(int(bounds[-1]) + 1, np.int64)
    np.cumsum(np.bincount(parent, minlength=int(bounds[-1])), out=offsets[1:])
    return bounds, Raw(path, offsets, jet, {b: values[rows] for b, values in found.items()})


def _global(
    path: str, branch: str, index: Values, event: NDArray[np.intp], bounds: Offsets
) -> NDArray[np.int64]:
    """Turn indices within events into places in what is laid end to end."""
    local = index.astype(np.int64)
    bad = (local < 0) | (local >= np.diff(bounds)[event])
    if bad.any():
        have = int(np.diff(bounds)[event][bad][0])
        raise DataError(
            f"{path}: branch {branch} points at number {int(local[bad][0])}, where the event has "
            f"{have}; {int(bad.sum())} such in this part of the file."
        )
    places: NDArray[np.int64] = local + bounds[event]
    return places


def _identity(path: str, arrays: Mapping[str, ak.Array]) -> NDArray[np.void]:
    columns = [scalar(path, branch, arrays[branch]) for branch in nanoaod.EVENT_ID]
    identity = np.empty(len(columns[0]), ID_DTYPE)
    for field, values in zip(("run", "lumi", "event"), columns, strict=True):
        identity[field] = values
    return identity


def _weight(path: str, arrays: Mapping[str, ak.Array], n: int) -> NDArray[np.float64]:
    if nanoaod.GEN_WEIGHT not in arrays:
        return np.ones(n)
    weight = scalar(path, nanoaod.GEN_WEIGHT, arrays[nanoaod.GEN_WEIGHT]).astype(np.float64)
    if not np.isfinite(weight).all():
        raise DataError(f"{path}: branch {nanoaod.GEN_WEIGHT} has values that are not finite.")
    return weight


def constituent(column: str, raw: Raw) -> Values:
    """Return one column of the particles, `[k]`."""
    if column == "species":
        return species_of_pdg(raw.part[pfnano.PDG_ID], raw.part[pfnano.CHARGE])
    way = pfnano.pfnano("FatJet").constituents[column][0]
    values = raw.part[way[0]]
    if column not in {"d0", "d0err", "dz", "dzerr"}:
        return values
    # The last branch is the error: below zero it says that there is no track. The sign of d0 in
    # `Events` is not that of CMS.
    scale = -pfnano.MM_PER_CM if column == "d0" else pfnano.MM_PER_CM
    return np.where(raw.part[way[-1]] < 0, 0.0, scale * values.astype(np.float64))
