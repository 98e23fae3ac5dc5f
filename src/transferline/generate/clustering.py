"""Anti-kT jets with ghosts: true particles of negligible momentum that tell a jet's origin."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from transferline.errors import ConfigError
from transferline.generate.compiled import Array

_GHOST_SCALE = 1e-18


def _import_fastjet() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import fastjet
    except ImportError as error:
        raise ConfigError(
            'Clustering jets needs fastjet. Install it with: pip install "transferline[generate]"'
        ) from error
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


def cluster(
    n: int,
    event: Array,
    p4: Array,
    ghost_event: Array,
    ghost_p4: Array,
    radius: float,
    pt_min: float,
) -> ClusteredJets:
    """Cluster particles with anti-kT (arXiv:0802.1189, E-scheme) in `n` events.

    Ghosts take part with momenta scaled by 1e-18. In `members`, numbers below `len(p4)` are
    particles; the others, less `len(p4)`, are ghosts.
    """
    fastjet = _import_fastjet()
    everything = np.concatenate([event, ghost_event])
    order = np.argsort(everything, kind="stable")
    columns = np.concatenate([p4, ghost_p4 * _GHOST_SCALE])[order]
    counts = np.bincount(everything, minlength=n)
    array = ak.unflatten(
        ak.zip(
            {c: np.ascontiguousarray(columns[:, i]) for i, c in enumerate(("px", "py", "pz", "E"))},
            with_name="Momentum4D",
        ),
        counts,
    )
    sequence = fastjet.ClusterSequence(
        array, fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    )
    jets = sequence.inclusive_jets(min_pt=pt_min)
    members = sequence.constituent_index(min_pt=pt_min)
    jets_per_event = ak.to_numpy(ak.num(jets)).astype(np.int64)
    members_per_jet = ak.to_numpy(ak.flatten(ak.num(members, axis=2))).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(counts)])[:-1]
    jet_start = np.repeat(np.repeat(start, jets_per_event), members_per_jet)
    local = ak.to_numpy(ak.flatten(members, axis=None)).astype(np.int64)
    flat = ak.flatten(jets)
    return ClusteredJets(
        offsets=np.concatenate([[0], np.cumsum(jets_per_event)]),
        p4=np.stack([ak.to_numpy(flat[c]) for c in ("px", "py", "pz", "E")], axis=1),
        member_offsets=np.concatenate([[0], np.cumsum(members_per_jet)]),
        members=order[jet_start + local],
    )
