"""Hadronic tau candidates: true ones, and jets, electrons and muons taken for them.

Candidates start from jets. The momentum is that of the particles around the hardest track. The
DeepTau working points are nested bits of one uniform number (value 2^k - 1 for k points passed).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transferline.generate.ancestry import HadronicTaus
from transferline.generate.card import Row, Taus
from transferline.generate.compiled import Array, compiled, wrap_phi
from transferline.generate.detector import Candidates
from transferline.generate.jets import FoundJets
from transferline.generate.tables import Collection

DECAY_MODES = np.array([0, 1, 10, 11])
_FAKE_MODES = np.array([0.35, 0.85, 0.95, 1.0])  # cumulative, of a quark or gluon jet
_SEED_PT = 5.0
_PION_MASS = 0.13957
_NONE, _ELECTRON, _MUON, _TAU = 0, 1, 2, 5  # values of NanoAOD's genPartFlav


class _Members(NamedTuple):
    """Candidates inside jets: jet number, then p4, (pT, eta, phi) and charge of each."""

    jet: Array
    p4: Array
    polar: Array
    charge: Array


@compiled
def _hardest_track(members: _Members, n: int) -> Array:
    """Position in `members` of each jet's hardest track, -1 for none."""
    lead = np.full(n, -1, np.int64)
    for k in range(len(members.jet)):
        best = lead[members.jet[k]]
        if members.charge[k] != 0 and (best < 0 or members.polar[k, 0] > members.polar[best, 0]):
            lead[members.jet[k]] = k
    return lead


@compiled
def _signal_cone(members: _Members, lead: Array, cone: float) -> tuple[Array, Array]:
    """Momentum and charge in the cone around each jet's hardest track."""
    total = np.zeros((len(lead), 4))
    charge = np.zeros(len(lead), np.int64)
    for k in range(len(members.jet)):
        jet = members.jet[k]
        seed = lead[jet]
        if seed < 0:
            continue
        d_eta = members.polar[k, 1] - members.polar[seed, 1]
        d_phi = wrap_phi(members.polar[k, 2] - members.polar[seed, 2])
        if d_eta * d_eta + d_phi * d_phi < cone * cone:
            for axis in range(4):  # whole rows at once take seconds more to compile
                total[jet, axis] += members.p4[k, axis]
            charge[jet] += members.charge[k]
    return total, charge


@dataclass(frozen=True)
class _Seeds:
    """One tau candidate per jet: `p4`, charge in the cone, and its hardest track.

    `track` is the number of that track among the candidates; jets without one have pT 0.
    """

    p4: Array
    charge: Array
    track: Array
    has_track: Array

    @property
    def pt(self) -> Array:
        return np.asarray(np.hypot(self.p4[:, 0], self.p4[:, 1]))

    @property
    def eta(self) -> Array:
        return np.asarray(np.arcsinh(self.p4[:, 2] / np.maximum(self.pt, 1e-9)))

    @property
    def mass(self) -> Array:
        """Invariant mass, kept to what a tau may have."""
        squared = self.p4[:, 3] ** 2 - (self.p4[:, :3] ** 2).sum(axis=1)
        return np.asarray(np.clip(np.sqrt(np.maximum(squared, 0.0)), _PION_MASS, 2.0))


def _seeds(candidates: Candidates, jets: FoundJets, cone: float) -> _Seeds:
    inside = jets.member
    polar = np.stack([candidates.pt, candidates.eta, candidates.phi], axis=1)
    members = _Members(
        jets.member_jet, candidates.p4[inside], polar[inside], candidates.charge[inside]
    )
    lead = _hardest_track(members, len(jets.event))
    p4, charge = _signal_cone(members, lead, cone)
    has_track = (lead >= 0) & (members.polar[lead, 0] > _SEED_PT)
    return _Seeds(p4, charge, inside[lead], has_track)


def _bits(u: Array, probability: Array) -> Array:
    """2^k - 1, where k is the number of nested working points that `u` passes."""
    return np.asarray(2 ** (u[:, None] < probability).sum(axis=1) - 1, np.uint8)


def _fake_rate(card: Taus, jets: FoundJets) -> Array:
    """Probabilities `[n, points]` of a jet to pass the working points."""
    pt = np.maximum(jets.columns["pt"], 1.0)
    knots = np.log(card.fake_pt)
    rates = np.log(np.array(card.fake_rate)).T
    by_pt = np.stack([np.exp(np.interp(np.log(pt), knots, rate)) for rate in rates], axis=1)
    factor = np.where(jets.columns["hadronFlavour"] == 5, card.b_jet_factor, 1.0)
    return np.asarray(by_pt * factor[:, None])


