"""Hadronic tau candidates: true ones, and jets, electrons and muons taken for them.

Candidates start from jets. The momentum is that of the particles around the hardest track. The
DeepTau working points are nested bits of one uniform number (value 2^k - 1 for k points passed).
"""

from __future__ import annotations

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


@compiled
def _signal_cone(member_jet: Array, member: Array, n: int, p4: Array, eta: Array, phi: Array,
                 pt: Array, charge: Array, kind: Array, cone: float) -> tuple[Array, Array, Array]:
    """Momentum in the cone around each jet's hardest track, that track, and its kind's charge."""
    lead = np.full(n, -1, np.int64)
    for k in range(len(member)):
        i, jet = member[k], member_jet[k]
        if charge[i] != 0 and (lead[jet] < 0 or pt[i] > pt[lead[jet]]):
            lead[jet] = i
    total = np.zeros((n, 4))
    track = np.zeros(n, np.int64)
    for k in range(len(member)):
        i, jet = member[k], member_jet[k]
        seed = lead[jet]
        if seed < 0:
            continue
        d_phi = wrap_phi(phi[i] - phi[seed])
        if (eta[i] - eta[seed]) ** 2 + d_phi * d_phi < cone * cone:
            total[jet] += p4[i]
            track[jet] += charge[i]
    return total, lead, track


def _bits(u: Array, probability: Array) -> Array:
    """2^k - 1, where k is the number of nested working points that `u` passes."""
    return (2 ** (u[:, None] < probability).sum(axis=1) - 1).astype(np.uint8)


def _rate_by_pt(card: Taus, pt: Array) -> Array:
    knots = np.log(card.fake_pt)
    rates = np.array(card.fake_rate)
    columns = [np.interp(np.log(pt), knots, np.log(column)) for column in rates.T]
    return np.exp(np.stack(columns, axis=1))


def _lepton_origin(jets: FoundJets, leptons: Collection) -> Array:
    """Origin of the lepton that carries most of a jet, 0 for none."""
    n = len(jets.event)
    by_candidate = np.zeros(int(jets.member.max(initial=0)) + 1)
    known = leptons["candidate"] < len(by_candidate)
    by_candidate[leptons["candidate"][known]] = leptons["pt"][known]
    pt = by_candidate[jets.member]
    hardest = np.zeros(n)
    np.maximum.at(hardest, jets.member_jet, pt)
    return hardest > 0.5 * jets.columns["pt"]


def _constant(row: Row, n: int) -> Array:
    return np.broadcast_to(np.array(row), (n, len(row)))


def reconstruct_taus(
    candidates: Candidates, jets: FoundJets, truth: HadronicTaus, electrons: Collection,
    muons: Collection, card: Taus, rng: np.random.Generator,
) -> Collection:
    """Build the tau collection.

    Columns: pt, eta, phi, mass, charge, dz (cm), decayMode, vs_jet, vs_electron, vs_muon (bit
    masks), origin (`genPartFlav`: 5 hadronic tau, 1 electron, 2 muon, 0 jet).
    """
    n = len(jets.event)
    p4, lead, track_charge = _signal_cone(
        jets.member_jet, jets.member, n, candidates.p4, candidates.eta, candidates.phi,
        candidates.pt, candidates.charge, candidates.kind, card.signal_cone,
    )
    pt = np.hypot(p4[:, 0], p4[:, 1])
    eta = np.arcsinh(p4[:, 2] / np.maximum(pt, 1e-9))
    from_electron, from_muon = _lepton_origin(jets, electrons), _lepton_origin(jets, muons)
    real = (jets.tau >= 0) & ~from_electron & ~from_muon
    origin = np.select([from_electron, from_muon, real], [1, 2, 5], 0)
    fake = _rate_by_pt(card, np.maximum(jets.columns["pt"], 1.0))
    fake = fake * np.where(jets.columns["hadronFlavour"] == 5, card.b_jet_factor, 1.0)[:, None]
    u = rng.random((n, 6))
    # The first working point is also what NanoAOD asks of a candidate to be kept.
    enters = np.select([from_electron, from_muon, real],
                       [card.electron_rate, card.muon_rate, card.reconstruction], 1.0)
    vs_jet_rate = np.where((origin > 0)[:, None], _constant(card.true_efficiency, n), fake)
    vs_jet = _bits(u[:, 1], vs_jet_rate)
    has_track = (lead >= 0) & (candidates.pt[lead] > _SEED_PT)
    keep = has_track & (u[:, 0] < enters) & (vs_jet > 0)
    keep &= (pt > card.pt_min) & (np.abs(eta) < card.eta_max)
    vs_electron = np.where(from_electron[:, None], card.vs_electron_fake, card.vs_electron_true)
    vs_muon = np.where(from_muon[:, None], card.vs_muon_fake, card.vs_muon_true)
    mass2 = p4[:, 3] ** 2 - (p4[:, :3] ** 2).sum(axis=1)
    columns = {
        "pt": pt, "eta": eta, "phi": np.arctan2(p4[:, 1], p4[:, 0]),
        "mass": np.clip(np.sqrt(np.maximum(mass2, 0.0)), 0.13957, 2.0),
        "charge": _charge(real, jets.tau, truth, track_charge, candidates.charge[lead]),
        "dz": candidates.impact[lead, 2] / 10.0,
        "decayMode": _decay_mode(card, real, jets.tau, truth, u[:, 4]),
        "vs_jet": vs_jet, "vs_electron": _bits(u[:, 2], vs_electron),
        "vs_muon": _bits(u[:, 3], vs_muon), "origin": origin,
    }
    return Collection.sorted_by_pt(
        len(electrons.counts), jets.event[keep], {k: v[keep] for k, v in columns.items()}
    )


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
