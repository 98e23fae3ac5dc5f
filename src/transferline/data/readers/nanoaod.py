"""CMS NanoAOD, versions 7 to 15, collision data and simulation.

Column names are ours; the alias table stands in `transferline.data.layouts.nanoaod`. The
version is told from the branches, never from the file's name.
"""

from __future__ import annotations

from collections.abc import Collection as CollectionABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import ID_DTYPE, Events
from transferline.data.layouts import nanoaod as layout
from transferline.data.readers.base import CHUNK_SIZE, Columns, Reader, Source, file_status
from transferline.data.readers.rootfile import (
    missing_branch,
    open_root,
    open_tree,
    read_provenance,
)
from transferline.errors import DataError

TREE = "Events"


@dataclass(frozen=True)
class Version:
    """A NanoAOD version with the branch that gave it away."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"v{self.number}"


def detect_version(branches: CollectionABC[str]) -> Version:
    """Tell the NanoAOD version from the names of the branches of `Events`.

    >>> str(detect_version({"Jet_btagPNetB", "Jet_btagDeepFlavB"}))
    'v12'
    """
    names = set(branches)
    for number, markers, why in layout.VERSION_MARKERS:
        found = next((name for name in markers if name in names), None)
        if found:
            return Version(number, f"has {found}: {why}")
    return Version(layout.FALLBACK_VERSION, "no telling branch: taken as Run 2 UL")


class NanoAOD(Reader):
    """CMS NanoAOD files.

    Collections `electron muon tau jet met`, and `context` with triggers (`HLT_*`), filters
    (`Flag_*`) and a few event scalars. A trigger that a file lacks reads as not fired, a filter
    as passed; both are counted. The weight is `genWeight`, or 1 for collision data.
    """

    kind: Literal["nanoaod"] = "nanoaod"

    def offers(self, path: str) -> dict[str, list[str]]:
        """Return collection -> columns that this file has."""
        with open_root(path) as file:
            return offered_columns(set(_branches(file, path)))

    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Describe one file; checks that `columns` can be read and adds up `Runs`."""
        size, mtime = file_status(path)
        with open_root(path) as file:
            tree = open_tree(file, path, TREE)
            branches = set(tree.keys())
            plan = _Plan.make(path, tree, branches, columns or {})
            return Source(
                path=path,
                entries=int(tree.num_entries),
                format=f"NanoAOD{detect_version(branches)}",
                is_simulation=plan.is_simulation,
                size=size,
                mtime_ns=mtime,
                missing=tuple(plan.absent),
                provenance=read_provenance(file),
                **_sums(file, plan.is_simulation, int(tree.num_entries)),
            )

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        columns: Columns | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> Iterator[Events]:
        """Yield entries of one file; only the branches behind `columns` are read."""
        with open_root(path) as file:
            tree = open_tree(file, path, TREE)
            branches = set(tree.keys())
            wanted = offered_columns(branches) if columns is None else columns
            plan = _Plan.make(path, tree, branches, wanted)
            for low in range(start, stop, chunk_size):
                yield plan.read(tree, low, min(low + chunk_size, stop))


def offered_columns(branches: set[str]) -> dict[str, list[str]]:
    """Return collection -> columns for a file with these branches; empty collections left out."""
    offered: dict[str, list[str]] = {}
    for name, collection in layout.COLLECTIONS.items():
        columns = [c for c in collection.columns if find_branch(name, c, branches)]
        if columns:
            offered[name] = columns
    flags = (layout.TRIGGER_PREFIX, layout.FILTER_PREFIX)
    context = sorted(b for b in branches if b.startswith(flags) or b in layout.EVENT_SCALARS)
    return {**offered, "context": context}


def find_branch(collection: str, column: str, branches: set[str]) -> str | None:
    """Return the branch that holds a column, None if the file has none of its aliases."""
    names = branch_names(collection, column)
    return next((name for name in names if name in branches), None)


def branch_names(collection: str, column: str) -> list[str]:
    """Return all branches that can hold a column, in order of preference."""
    entry = layout.COLLECTIONS[collection]
    return [f"{p}_{a}" for p in entry.prefixes for a in entry.columns.get(column, ())]


def _branches(file: Any, path: str) -> list[str]:
    return list(open_tree(file, path, TREE).keys())


def _sums(file: Any, is_simulation: bool, entries: int) -> dict[str, Any]:
    """Add up events and weights before any cut, from the `Runs` tree."""
    if not is_simulation:
        return {"count": entries, "sum_weight": float(entries), "sum_weight2": float(entries)}
    if "Runs" not in file.keys(cycle=False):
        return {}
    runs = file["Runs"]
    sums: dict[str, Any] = {}
    for name, aliases in layout.RUNS_SUMS.items():
        branch = next((alias for alias in aliases if alias in runs), None)
        if branch is not None:
            total = np.sum(runs[branch].array(library="np"))
            sums[name] = int(total) if name == "count" else float(total)
    return sums


