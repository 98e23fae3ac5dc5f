"""Large-radius jets of a batch of events: clustered, selected, their particles in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferline.generate.clustering import NOTHING, EventParticles, cluster
from transferline.generate.compiled import Array
from transferline.generate.detector import Candidates
from transferline.generate.large_jets.card import LargeJets
from transferline.generate.large_jets.matching import direction


@dataclass(frozen=True)
class Jets:
    """`m` jets by event, then by falling pT.

    `event [m]`, `p4 [m, 4]` (px, py, pz, E in GeV) and `direction [m, 2]` (eta, phi) are the
    jets'; `members [k]` lists their candidates by falling pT, bounded by `offsets [m + 1]`.
    """

    event: Array
    p4: Array
    offsets: Array
    members: Array

    @property
    def direction(self) -> Array:
        """(eta, phi) of the axes `[m, 2]`."""
        return direction(self.p4)

    @property
    def pt(self) -> Array:
        """Transverse momentum in GeV `[m]`."""
        return np.hypot(self.p4[:, 0], self.p4[:, 1])

    @property
    def counts(self) -> Array:
        """Number of particles `[m]`."""
        return np.diff(self.offsets)

    @property
    def parent(self) -> Array:
        """Jet of every particle `[k]`."""
        return np.repeat(np.arange(len(self.event)), self.counts)

    def take(self, index: Array) -> Jets:
        """Return the jets `index`, in that order."""
        counts = self.counts[index]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        return Jets(
            self.event[index],
            self.p4[index],
            offsets,
            self.members[np.repeat(self.offsets[index], counts) + inside],
        )


def find_jets(candidates: Candidates, n: int, card: LargeJets) -> Jets:
    """Cluster the candidates of `n` events and keep the jets that the card asks for."""
    everything = EventParticles(candidates.event, candidates.p4)
    found = cluster(everything, NOTHING, n, radius=card.radius, pt_min=card.pt_min)
    pt = candidates.pt[found.members]
    order = np.lexsort((-pt, found.member_jet))
    jets = Jets(found.event, found.p4, found.member_offsets, found.members[order])
    inside = (jets.pt < card.pt_max) & (np.abs(jets.direction[:, 0]) < card.eta_max)
    kept = np.flatnonzero(inside)
    return jets.take(kept[np.lexsort((-jets.pt[kept], jets.event[kept]))])
