"""NanoAOD-style jets: anti-kT R = 0.4 of all candidates, corrected, with flavour and b-tag.

Jets are *not* cleaned of leptons: an isolated electron is a jet too, and selections remove it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferline.generate.ancestry import HadronicTaus, HeavyHadrons
from transferline.generate.btag import draw_discriminant
from transferline.generate.card import Card, Jets, Table
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
_EM_MAX = 0.9  # CMS's skipEMfractionThreshold


@dataclass(frozen=True)
class FoundJets:
    """Corrected jets in clustering order, before acceptance.

    `columns` are those of the final collection; `member_jet` and `member` list candidates by jet;
    `tau` is the number of a hadronic tau inside, -1 for none; `shift [n, 2]` is the change of
    transverse momentum by the correction that missing momentum takes over (see `_met_shift`).
    """

    event: Array
    columns: dict[str, Array]
    member_jet: Array
    member: Array
    tau: Array
    shift: Array


def _by_region(card: Jets, table: Table, pt: Array, eta: Array) -> Array:
    """Interpolate a table of the card in log pT within the jets' regions of |eta|."""
    region = np.minimum(np.searchsorted(card.correction_eta, np.abs(eta)), len(table) - 1)
    knots = np.log(card.correction_pt)
    rows = np.stack([np.interp(np.log(pt), knots, row) for row in table])
    return np.asarray(rows[region, np.arange(len(pt))])


def correction(card: Jets, pt: Array, eta: Array) -> Array:
    """Return the energy correction factor, by region of |eta| and uncorrected pT in GeV."""
    return _by_region(card, card.correction, pt, eta)


def extra_smearing(card: Jets, pt: Array, eta: Array, rng: np.random.Generator) -> Array:
    """Draw the factor that widens the resolution to that of a full simulation; its mean is 1.

    A parametrised detector knows no cracks, no dead material and no shower fluctuations.
    """
    sigma = _by_region(card, card.extra_resolution, pt, eta)
    return np.asarray(np.maximum(1.0 + sigma * rng.standard_normal(len(pt)), 0.05))


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


def _polar(p4: Array) -> tuple[Array, Array]:
    """Transverse momentum and pseudorapidity."""
    pt = np.hypot(p4[:, 0], p4[:, 1])
    return pt, np.arcsinh(p4[:, 2] / pt)


def _corrected(raw: Array, factor: Array) -> dict[str, Array]:
    """Kinematics of jets whose energy is multiplied by `factor`."""
    pt, eta = _polar(raw)
    mass2 = raw[:, 3] ** 2 - (raw[:, :3] ** 2).sum(axis=1)
    return {
        "pt": pt * factor,
        "eta": eta,
        "phi": np.arctan2(raw[:, 1], raw[:, 0]),
        "mass": factor * np.sqrt(np.maximum(mass2, 0.0)),
    }


@dataclass(frozen=True)
class _Members:
    """Particles in jets: the number of their jet, kind and momentum."""

    jet: Array
    kind: Array
    p4: Array

    def electromagnetic(self, raw: Array) -> Array:
        """Tell which jets with momentum `raw` are electrons or photons, little else."""
        chosen = (self.kind == ELECTRON) | (self.kind == PHOTON)
        return _fraction(self.jet, self.p4[:, 3], chosen, raw[:, 3]) > _EM_MAX

    def without_muons(self, raw: Array) -> Array:
        """Return (px, py) of the jets less their muons."""
        muon = self.kind == MUON
        parts = [
            np.bincount(self.jet[muon], self.p4[muon, axis], minlength=len(raw)) for axis in (0, 1)
        ]
        return raw[:, :2] - np.stack(parts, axis=1)


def _met_shift(factor: Array, raw: Array, members: _Members, pt_min: float) -> Array:
    """Change of (px, py) of each jet by its correction, as far as missing momentum takes it over.

    The correction makes up for what the calorimeter loses of hadrons. As in CMS's type-1
    correction (arXiv:1903.06078) muons in jets are left out, jets of which electrons and photons
    make more than 90 % are skipped, and what remains must exceed `pt_min` after the correction.
    """
    hadronic = members.without_muons(raw)
    takes = (np.hypot(*hadronic.T) * factor > pt_min) & ~members.electromagnetic(raw)
    return np.asarray(np.where(takes, factor - 1.0, 0.0)[:, None] * hadronic)


def _energy_factor(card: Jets, raw: Array, members: _Members, rng: np.random.Generator) -> Array:
    """Correction and extra resolution; electrons and photons are measured better than jets."""
    pt, eta = _polar(raw)
    smearing = extra_smearing(card, pt, eta, rng)
    return correction(card, pt, eta) * np.where(members.electromagnetic(raw), 1.0, smearing)


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
    flavour, tau = _labels(clustered, n_candidates, hadrons.flavour, len(taus.p4))
    real = clustered.members < n_candidates
    member, jet = clustered.members[real], clustered.member_jet[real]
    members = _Members(jet, candidates.kind[member], candidates.p4[member])
    factor = _energy_factor(card.jets, clustered.p4, members, rng)
    kinematics = _corrected(clustered.p4, factor)
    pt, eta = kinematics["pt"], kinematics["eta"]
    columns = {
        **kinematics,
        "hadronFlavour": flavour,
        "btagDeepFlavB": draw_discriminant(card.btag, flavour, pt, eta, rng),
        "jetId": _jet_id(members.kind, members.p4[:, 3], jet, eta),
        "puId": np.full(count, 7),  # no pile-up: all three working points
        "nConstituents": np.bincount(jet, minlength=count),
    }
    shift = _met_shift(factor, clustered.p4, members, card.jets.pt_min)
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