@dataclass(frozen=True)
class _Plan:
    """Which branches of one file to read, and how to turn them into Events."""

    path: str
    is_simulation: bool
    particles: Mapping[str, Mapping[str, str]]  # collection -> column -> branch
    context: Mapping[str, str | None]  # column -> branch, None = absent
    tau_bitmask: bool

    @property
    def absent(self) -> list[str]:
        return [name for name, branch in self.context.items() if branch is None]

    @classmethod
    def make(cls, path: str, tree: Any, branches: set[str], columns: Columns) -> _Plan:
        is_simulation = layout.GEN_WEIGHT in branches
        if not is_simulation and any(b in branches for b in layout.SIMULATION_ONLY):
            what = "simulated events need their signed weight"
            raise DataError(missing_branch(path, [layout.GEN_WEIGHT], what, branches))
        for name in layout.EVENT_ID:
            if name not in branches:
                raise DataError(missing_branch(path, [name], "the event's identity", branches))
        particles = {
            collection: {c: _require(path, collection, c, branches) for c in names}
            for collection, names in columns.items()
            if collection != "context" and names
        }
        context = {c: _context_branch(path, c, branches) for c in columns.get("context", ())}
        level = particles.get("tau", {}).get("vs_jet_level")
        bitmask = level is not None and _is_bitmask(tree, level, branches)
        return cls(path, is_simulation, particles, context, bitmask)

    def read(self, tree: Any, start: int, stop: int) -> Events:
        names = [b for columns in self.particles.values() for b in columns.values()]
        names += [b for b in self.context.values() if b is not None]
        names += [*layout.EVENT_ID, *([layout.GEN_WEIGHT] if self.is_simulation else [])]
        arrays = tree.arrays(
            list(dict.fromkeys(names)), entry_start=start, entry_stop=stop, how=dict
        )
        n = stop - start
        identity = np.empty(n, ID_DTYPE)
        for field, branch in zip(("run", "lumi", "event"), layout.EVENT_ID, strict=True):
            identity[field] = ak.to_numpy(arrays[branch])
        if self.is_simulation:
            weight = ak.to_numpy(arrays[layout.GEN_WEIGHT]).astype(np.float64)
        else:
            weight = np.ones(n)
        return Events(
            particles={c: self._collection(c, arrays) for c in self.particles},
            context={c: _context(c, b, arrays, n) for c, b in self.context.items()},
            weight=weight,
            id=identity,
        )

    def _collection(self, name: str, arrays: Mapping[str, ak.Array]) -> ak.Array:
        columns = {c: arrays[branch] for c, branch in self.particles[name].items()}
        if layout.COLLECTIONS[name].scalar:
            return _one_per_event(columns)
        records = _zip(columns, self.path, name)
        if name == "tau" and self.tau_bitmask:
            records = _levels(records)
        return records


def _require(path: str, collection: str, column: str, branches: set[str]) -> str:
    if collection not in layout.COLLECTIONS:
        known = ", ".join(layout.COLLECTIONS)
        raise DataError(f"NanoAOD has no collection '{collection}'. Known: {known}, context.")
    branch = find_branch(collection, column, branches)
    if branch is None:
        names = branch_names(collection, column)
        if not names:
            known = ", ".join(layout.COLLECTIONS[collection].columns)
            raise DataError(f"'{collection}' has no column '{column}'. Known: {known}.")
        raise DataError(missing_branch(path, names, f"column {collection}.{column}", branches))
    return branch


def _context_branch(path: str, column: str, branches: set[str]) -> str | None:
    if column in branches:
        return column
    if column.startswith((layout.TRIGGER_PREFIX, layout.FILTER_PREFIX)):
        return None
    raise DataError(missing_branch(path, [column], f"column context.{column}", branches))


def _context(name: str, branch: str | None, arrays: Mapping[str, Any], n: int) -> NDArray[Any]:
    if branch is None:
        return np.full(n, name.startswith(layout.FILTER_PREFIX))
    values: NDArray[Any] = ak.to_numpy(arrays[branch])
    return values


def _is_bitmask(tree: Any, branch: str, branches: set[str]) -> bool:
    """CMS's titles tell mask from level; without titles, the branch and the version do."""
    if "bitmask" in str(tree[branch].title):
        return True
    masked = any(branch.endswith(name) for name in layout.TAU_BITMASK_BRANCHES)
    return masked and detect_version(branches).number <= 9


_HIGHEST_BIT = np.array([value.bit_length() for value in range(256)], dtype=np.int8)


def _levels(taus: ak.Array) -> ak.Array:
    """Replace the working-point mask by the tightest level passed (0 none, 5 medium)."""
    return _set_field(taus, "vs_jet_level", _HIGHEST_BIT[_flat(taus["vs_jet_level"])])


def _flat(values: ak.Array) -> NDArray[Any]:
    flat: NDArray[Any] = ak.to_numpy(ak.flatten(values, axis=1))
    return flat


def _set_field(records: ak.Array, name: str, flat: NDArray[Any]) -> ak.Array:
    fields = {f: _flat(records[f]) for f in records.fields}
    fields[name] = flat
    return _build(ak.num(records), fields)


def _build(counts: Any, fields: Mapping[str, NDArray[Any]]) -> ak.Array:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(ak.to_numpy(counts), out=offsets[1:])
    contents = [ak.contents.NumpyArray(np.ascontiguousarray(v)) for v in fields.values()]
    record = ak.contents.RecordArray(contents, list(fields), length=int(offsets[-1]))
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), record))


def _one_per_event(columns: Mapping[str, ak.Array]) -> ak.Array:
    fields = {name: ak.to_numpy(values) for name, values in columns.items()}
    n = len(next(iter(fields.values())))
    return _build(np.ones(n, np.int64), fields)


def _zip(columns: Mapping[str, ak.Array], path: str, name: str) -> ak.Array:
    """Join jagged columns that share their counts; far cheaper than `ak.zip`, and it checks."""
    lists = {c: values.layout.to_ListOffsetArray64(True) for c, values in columns.items()}
    first = np.asarray(next(iter(lists.values())).offsets)
    for column, values in lists.items():
        if not np.array_equal(first, np.asarray(values.offsets)):
            raise DataError(f"{path}: {name}.{column} has other counts than its collection.")
    total = int(first[-1])
    contents = [values.content[:total] for values in lists.values()]
    record = ak.contents.RecordArray(contents, list(columns), length=total)
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(first), record))
