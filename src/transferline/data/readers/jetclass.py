"""JetClass: ROOT files with one jet per entry of the tree `tree` (arXiv:2202.03772)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import ClassVar, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import Events
from transferline.data.layouts import jetclass as layout
from transferline.data.layouts.jetclass import JETCLASS
from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import CHUNK_SIZE, Columns, Source, unit_sums
from transferline.data.readers.jet_columns import Plan, offered, species_of
from transferline.data.readers.jet_sets import content_identity
from transferline.data.readers.jet_values import (
    Raw,
    Values,
    jet_sets,
    lists,
    mass_of,
    pseudorapidity,
    same_bounds,
    scalar,
    transverse,
)
from transferline.data.readers.rootfile import (
    RootReader,
    iterated,
    open_root,
    open_tree,
    opened_status,
    read_provenance,
)

STEP = 5_000
"""Jets that are read at a time: some 50 MB; larger steps are no faster."""

_WHERE = f"tree '{JETCLASS.tree}'"


class JetClass(RootReader):
    """JetClass files and those of `generate jets`: one jet per entry, ROOT.

    Collection `constituent` with momenta (GeV, rad), charge, species (as code and as one column
    `is_*` for each), impact parameters (mm); the jet's own numbers are `context`, the ten classes
    `label_*` are labels. A jet is known by its momentum, since the files name no events: the same
    jet in two files is the same, whatever the files are called.
    """

    kind: Literal["jetclass"] = "jetclass"
    step: ClassVar[int] = STEP

    def offers(self, path: str) -> dict[str, list[str]]:
        """Return collection -> columns that this file has."""
        with open_root(path, self.patience) as file:
            branches = open_tree(file, public_name(path), JETCLASS.tree).keys()
            Plan.make(public_name(path), JETCLASS, branches, {}, _WHERE)
            return offered(JETCLASS, branches)

    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Describe one file; checks that `columns` can be read."""
        name = public_name(path)
        with open_root(path, self.patience) as file:
            status = opened_status(file, path)
            tree = open_tree(file, name, JETCLASS.tree)
            Plan.make(name, JETCLASS, tree.keys(), columns or {}, _WHERE)
            entries = int(tree.num_entries)
            return Source(
                path=name,
                entries=entries,
                format=JETCLASS.format,
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
        """Yield jets of one file; only the branches behind `columns` are read."""
        with open_root(path, self.patience) as file:
            name = public_name(path)
            tree = open_tree(file, name, JETCLASS.tree)
            wanted = offered(JETCLASS, tree.keys()) if columns is None else columns
            plan = Plan.make(name, JETCLASS, tree.keys(), wanted, _WHERE)
            chunks = iterated(tree, plan.branches(), start, stop, min(chunk_size, STEP))
            for arrays in chunks:
                yield jet_events(name, plan, arrays)


def jet_events(path: str, plan: Plan, arrays: Mapping[str, ak.Array]) -> Events:
    """Turn the branches of some entries of JetClass or JetClass-II into events.

    Raises:
        DataError: a branch holds another type or other counts, or a momentum is not finite.
    """
    raw = _raw(path, plan, arrays)
    identity = content_identity(*(raw.jet[branch] for branch in plan.identity))
    return jet_sets(plan, raw, constituent, context, identity).events()


def _raw(path: str, plan: Plan, arrays: Mapping[str, ak.Array]) -> Raw:
    jet: dict[str, Values] = {}
    part: dict[str, Values] = {}
    offsets: NDArray[np.int64] | None = None
    of_particles = {b for way in plan.constituents.values() for b in way}
    for branch in plan.branches():
        if branch not in of_particles:
            jet[branch] = scalar(path, branch, arrays[branch])
            continue
        (bounds,), part[branch] = lists(path, branch, arrays[branch])
        same_bounds(path, branch, bounds, bounds if offsets is None else offsets)
        offsets = bounds
    n = len(jet[plan.identity[0]])
    return Raw(path, np.zeros(n + 1, np.int64) if offsets is None else offsets, jet, part)


def constituent(column: str, raw: Raw) -> Values:
    """Return one column of the particles, `[k]`."""
    if column == "species":
        return species_of({name: raw.part[flag] for flag, name in layout.FLAGS.items()})
    if column in JETCLASS.constituents and column not in {"pt", "eta", "phi", "mass"}:
        ((branch,),) = JETCLASS.constituents[column]
        return raw.part[branch]
    px, py = raw.wide(layout.PX), raw.wide(layout.PY)
    if column == "pt":
        return transverse(px, py)
    if column == "phi":
        return np.arctan2(py, px)
    pz = raw.wide(layout.PZ)
    if column == "eta":
        return pseudorapidity(px, py, pz)
    return mass_of(raw.wide(layout.ENERGY), np.sqrt(px**2 + py**2 + pz**2))


def context(column: str, raw: Raw) -> Values:
    """Return one column of the jets, `[m]`."""
    if column != "jet_mass":
        return raw.jet[column]
    pt, eta, energy = (raw.jet[f"jet_{x}"].astype(np.float64) for x in ("pt", "eta", "energy"))
    return mass_of(energy, pt * np.cosh(eta))
