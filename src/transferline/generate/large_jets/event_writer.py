"""Writing events of jets in the layout of CMS record 12102 with one entry per event.

RNTuple `deepntuplizer/tree`: uproot reads the lists of lists of a TTree, but does not write them.
A string named `transferline` holds the provenance as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import awkward as ak
import uproot

from transferline.data.layouts.hbb import CANDIDATE_BRANCHES, HBB, JET_BRANCHES
from transferline.files import atomic_path
from transferline.generate.large_jets.event_content import CANDIDATES, JETS, SIZE
from transferline.generate.tables import EventTable, in_baskets

_EVENTS_PER_CLUSTER = 5_000


def _branches(table: EventTable) -> dict[str, Any]:
    jets, candidates = table.collections[JETS], table.collections[CANDIDATES]
    of_jets = {name: ak.unflatten(jets[name], jets.counts) for name in JET_BRANCHES}
    nested = {
        name: ak.unflatten(ak.unflatten(candidates[name], jets[SIZE]), jets.counts)
        for name in CANDIDATE_BRANCHES
    }
    return {**table.scalars, **of_jets, **nested}


def write_hbb(path: Path, tables: Iterable[EventTable], provenance: dict[str, Any]) -> None:
    """Write a file of events atomically, reading one table after the other."""
    folder, name = HBB.tree.split("/")
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        directory = file.mkdir(folder)
        tree = None
        for table in in_baskets(tables, _EVENTS_PER_CLUSTER):
            branches = _branches(table)
            if tree is None:
                tree = directory.mkrntuple(name, branches)
            else:
                tree.extend(branches)
        file["transferline"] = json.dumps(provenance, indent=1)
