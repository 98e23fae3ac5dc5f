"""CMS NanoAOD, versions 7 to 15, collision data and simulation, as TTree.

An RNTuple is read if it has the flat names of a TTree (`Jet_pt`); collections of records (`Jet.pt`)
are not, and are refused as files without these branches.

Column names are ours; the alias table stands in `transferline.data.layouts.nanoaod`. The
version is told from the branches, never from the file's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import ID_DTYPE, Events
from transferline.data.jagged import flat_columns, flat_values, offsets_of, records, zip_lists
from transferline.data.layouts import nanoaod as layout
from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import CHUNK_SIZE, Columns, Source, unit_sums
from transferline.data.readers.jet_id import jet_id
from transferline.data.readers.nanoaod_branches import (
    branch_names,
    detect_version,
    find_branch,
    offered_columns,
    recomputes_jet_id,
)
from transferline.data.readers.nanoaod_values import check_arrays
from transferline.data.readers.rootfile import (
    RootReader,
    iterated,
    missing_branches,
    open_root,
    open_tree,
    opened_status,
    read_provenance,
)
from transferline.errors import DataError, did_you_mean

TREE = "Events"


class NanoAOD(RootReader):
    """CMS NanoAOD files.

    Collections `electron muon tau jet met`, and `context` with triggers (`HLT_*`), filters
    (`Flag_*`) and a few event scalars. A trigger that a file lacks reads as not fired, a filter
    as passed; both are counted. The weight is `genWeight`, or 1 for collision data.

    `tau.vs_jet_level` is the tightest DeepTau working point passed, whether the file stores
    levels or a bit mask. `jet.jet_id` is computed where the file (v13 and later) has none; up to
    v12 it is CMS's own, which v12 stores wrongly beyond |eta| = 2.7.
    """

    kind: Literal["nanoaod"] = "nanoaod"

    def offers(self, path: str) -> dict[str, list[str]]:
        """Return collection -> columns that this file has."""
        with open_root(path, self.patience) as file:
            return offered_columns(set(open_tree(file, public_name(path), TREE).keys()))

    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Describe one file; checks that `columns` can be read and adds up `Runs`."""
        name = public_name(path)
        with open_root(path, self.patience) as file:
            status = opened_status(file, path)
            tree = open_tree(file, name, TREE)
            branches, entries = set(tree.keys()), int(tree.num_entries)
            plan = _Plan.make(name, tree, branches, columns or {})
            return Source(
                path=name,
                entries=entries,
                format=f"NanoAOD{detect_version(branches)}",
                is_simulation=plan.is_simulation,
                **asdict(status),
                missing=tuple(name for name, branch in plan.context.items() if branch is None),
                provenance=read_provenance(file, name),
                **runs_sums(file, name, plan.is_simulation, entries),
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
        with open_root(path, self.patience) as file:
            name = public_name(path)
            tree = open_tree(file, name, TREE)
            branches = set(tree.keys())
            wanted = offered_columns(branches) if columns is None else columns
            plan = _Plan.make(name, tree, branches, wanted)
            chunks = iterated(tree, plan.branches(), start, stop, chunk_size)
            yield from map(plan.events, chunks)


def runs_sums(file: Any, path: str, is_simulation: bool, entries: int) -> dict[str, Any]:
    """Add up events and weights before any cut, from the `Runs` tree.

    Returns:
        `count`, `sum_weight`, `sum_weight2` for `Source`; empty where the file does not tell.

    Raises:
        DataError: a sum is not finite, or a count or sum of squares is negative.
    """
    if not is_simulation:
        return unit_sums(entries)
    if "Runs" not in file.keys(cycle=False):
        return {}
    runs = file["Runs"]
    known = set(runs.keys())
    sums: dict[str, Any] = {}
    for name, aliases in layout.RUNS_SUMS.items():
        branch = next((alias for alias in aliases if alias in known), None)
        if branch is not None:
            total = np.sum(ak.to_numpy(runs[branch].array()))
            if not np.isfinite(total) or (total < 0 and name != "sum_weight"):
                raise DataError(f"{path}: tree 'Runs' has a {branch} of {total}.")
            sums[name] = int(total) if name == "count" else float(total)
    return sums


@dataclass(frozen=True)
class _Plan:
    """Which branches of one file to read, and how to turn them into Events."""

    path: str
    is_simulation: bool
    particles: Mapping[str, Mapping[str, str]]  # collection -> column -> branch
    context: Mapping[str, str | None]  # column -> branch, None = absent
    tau_masks: tuple[str, ...]
    computes_jet_id: bool

    @classmethod
    def make(cls, path: str, tree: Any, branches: set[str], columns: Columns) -> _Plan:
        compute = "jet_id" in columns.get("jet", ()) and recomputes_jet_id(branches)
        wanted = {**columns, "jet": _with_inputs(columns["jet"])} if compute else columns
        particles = {
            collection: {c: _branch(collection, c, branches) for c in names}
            for collection, names in wanted.items()
            if collection != "context" and names
        }
        context = {c: c if c in branches else None for c in columns.get("context", ())}
        is_simulation = layout.GEN_WEIGHT in branches
        _check_complete(path, branches, particles, context)
        masks = tuple(
            column
            for column, branch in particles.get("tau", {}).items()
            if column in layout.TAU_LEVELS and _is_bitmask(tree, branch, branches)
        )
        return cls(path, is_simulation, particles, context, masks, compute)

    def _with_levels(self, taus: ak.Array) -> ak.Array:
        """Replace working-point masks by the tightest level passed."""
        offsets, fields = flat_columns(taus)
        branches = self.particles["tau"]
        for column in layout.TAU_LEVELS:
            if column in fields:
                place = f"{self.path}: {branches[column]}"
                fields[column] = _level(fields[column], column in self.tau_masks, place)
        return records(offsets, fields)

    def branches(self) -> list[str]:
        names = [b for columns in self.particles.values() for b in columns.values()]
        return list(dict.fromkeys([*names, *self._scalars()]))

    def _scalars(self) -> list[str]:
        weight = [layout.GEN_WEIGHT] if self.is_simulation else []
        return [*(b for b in self.context.values() if b is not None), *layout.EVENT_ID, *weight]

    def events(self, arrays: Mapping[str, ak.Array]) -> Events:
        check_arrays(self.path, arrays, self.particles, self._scalars())
        n = len(arrays[layout.EVENT_ID[0]])
        identity = np.empty(n, ID_DTYPE)
        for field, branch in zip(("run", "lumi", "event"), layout.EVENT_ID, strict=True):
            identity[field] = flat_values(arrays[branch])
        weight = flat_values(arrays[layout.GEN_WEIGHT]) if self.is_simulation else np.ones(n)
        return Events(
            particles={c: self._collection(c, arrays) for c in self.particles},
            context={c: _context(c, b, arrays, n) for c, b in self.context.items()},
            weight=weight.astype(np.float64),
            id=identity,
        )

    def _collection(self, name: str, arrays: Mapping[str, ak.Array]) -> ak.Array:
        columns = {c: arrays[branch] for c, branch in self.particles[name].items()}
        if layout.COLLECTIONS[name].scalar:
            fields = {c: flat_values(values) for c, values in columns.items()}
            n = len(next(iter(fields.values())))
            return records(offsets_of(np.ones(n, np.int64)), fields)
        found = zip_lists(columns, f"{self.path}: {name}")
        if name == "tau":
            return self._with_levels(found)
        if name == "jet" and self.computes_jet_id:
            return _with_jet_id(found)
        return found


def _with_inputs(columns: Any) -> list[str]:
    """Replace `jet_id` by what it is computed from."""
    kept = [column for column in columns if column != "jet_id"]
    return list(dict.fromkeys([*kept, "eta", *layout.JET_ID_INPUTS]))


def _branch(collection: str, column: str, branches: set[str]) -> str:
    """Return the branch of a column; the preferred one if the file has none of them."""
    if collection not in layout.COLLECTIONS:
        hint = did_you_mean(collection, layout.COLLECTIONS)
        raise DataError(f"NanoAOD has no collection '{collection}'.{hint}")
    if collection == "jet" and column in layout.JET_ID_INPUTS:
        return f"Jet_{column}"
    names = branch_names(collection, column)
    if not names:
        hint = did_you_mean(column, layout.COLLECTIONS[collection].columns)
        raise DataError(f"NanoAOD's '{collection}' has no column '{column}'.{hint}")
    return find_branch(collection, column, branches) or names[0]


def _check_complete(
    path: str,
    branches: set[str],
    particles: Mapping[str, Mapping[str, str]],
    context: Mapping[str, str | None],
) -> None:
    """Raise one DataError that names all branches that are needed and not there."""
    problems = [([name], "the event's identity") for name in layout.EVENT_ID]
    if any(name in branches for name in layout.SIMULATION_ONLY):
        problems.append(([layout.GEN_WEIGHT], "simulated events need their signed weight"))
    problems += [
        (branch_names(collection, column) or [branch], f"column {collection}.{column}")
        for collection, columns in particles.items()
        for column, branch in columns.items()
    ]
    flags = (layout.TRIGGER_PREFIX, layout.FILTER_PREFIX)
    problems += [([c], f"column context.{c}") for c in context if not c.startswith(flags)]
    lacking = [(names, what) for names, what in problems if not branches.intersection(names)]
    if lacking:
        raise DataError(missing_branches(path, lacking, branches))


def _context(name: str, branch: str | None, arrays: Mapping[str, Any], n: int) -> NDArray[Any]:
    if branch is None:
        return np.full(n, name.startswith(layout.FILTER_PREFIX))
    return flat_values(arrays[branch])


def _is_bitmask(tree: Any, branch: str, branches: set[str]) -> bool:
    """CMS's titles tell mask from level; without a title, the branch and the version do."""
    if "bitmask" in str(getattr(tree[branch], "title", "")):
        return True
    masked = any(branch.endswith(name) for name in layout.TAU_BITMASK_BRANCHES)
    return masked and detect_version(branches).number <= 9


_MOST_LEVELS = 8
_HIGHEST_BIT = np.array([value.bit_length() for value in range(256)], dtype=np.int8)


def _level(values: NDArray[Any], is_mask: bool, place: str) -> NDArray[Any]:
    """Return the tightest level passed (0 none, 5 medium), of a mask or of a level.

    Raises:
        DataError: the values are those of the other kind.
    """
    stored = values.astype(np.uint8)  # eight working points
    if is_mask and (stored & (stored + np.uint8(1))).any():
        raise DataError(
            f"{place}: is taken for a bit mask, as in NanoAODv9 and before, but holds "
            f"{int(stored[(stored & (stored + np.uint8(1))) > 0][0])}, which no nested working "
            "points give. The file seems to be of a later version, of which nothing else is left."
        )
    if not is_mask and (stored > _MOST_LEVELS).any():
        raise DataError(
            f"{place}: is taken for a level, as in NanoAODv10 and later, but holds "
            f"{int(stored.max())}; there are {_MOST_LEVELS}."
        )
    return _HIGHEST_BIT[stored] if is_mask else values


def _with_jet_id(jets: ak.Array) -> ak.Array:
    offsets, fields = flat_columns(jets)
    kept = {name: values for name, values in fields.items() if name not in layout.JET_ID_INPUTS}
    return records(offsets, {**kept, "jet_id": jet_id(fields)})
