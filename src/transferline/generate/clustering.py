"""Anti-kT jets with ghosts: true particles of negligible momentum that tell a jet's origin."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import awkward as ak
import numpy as np

from transferline.errors import ConfigError
from transferline.generate.compiled import Array

_GHOST_SCALE = 1e-18
_AXES = ("px", "py", "pz", "E")


@cache
def import_fastjet() -> Any:
    """Import fastjet without its warnings and its banner, which would go to standard output."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import fastjet  # noqa: PLC0415 - an optional extra, imported when used
    except ImportError as error:
        raise ConfigError(
            'Clustering jets needs fastjet. Install it with: pip install "transferline[generate]"'
        ) from error
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    return fastjet


@dataclass(frozen=True)
class ClusteredJets:
    """Jets of all events laid end to end.

    `offsets [n + 1]` bounds events, `p4 [j, 4]` is (px, py, pz, E) in GeV; `members` lists
    positions in the clustered arrays (see `cluster`), bounded by `member_offsets [j + 1]`.
    """

    offsets: Array
    p4: Array
    member_offsets: Array
    members: Array

    @property
    def event(self) -> Array:
        """Event number of every jet."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def member_jet(self) -> Array:
        """Jet number of every member."""
        return np.repeat(np.arange(len(self.p4)), np.diff(self.member_offsets))


class EventParticles(NamedTuple):
    """Particles with the number of their event: `event [N]`, `p4 [N, 4]` (px, py, pz, E) in GeV."""

    event: Array
    p4: Array


NOTHING = EventParticles(np.zeros(0, np.int64), np.zeros((0, 4)))


def _as_awkward(p4: Array, counts: Array) -> ak.Array:
    columns = {name: np.ascontiguousarray(p4[:, axis]) for axis, name in enumerate(_AXES)}
    return ak.unflatten(ak.zip(columns, with_name="Momentum4D"), counts)


def cluster(
    particles: EventParticles, ghosts: EventParticles, n: int, *, radius: float, pt_min: float
) -> ClusteredJets:
    """Cluster particles of `n` events with anti-kT (arXiv:0802.1189, E-scheme).

    Ghosts take part with momenta scaled by 1e-18. In `members`, numbers below
    `len(particles.p4)` are particles; the others, less `len(particles.p4)`, are ghosts.
    """
    fastjet = import_fastjet()
    event = np.concatenate([particles.event, ghosts.event])
    order = np.argsort(event, kind="stable")
    p4 = np.concatenate([particles.p4, ghosts.p4 * _GHOST_SCALE])[order]
    counts = np.bincount(event, minlength=n)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    sequence = fastjet.ClusterSequence(_as_awkward(p4, counts), definition)
    jets = sequence.inclusive_jets(min_pt=pt_min)
    members = sequence.constituent_index(min_pt=pt_min)
    jets_per_event = ak.to_numpy(ak.num(jets)).astype(np.int64)
    members_per_jet = ak.to_numpy(ak.flatten(ak.num(members, axis=2))).astype(np.int64)
    first = np.cumsum(counts) - counts
    first_of_member = np.repeat(np.repeat(first, jets_per_event), members_per_jet)
    within_event = ak.to_numpy(ak.flatten(members, axis=None)).astype(np.int64)
    flat = ak.flatten(jets)
    return ClusteredJets(
        offsets=np.concatenate([[0], np.cumsum(jets_per_event)]),
        p4=np.stack([ak.to_numpy(flat[name]) for name in _AXES], axis=1),
        member_offsets=np.concatenate([[0], np.cumsum(members_per_jet)]),
        members=order[first_of_member + within_event],
    )
