"""Writing events of jets of particles: CMS record 12102 or JetClass with one entry per event.

RNTuples: uproot reads the lists of lists of a TTree, but does not write them. Those of JetClass
hold replicas, every jet of an entry made from the same hard process.
A string named `transferline` holds the provenance as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import uproot

from transferline.data.layouts import jetclass
from transferline.data.layouts.hbb import CANDIDATE_BRANCHES, HBB, JET_BRANCHES
from transferline.data.layouts.jetclass import JETCLASS
from transferline.files import atomic_path
from transferline.generate.large_jets import replica_content
from transferline.generate.large_jets.content import PARTICLES
from transferline.generate.large_jets.event_content import CANDIDATES, JETS, SIZE
from transferline.generate.tables import EventTable, in_baskets

_EVENTS_PER_CLUSTER = 5_000


@dataclass(frozen=True)
class EventLayout:
    """Where events of jets of particles go: the tree, collections and their branches.

    `size` is the column of jets that says how many particles each of them has.
    """

    tree: str
    jets: str
    jet_branches: tuple[str, ...]
    particles: str
    particle_branches: tuple[str, ...]
    size: str


HBB_EVENTS = EventLayout(HBB.tree, JETS, (*JET_BRANCHES,), CANDIDATES, (*CANDIDATE_BRANCHES,), SIZE)
REPLICAS = EventLayout(
    JETCLASS.tree,
    replica_content.JETS,
    (*jetclass.JET_BRANCHES,),
    PARTICLES,
    (*jetclass.PARTICLE_BRANCHES,),
    replica_content.SIZE,
)


def _branches(table: EventTable, layout: EventLayout) -> dict[str, Any]:
    jets, particles = table.collections[layout.jets], table.collections[layout.particles]
    of_jets = {name: ak.unflatten(jets[name], jets.counts) for name in layout.jet_branches}
    nested = {
        name: ak.unflatten(ak.unflatten(particles[name], jets[layout.size]), jets.counts)
        for name in layout.particle_branches
    }
    return {**table.scalars, **of_jets, **nested}


def write_event_file(
    path: Path, tables: Iterable[EventTable], provenance: dict[str, Any], *, layout: EventLayout
) -> None:
    """Write a file of events atomically, reading one table after the other."""
    *folders, name = layout.tree.split("/")
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        directory = file.mkdir("/".join(folders)) if folders else file
        tree = None
        for table in in_baskets(tables, _EVENTS_PER_CLUSTER):
            branches = _branches(table, layout)
            if tree is None:
                tree = directory.mkrntuple(name, branches)
            else:
                tree.extend(branches)
        file["transferline"] = json.dumps(provenance, indent=1)


write_hbb = partial(write_event_file, layout=HBB_EVENTS)
write_replicas = partial(write_event_file, layout=REPLICAS)
