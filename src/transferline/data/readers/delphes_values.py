"""What one Delphes file has, and the values of its jets, particles and other objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import CONSTITUENTS
from transferline.data.jagged import offsets_of, records
from transferline.data.layouts import delphes as layout
from transferline.data.layouts.delphes import branch as full
from transferline.data.layouts.jet_table import JetTable, one
from transferline.data.readers.base import Columns
from transferline.data.readers.jet_columns import TYPES, Plan, species_of_pdg
from transferline.data.readers.jet_values import Raw, Values, lists, mass_of, same_bounds
from transferline.data.readers.references import places_of
from transferline.data.readers.rootfile import missing_branches
from transferline.errors import DataError, did_you_mean

_WHERE = f"tree '{layout.TREE}'"
Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """What of the format one file has.

    Attributes:
        path, branches: of the file.
        jets: the collection of jets.
        particles: collections that constituents may lie in.
    """

    path: str
    branches: list[str]
    jets: str
    particles: list[str]

    @classmethod
    def of(cls, path: str, branches: list[str], jets: str | None) -> Found:
        """Look for jets, those that are named or the first of the known ones, and particles.

        Raises:
            DataError: there are none.
        """
        named = {b.partition("/")[0] for b in branches if b.endswith(f".{layout.REFERENCES}")}
        chosen = jets or next((c for c in layout.JETS if c in named), layout.JETS[-1])
        if chosen not in named:
            hint = did_you_mean(chosen, named)
            raise DataError(f"{path}: {_WHERE} has no jets '{chosen}' with constituents.{hint}")
        particles = [c for c in layout.PARTICLES if full(c, layout.UNIQUE_ID) in branches]
        if not particles:
            known = ", ".join(layout.PARTICLES)
            raise DataError(f"{path}: {_WHERE} has none of the collections {known}.")
        return cls(path, branches, chosen, particles)

    @property
    def identity(self) -> list[str]:
        """Branches that tell events with the same number apart."""
        return [b for b in layout.IDENTITY if b in self.branches]

    @property
    def table(self) -> JetTable:
        """The branch table for these jets and particles."""
        ways = {column: self._members(column) for column in layout.COLUMNS}
        jets = self.jets
        return JetTable(
            format="Delphes",
            tree=layout.TREE,
            constituents={column: one(*found) for column, found in ways.items() if found},
            context={c: one(full(jets, member)) for c, member in layout.JET_MEMBERS.items()},
            identity=(
                layout.EVENT_NUMBER,
                layout.WEIGHT,
                full(jets, "PT"),
                full(jets, layout.REFERENCES),
            ),
            labels={name: full(jets, member) for name, member in layout.JET_LABELS.items()},
        )

    def _members(self, column: str) -> list[str]:
        """Return the branches of one column in all collections of particles."""
        found: list[str] = []
        for name in self.particles:
            rows = layout.PARTICLES[name]
            if column == "species" and rows.species is None:
                found += [full(name, "PID"), full(name, "Charge")]
            elif column in rows.members:
                found.append(full(name, rows.members[column]))
        # A column that follows from what the collections are still needs one of their branches.
        return found or [full(self.particles[0], layout.UNIQUE_ID)]

    def plan(self, columns: Columns) -> Plan:
        """Choose the branches for columns of jets and constituents; raises as `Plan.make`."""
        return Plan.make(self.path, self.table, self.branches, columns, _WHERE)

    def to_read(self, plan: Plan, objects: Columns) -> list[str]:
        """Return all branches to read, each once."""
        names = [*plan.branches(), *self.identity]
        if plan.constituents:
            names += [full(c, layout.UNIQUE_ID) for c in self.particles]
        names += [object_branch(c, column) for c, columns in objects.items() for column in columns]
        return list(dict.fromkeys(names))


def raw_jets(found: Found, plan: Plan, arrays: Mapping[str, ak.Array]) -> tuple[Offsets, Raw]:
    """Resolve the references; return the bounds of the events among the jets, too.

    In what is returned, branches of jets have their members' names, those of particles the names
    of columns: particles come from several collections.
    """
    (bounds,), pt = lists(found.path, full(found.jets, "PT"), arrays[full(found.jets, "PT")])
    jet: dict[str, Values] = {"PT": pt}
    for way in plan.context.values():
        member = way[0].partition(".")[2]
        jet[member] = _of_jets(found.path, way[0], arrays[way[0]])
    for name in plan.labels.values():
        jet[name] = lists(found.path, name, arrays[name])[1]
    if not plan.constituents:
        return bounds, Raw(found.path, np.zeros(len(pt) + 1, np.int64), jet, {})
    (events, offsets), refs = _references(found, arrays)
    starts = [_particles(found, c, plan, arrays) for c in found.particles]
    event = np.repeat(np.repeat(np.arange(len(events) - 1), np.diff(events)), np.diff(offsets))
    rows = places_of(
        event.astype(np.int64),
        refs.astype(np.int64),
        np.concatenate([one.event for one in starts]),
        np.concatenate([one.unique for one in starts]),
    )
    lost = int((rows < 0).sum())
    if lost:
        raise DataError(
            f"{found.path}: {lost} of {len(rows)} constituents of {found.jets} lie in a collection "
            f"that is not there; the file holds {', '.join(found.particles)}. Choose other jets "
            "(`jets:`)."
        )
    names = starts[0].columns
    part = {c: np.concatenate([one.columns[c] for one in starts])[rows] for c in names}
    return bounds, Raw(found.path, offsets, jet, part)


def _references(found: Found, arrays: Mapping[str, ak.Array]) -> tuple[list[Offsets], Values]:
    name = full(found.jets, layout.REFERENCES)
    if "refs" not in ak.fields(arrays[name]):
        raise DataError(f"{found.path}: branch {name} holds no references.")
    return lists(found.path, name, arrays[name]["refs"], depth=2)


@dataclass(frozen=True)
class _Particles:
    """One collection of particles of a chunk, laid end to end."""

    event: NDArray[np.int64]
    unique: NDArray[np.int64]
    columns: Mapping[str, Values]


def _particles(
    found: Found, collection: str, plan: Plan, arrays: Mapping[str, ak.Array]
) -> _Particles:
    rows = layout.PARTICLES[collection]

    def values(member: str) -> Values:
        name = full(collection, member)
        return lists(found.path, name, arrays[name])[1]

    name = full(collection, layout.UNIQUE_ID)
    (bounds,), unique = lists(found.path, name, arrays[name])
    columns: dict[str, Values] = {}
    for column in dict.fromkeys("species" if c in TYPES else c for c in plan.constituents):
        if column == "species":
            columns[column] = (
                species_of_pdg(values("PID"), values("Charge"))
                if rows.species is None
                else np.full(len(unique), CONSTITUENTS[rows.species], np.float32)
            )
        elif column in rows.members:
            columns[column] = values(rows.members[column])
        else:
            columns[column] = np.full(len(unique), rows.fixed[column], np.float32)
    event = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return _Particles(event.astype(np.int64), unique.astype(np.int64), columns)


def constituent(column: str, raw: Raw) -> Values:
    """Return one column of the particles, `[k]`."""
    return raw.part[column]


def context(column: str, raw: Raw) -> Values:
    """Return one column of the jets, `[m]`."""
    values = raw.jet[layout.JET_MEMBERS[column]]
    return values[:, int(column[-1]) - 1] if column.startswith("jet_tau") else values


def _of_jets(path: str, branch: str, values: ak.Array) -> Values:
    """Return a member of jets, `[m]`; several numbers give `[m, k]`, a four-momentum its mass."""
    flat = ak.flatten(values, axis=1) if values.ndim > 1 else values
    if "fE" in ak.fields(flat):
        energy, px, py, pz = (ak.to_numpy(x) for x in (flat.fE, flat.fP.fX, flat.fP.fY, flat.fP.fZ))
        return mass_of(energy, np.sqrt(px**2 + py**2 + pz**2))
    if values.ndim == 3 and flat.layout.is_regular:
        return np.asarray(ak.to_numpy(flat))
    return lists(path, branch, values)[1]


def singles(path: str, branch: str, values: ak.Array) -> Values:
    """Return a branch of what an event has one of, `[n]`.

    Raises:
        DataError: some events have none or several.
    """
    (bounds,), numbers = lists(path, branch, values)
    if not (np.diff(bounds) == 1).all():
        raise DataError(f"{path}: branch {branch} does not hold one number for every event.")
    return numbers


def object_branch(collection: str, column: str) -> str:
    """Return the branch of a column of `electron`, `muon`, `photon` or `met`."""
    return full(layout.OBJECT_COLLECTIONS[collection], layout.OBJECTS[collection][column])


def offered_objects(branches: list[str]) -> dict[str, list[str]]:
    """Return collection -> columns of the objects that are no jets."""
    found = {
        name: [column for column in columns if object_branch(name, column) in branches]
        for name, columns in layout.OBJECTS.items()
    }
    return {name: columns for name, columns in found.items() if columns}


def check_objects(found: Found, columns: Columns) -> None:
    """Raise one DataError that names all branches of these columns that are not there."""
    for name, wanted in columns.items():
        if name not in layout.OBJECTS:
            hint = did_you_mean(name, ["jet", "constituent", *layout.OBJECTS])
            raise DataError(f"{found.path}: Delphes has no collection '{name}'.{hint}")
        for column in wanted:
            if column not in layout.OBJECTS[name]:
                hint = did_you_mean(column, layout.OBJECTS[name])
                raise DataError(f"{found.path}: Delphes' '{name}' has no '{column}'.{hint}")
    pairs = [(name, column) for name, wanted in columns.items() for column in wanted]
    lacking = [
        ([object_branch(*pair)], "column " + ".".join(pair))
        for pair in pairs
        if object_branch(*pair) not in found.branches
    ]
    if lacking:
        raise DataError(missing_branches(found.path, lacking, found.branches, _WHERE))


def object_records(
    path: str, collection: str, columns: Columns, arrays: Mapping[str, ak.Array]
) -> ak.Array:
    """Return the records `[n, var]` of one kind of object."""
    offsets, fields = offsets_of(np.empty(0, np.int64)), {}
    for column in columns[collection]:
        name = object_branch(collection, column)
        (bounds,), fields[column] = lists(path, name, arrays[name])
        same_bounds(path, name, bounds, offsets if len(fields) > 1 else bounds)
        offsets = bounds
    return records(offsets, fields)
