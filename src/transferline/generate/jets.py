"""NanoAOD-style jets: anti-kT R = 0.4 of all candidates, corrected, with flavour and b-tag.

Jets are *not* cleaned of leptons: an isolated electron is a jet too, and selections remove it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferline.generate.ancestry import HadronicTaus, HeavyHadrons
from transferline.generate.btag import draw_discriminant
from transferline.generate.card import Card, Jets
from transferline.generate.clustering import ClusteredJets, EventParticles, cluster
from transferline.generate.compiled import Array
from transferline.generate.detector import (
    ELECTRON,
    HADRON,
    MUON,
    NEUTRAL_HADRON,
    PHOTON,
    Candidates,
)
from transferline.generate.tables import Collection

_RAW_MARGIN = 0.6  # jets are found down to this share of the threshold, then corrected


@dataclass(frozen=True)
class FoundJets:
    """Corrected jets in clustering order, before acceptance.

    `columns` are those of the final collection; `member_jet` and `member` list candidates by jet;
    `tau` is the number of a hadronic tau inside, -1 for none; `shift [n, 2]` is the change of
    transverse momentum by the correction.
    """

    event: Array
    columns: dict[str, Array]
    member_jet: Array
    member: Array
    tau: Array
    shift: Array


def correction(card: Jets, pt: Array, eta: Array) -> Array:
    """Return the energy correction factor, interpolated in log pT within a region of |eta|."""
    region = np.minimum(np.searchsorted(card.correction_eta, np.abs(eta)), len(card.correction) - 1)
    knots = np.log(card.correction_pt)
    rows = np.stack([np.interp(np.log(pt), knots, row) for row in card.correction])
    return np.asarray(rows[region, np.arange(len(pt))])


def _largest(jet: Array, value: Array, n: int, nothing: int) -> Array:
    """Largest `value` of the ghosts in each of `n` jets, `nothing` where there is none."""
    result = np.full(n, nothing)
    np.maximum.at(result, jet, value)
    return result


def _fraction(member_jet: Array, energy: Array, chosen: Array, total: Array) -> Array:
    part = np.bincount(member_jet[chosen], energy[chosen], minlength=len(total))
    return part / np.maximum(total, 1e-9)


def _jet_id(kind: Array, energy: Array, member_jet: Array, eta: Array) -> Array:
    """Tight (bit 1) and tightLepVeto (bit 2) identification, after CMS in 2016 UL."""
    n = len(eta)
    total = np.bincount(member_jet, energy, minlength=n)
    share = {k: _fraction(member_jet, energy, kind == k, total) for k in range(5)}
    size = np.bincount(member_jet, minlength=n)
    tracks = np.bincount(member_jet[kind <= MUON], minlength=n)
    central = np.abs(eta) < 2.4
    charged = (tracks > 0) & (share[HADRON] > 0.0)
    neutral = (share[NEUTRAL_HADRON] < 0.9) & (share[PHOTON] < 0.9) & (size > 1)
    # Without a tracker neutral fractions tell nothing: only pure photon deposits are refused.
    tight = np.where(np.abs(eta) < 2.5, neutral & (charged | ~central), share[PHOTON] < 0.99)
    veto = tight & (~central | ((share[MUON] < 0.8) & (share[ELECTRON] < 0.8)))
    return np.asarray(2 * tight + 4 * veto)


def _labels(
    clustered: ClusteredJets, n_candidates: int, flavour: Array, n_taus: int
) -> tuple[Array, Array]:
    """True flavour of each jet, and the number of a hadronic tau in it (-1 for none)."""
    n = len(clustered.p4)
    is_ghost = clustered.members >= n_candidates
    jet, ghost = clustered.member_jet[is_ghost], clustered.members[is_ghost] - n_candidates
    flavours = np.concatenate([flavour, np.zeros(n_taus, np.int8)])
    numbers = np.concatenate([np.full(len(flavour), -1), np.arange(n_taus)])
    return _largest(jet, flavours[ghost], n, 0), _largest(jet, numbers[ghost], n, -1)


def _corrected(card: Jets, raw: Array) -> tuple[dict[str, Array], Array]:
    """Kinematics of jets after the energy correction, and the change of (px, py)."""
    pt = np.hypot(raw[:, 0], raw[:, 1])
    eta = np.arcsinh(raw[:, 2] / pt)
    factor = correction(card, pt, eta)
    mass2 = raw[:, 3] ** 2 - (raw[:, :3] ** 2).sum(axis=1)
    columns = {
        "pt": pt * factor,
        "eta": eta,
        "phi": np.arctan2(raw[:, 1], raw[:, 0]),
        "mass": factor * np.sqrt(np.maximum(mass2, 0.0)),
    }
    return columns, (factor - 1.0)[:, None] * raw[:, :2]


def find_jets(
    candidates: Candidates,
    hadrons: HeavyHadrons,
    taus: HadronicTaus,
    card: Card,
    rng: np.random.Generator,
) -> FoundJets:
    """Cluster, correct, and label jets; draw their b-tag discriminant."""
    ghosts = EventParticles(
        np.concatenate([hadrons.event, taus.event]), np.concatenate([hadrons.p4, taus.p4])
    )
    clustered = cluster(
        EventParticles(candidates.event, candidates.p4),
        ghosts,
        len(candidates.offsets) - 1,
        radius=card.jets.radius,
        pt_min=_RAW_MARGIN * card.jets.pt_min,
    )
    count, n_candidates = len(clustered.p4), len(candidates.p4)
    kinematics, shift = _corrected(card.jets, clustered.p4)
    pt, eta = kinematics["pt"], kinematics["eta"]
    flavour, tau = _labels(clustered, n_candidates, hadrons.flavour, len(taus.p4))
    real = clustered.members < n_candidates
    member, jet = clustered.members[real], clustered.member_jet[real]
    columns = {
        **kinematics,
        "hadronFlavour": flavour,
        "btagDeepFlavB": draw_discriminant(card.btag, flavour, pt, eta, rng),
        "jetId": _jet_id(candidates.kind[member], candidates.p4[member, 3], jet, eta),
        "puId": np.full(count, 7),  # no pile-up: all three working points
        "nConstituents": np.bincount(jet, minlength=count),
    }
    return FoundJets(clustered.event, columns, jet, member, tau, shift)


def _leading_lepton(jets: FoundJets, leptons: Collection, n_candidates: int) -> Array:
    """Number within the event of the hardest lepton among each jet's members, -1 for none."""
    slot = np.full(n_candidates, np.iinfo(np.int32).max)
    slot[leptons["candidate"]] = leptons.slot
    best = np.full(len(jets.event), np.iinfo(np.int32).max)
    np.minimum.at(best, jets.member_jet, slot[jets.member])
    return np.where(best == np.iinfo(np.int32).max, -1, best)


def jet_collection(
    jets: FoundJets, electrons: Collection, muons: Collection, card: Jets, n_candidates: int
) -> Collection:
    """Apply the acceptance of NanoAOD and link jets to the leptons inside them."""
    columns = {
        **jets.columns,
        "electronIdx1": _leading_lepton(jets, electrons, n_candidates),
        "muonIdx1": _leading_lepton(jets, muons, n_candidates),
    }
    keep = (columns["pt"] > card.pt_min) & (np.abs(columns["eta"]) < card.eta_max)
    kept = {k: v[keep] for k, v in columns.items()}
    return Collection.sorted_by_pt(len(electrons.counts), jets.event[keep], kept)
