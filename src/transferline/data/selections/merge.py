"""Join the selected objects of every event to one list: what the networks see."""

from __future__ import annotations

from collections.abc import Mapping

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.events import SPECIES
from transferline.data.jagged import offsets_of, records
from transferline.data.selections.flat import Flat, Mask

OBJECT_COLUMNS = ("pt", "eta", "phi", "mass", "charge", "species", "btag")

# Leptons first: a cap on the number of objects then takes jets, never what an event was
# selected by.
_RANK = {"electron": 0, "muon": 0, "tau": 1, "bjet": 2, "jet": 2}


def _columns(objects: Flat, species: NDArray[np.float32], btag: str | None) -> NDArray[np.float32]:
    table = np.zeros((len(objects.event), len(OBJECT_COLUMNS)), np.float32)
    for i, name in enumerate(OBJECT_COLUMNS[:5]):
        if name in objects.columns:
            table[:, i] = objects[name]
    table[:, 5] = species
    if btag is not None:
        table[:, 6] = objects[btag]
    return table


def merge(
    kinds: Mapping[str, Flat], met: Flat | None, tagger: str, is_bjet: Mask, limit: int
) -> tuple[ak.Array, NDArray[np.bool_]]:
    """Return the records `[n, var]` with `OBJECT_COLUMNS`, and which events were capped `[n]`.

    Within an event: electrons and muons by falling pT, then taus, then jets, then MET. Events
    with more than `limit` objects lose the last before MET, their softest jets. `charge` is 0
    for jets and MET, `btag` is 0 for all but jets.
    """
    tables, events, ranks = [], [], []
    for name, objects in kinds.items():
        species = np.full(len(objects.event), SPECIES[name], np.float32)
        if name == "jet":
            species[is_bjet] = SPECIES["bjet"]
        tables.append(_columns(objects, species, tagger if name == "jet" else None))
        events.append(objects.event)
        ranks.append(np.full(len(objects.event), _RANK[name]))
    n = next(iter(kinds.values())).n
    table, event, rank = np.concatenate(tables), np.concatenate(events), np.concatenate(ranks)
    order = np.lexsort((-table[:, 0], rank, event))
    table, event = table[order], event[order]
    room = limit - (met is not None)
    count = np.bincount(event, minlength=n)
    place = np.arange(len(event)) - np.repeat(np.cumsum(count) - count, count)
    table, event = table[place < room], event[place < room]
    if met is not None:
        table, event = _append(table, event, _columns(met, _met_species(met), None), met.event)
    return _records(table, event, n), count > room


def _met_species(met: Flat) -> NDArray[np.float32]:
    return np.full(len(met.event), SPECIES["met"], np.float32)


def _append(
    table: NDArray[np.float32],
    event: NDArray[np.intp],
    last: NDArray[np.float32],
    last_event: NDArray[np.intp],
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Put `last` behind the other objects of its events."""
    joined = np.concatenate([event, last_event])
    order = np.argsort(joined, kind="stable")
    return np.concatenate([table, last])[order], joined[order]


def _records(table: NDArray[np.float32], event: NDArray[np.intp], n: int) -> ak.Array:
    fields = {name: table[:, i] for i, name in enumerate(OBJECT_COLUMNS)}
    return records(offsets_of(np.bincount(event, minlength=n)), fields)
