"""Replicas of jets: which jets of several showers of one hard process are the same object."""

from __future__ import annotations

import numpy as np

from transferline.generate.compiled import Array
from transferline.generate.large_jets.card import JetCard
from transferline.generate.large_jets.content import PARTICLES, Found, find, table_of
from transferline.generate.large_jets.matching import direction
from transferline.generate.tables import Collection, EventTable
from transferline.generate.truth import Truth

JETS = "jet"
SIZE = "particles"
"""Column of a jet: how many of the particles are its own."""


def replica_table(
    truth: Truth,
    card: JetCard,
    rng: np.random.Generator,
    *,
    jet_class: str,
    resonance: int,
    replicas: int,
) -> EventTable:
    """Simulate events of which `replicas` in a row share their hard process.

    A row holds the jets, one of each replica, of one resonance (or parton of the hard process),
    where every replica has one: a pair of tops may give two rows.
    """
    found = find(truth, card, rng, resonance)
    rows = same_objects(found, truth.n, replicas)
    jets = table_of(found.take(rows.ravel()), card, jet_class)
    particles = jets.collections[PARTICLES]
    sizes = particles.counts.reshape(rows.shape).sum(axis=1)
    columns = {f"{PARTICLES}_{name}": values for name, values in particles.columns.items()}
    return EventTable(
        {},
        {
            JETS: Collection(np.full(len(rows), replicas), jets.scalars | {SIZE: particles.counts}),
            PARTICLES: Collection(sizes, columns),
        },
    )


def same_objects(found: Found, events: int, replicas: int) -> Array:
    """Return the jets of the same objects `[rows, replicas]`, by hard process.

    Decays stand in the order of the process record, which replicas share: equal places in their
    events are equal decays. Of jets that are matched to one of them the nearest to it counts.
    """
    decays = found.decays
    counts = np.bincount(decays.event, minlength=events)
    first = np.cumsum(counts) - counts
    place = np.arange(len(decays.event)) - first[decays.event]
    most = int(counts.max(initial=0))
    grid = np.full((events, most), -1, np.int64)
    grid[decays.event, place] = nearest(found)
    by_process = grid.reshape(-1, replicas, most).transpose(0, 2, 1).reshape(-1, replicas)
    rows: Array = by_process[(by_process >= 0).all(axis=1)]
    kinds = decays.pdg_id[found.match[rows]]
    return np.asarray(rows[(kinds == kinds[:, :1]).all(axis=1)])


def nearest(found: Found) -> Array:
    """Return the jet of each decay, the nearest of those that are matched to it; -1 for none."""
    matched = np.flatnonzero(found.match >= 0)
    decay = found.match[matched]
    eta, phi = (found.jets.direction[matched] - direction(found.decays.p4)[decay]).T
    distance = np.hypot(eta, (phi + np.pi) % (2.0 * np.pi) - np.pi)
    far_first = matched[np.argsort(-distance, kind="stable")]
    result = np.full(len(found.decays.event), -1, np.int64)
    result[found.match[far_first]] = far_first  # what is written last stays
    return result
