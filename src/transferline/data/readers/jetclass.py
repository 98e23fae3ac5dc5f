"""JetClass (arXiv:2202.03772): ROOT files with one jet, or its replicas, per entry of `tree`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.config import added
from transferline.data.events import Events
from transferline.data.layouts import jetclass as layout
from transferline.data.layouts.jet_table import JetTable
from transferline.data.layouts.jetclass import JETCLASS
from transferline.data.readers.jet_columns import Plan, species_of
from transferline.data.readers.jet_sets import JetSets, content_identity
from transferline.data.readers.jet_values import (
    Raw,
    Values,
    jet_sets,
    mass_of,
    pseudorapidity,
    transverse,
)
from transferline.data.readers.root_jets import RootJets, taken_apart

STEP = 5_000
"""Jets that are read at a time: some 50 MB; larger steps are no faster."""


class JetClass(RootJets):
    """JetClass files and those of `generate jets`: one jet per entry, or its replicas, ROOT.

    Collection `constituent` with momenta (GeV, rad), charge, species (as code and as one column
    `is_*` for each), impact parameters (mm); the jet's own numbers are `context`, the ten classes
    `label_*` are labels. A jet is known by its momentum, since the files name no events: the same
    jet in two files is the same, whatever the files are called. Replicas, the jets that one hard
    process gave, share the identity of their first and, one by one, the weight of one jet: `R` of
    them have 1 / R each. `sets: events` keeps them together.
    """

    kind: Literal["jetclass"] = "jetclass"
    step: ClassVar[int] = STEP
    table = JETCLASS
    replicas = True
    no_events = (
        "JetClass is so: every jet is of another collision. Use files with one entry per hard "
        "process (`generate jets --replicas`)"
    )
    sets: Literal["jets", "events"] = added("jets")

    def format_of(self, *, jagged: bool) -> str:
        """Name the layout of a file for people."""
        return f"{JETCLASS.format}, one entry per hard process" if jagged else JETCLASS.format

    def jet_sets(self, plan: Plan, raw: Raw, identity: NDArray[np.void]) -> JetSets:
        """Compute the columns of a plan."""
        return jet_sets(plan, raw, constituent, context, identity)


def jet_events(path: str, plan: Plan, arrays: Mapping[str, ak.Array], table: JetTable) -> Events:
    """Turn the branches of some entries of JetClass or JetClass-II, jets all, into events.

    Raises:
        DataError: a branch holds another type or other counts, or a momentum is not finite.
    """
    _, raw = taken_apart(path, plan, arrays, table)
    identity = content_identity(*(raw.jet[branch] for branch in plan.identity))
    return jet_sets(plan, raw, constituent, context, identity).events()


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