def _is_lepton(jets: FoundJets, leptons: Collection) -> Array:
    """Tell which jets owe more than half of their pT to one of the leptons."""
    size = max(int(jets.member.max(initial=0)), int(leptons["candidate"].max(initial=0))) + 1
    by_candidate = np.zeros(size)
    by_candidate[leptons["candidate"]] = leptons["pt"]
    hardest = np.zeros(len(jets.event))
    np.maximum.at(hardest, jets.member_jet, by_candidate[jets.member])
    return np.asarray(hardest > 0.5 * jets.columns["pt"])


def _origin(jets: FoundJets, electrons: Collection, muons: Collection) -> Array:
    conditions = [_is_lepton(jets, electrons), _is_lepton(jets, muons), jets.tau >= 0]
    return np.select(conditions, [_ELECTRON, _MUON, _TAU], _NONE)


def _working_points(
    card: Taus, jets: FoundJets, origin: Array, u: Array
) -> tuple[Array, Array, Array]:
    """Bit masks against jets, electrons and muons from three uniform numbers per jet."""

    def where(condition: Array, one: Row | Array, other: Row | Array) -> Array:
        return np.where(condition[:, None], one, other)

    against_jet = where(origin != _NONE, card.true_efficiency, _fake_rate(card, jets))
    against_electron = where(origin == _ELECTRON, card.vs_electron_fake, card.vs_electron_true)
    against_muon = where(origin == _MUON, card.vs_muon_fake, card.vs_muon_true)
    return _bits(u[0], against_jet), _bits(u[1], against_electron), _bits(u[2], against_muon)


def _charge(real: Array, number: Array, truth: HadronicTaus, summed: Array, lead: Array) -> Array:
    """The true charge for taus; for others that of the cone if it is +-1, else of the track."""
    guess = np.where(np.abs(summed) == 1, summed, lead)
    if len(truth.charge) == 0:
        return guess
    return np.where(real, truth.charge[number], guess)


def _decay_mode(card: Taus, real: Array, number: Array, truth: HadronicTaus, u: Array) -> Array:
    """Draw the reconstructed decay mode from the true one, or from that of jets."""
    cumulative = np.broadcast_to(_FAKE_MODES, (len(u), 4))
    if len(truth.mode):
        table = np.cumsum(np.array(card.migration), axis=1)
        cumulative = np.where(real[:, None], table[truth.mode[number]], cumulative)
    index = np.minimum((u[:, None] > cumulative).sum(axis=1), 3)
    return np.asarray(DECAY_MODES[index])


def reconstruct_taus(
    candidates: Candidates,
    jets: FoundJets,
    truth: HadronicTaus,
    *,
    electrons: Collection,
    muons: Collection,
    card: Taus,
    rng: np.random.Generator,
) -> Collection:
    """Build the tau collection.

    Columns: pt, eta, phi, mass, charge, dz (cm), decayMode, vs_jet, vs_electron, vs_muon (bit
    masks), origin (`genPartFlav`: 5 hadronic tau, 1 electron, 2 muon, 0 jet).
    """
    seeds = _seeds(candidates, jets, card.signal_cone)
    origin = _origin(jets, electrons, muons)
    real = origin == _TAU
    u = rng.random((len(origin), 6)).T
    vs_jet, vs_electron, vs_muon = _working_points(card, jets, origin, u[1:4])
    enters = np.select(
        [origin == _ELECTRON, origin == _MUON, real],
        [card.electron_rate, card.muon_rate, card.reconstruction],
        1.0,
    )
    # NanoAOD keeps only candidates that pass the loosest working point against jets.
    keep = seeds.has_track & (u[0] < enters) & (vs_jet > 0)
    keep &= (seeds.pt > card.pt_min) & (np.abs(seeds.eta) < card.eta_max)
    columns = {
        "pt": seeds.pt,
        "eta": seeds.eta,
        "phi": np.arctan2(seeds.p4[:, 1], seeds.p4[:, 0]),
        "mass": seeds.mass,
        "charge": _charge(real, jets.tau, truth, seeds.charge, candidates.charge[seeds.track]),
        "dz": candidates.impact[seeds.track, 2] / 10.0,
        "decayMode": _decay_mode(card, real, jets.tau, truth, u[4]),
        "vs_jet": vs_jet,
        "vs_electron": vs_electron,
        "vs_muon": vs_muon,
        "origin": origin,
    }
    kept = {name: column[keep] for name, column in columns.items()}
    return Collection.sorted_by_pt(len(electrons.counts), jets.event[keep], kept)
