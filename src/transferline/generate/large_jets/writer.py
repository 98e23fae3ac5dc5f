"""Writing jets in the ROOT layout of JetClass.

The tree `tree` holds the branches of `transferline.data.layouts.jetclass`, those of the particles
as lists of `npart` numbers. A string named `transferline` holds the provenance as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import awkward as ak
import uproot

from transferline.data.layouts.jetclass import JET_BRANCHES, JETCLASS, PARTICLE_BRANCHES
from transferline.files import atomic_path
from transferline.generate.large_jets.content import PARTICLES
from transferline.generate.tables import EventTable, in_baskets

_JETS_PER_BASKET = 5_000


def _branch_types() -> dict[str, Any]:
    fields = ", ".join(
        f"{name.removeprefix(f'{PARTICLES}_')}: {kind}" for name, kind in PARTICLE_BRANCHES.items()
    )
    particles = ak.types.from_datashape(f"var * {{{fields}}}", highlevel=False)
    return {PARTICLES: particles, **JET_BRANCHES}


def write_jetclass(path: Path, tables: Iterable[EventTable], provenance: dict[str, Any]) -> None:
    """Write a JetClass file atomically, reading one table after the other."""
    with (
        atomic_path(path) as temporary,
        uproot.recreate(temporary, compression=uproot.LZ4(4)) as file,
    ):
        tree = file.mktree(JETCLASS.tree, _branch_types())
        for table in in_baskets(tables, _JETS_PER_BASKET):
            particles = table.collections[PARTICLES]
            lists = {k: ak.unflatten(v, particles.counts) for k, v in particles.columns.items()}
            tree.extend({PARTICLES: ak.zip(lists), **table.scalars})
        file["transferline"] = json.dumps(provenance, indent=1)
