"""The branches of JetClass, from jets and their candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from transferline.data.layouts import jetclass as layout
from transferline.generate.ancestry import hard_process
from transferline.generate.compiled import Array
from transferline.generate.detector import (
    ELECTRON,
    HADRON,
    MUON,
    NEUTRAL_HADRON,
    PHOTON,
    Candidates,
    simulate,
)
from transferline.generate.large_jets.card import JetCard, LargeJets
from transferline.generate.large_jets.jets import Jets, find_jets
from transferline.generate.large_jets.matching import (
    QCD_MATCH,
    Decays,
    direction,
    match_jets,
    outgoing_partons,
    resonance_decays,
    truth_match,
)
from transferline.generate.large_jets.substructure import substructure
from transferline.generate.tables import Collection, EventTable
from transferline.generate.truth import Truth

PARTICLES = "part"
_PREFIX = f"{PARTICLES}_"
_KINDS = (HADRON, NEUTRAL_HADRON, PHOTON, ELECTRON, MUON)  # in the order of `layout.FLAGS`


@dataclass(frozen=True)
class Found:
    """Jets of a batch of events `[m]`; `match [m]` is which of `decays` each belongs to, or -1."""

    candidates: Candidates
    jets: Jets
    decays: Decays
    match: Array

    def take(self, index: Array) -> Found:
        """Return the jets `index`, in that order."""
        return replace(self, jets=self.jets.take(index), match=self.match[index])


def find(truth: Truth, card: JetCard, rng: np.random.Generator, resonance: int) -> Found:
    """Simulate a batch of events; find its jets and what they are matched to."""
    candidates = simulate(truth, card, rng)
    jets = find_jets(candidates, truth.n, card.jets)
    hard = hard_process(truth)
    decays = resonance_decays(hard, resonance) if resonance else outgoing_partons(hard)
    match = match_jets(
        jets.event,
        jets.direction,
        decays.event,
        decays.offsets,
        decays.direction,
        card.jets.radius,
    )
    return Found(candidates, jets, decays, match)


def jet_table(
    truth: Truth, card: JetCard, rng: np.random.Generator, *, jet_class: str, resonance: int
) -> EventTable:
    """Simulate a batch of events and return its jets of a class, one row each."""
    found = find(truth, card, rng, resonance)
    if resonance:
        found = found.take(np.flatnonzero(found.match >= 0))
    return table_of(found, card, jet_class)


def table_of(found: Found, card: JetCard, jet_class: str) -> EventTable:
    """Return jets with the branches of JetClass, one row each."""
    jets, candidates = found.jets, found.candidates
    scalars = {
        **_labels(jet_class, len(jets.event)),
        **_of_jets(jets, candidates, card.jets),
        **_truth(jet_class, found.decays, found.match),
    }
    typed = {name: scalars[name].astype(kind) for name, kind in layout.JET_BRANCHES.items()}
    p4 = _at_calorimeter(candidates) if card.eta_at_calorimeter else candidates.p4
    return EventTable(typed, {PARTICLES: _particles(jets, candidates, p4)})


def _labels(jet_class: str, n: int) -> dict[str, Array]:
    return {f"label_{name}": np.full(n, name == jet_class) for name in layout.CLASSES}


def _of_jets(jets: Jets, candidates: Candidates, card: LargeJets) -> dict[str, Array]:
    p4 = candidates.p4[jets.members]
    mass, tau = substructure(p4, jets.offsets, card.soft_drop_z, card.soft_drop_beta, card.radius)
    eta, phi = jets.direction.T
    values = {
        "jet_pt": jets.pt,
        "jet_eta": eta,
        "jet_phi": phi,
        "jet_energy": jets.p4[:, 3],
        "jet_nparticles": jets.counts,
        "jet_sdmass": mass,
    }
    return values | {f"jet_tau{n + 1}": tau[:, n] for n in range(tau.shape[1])}


def _truth(jet_class: str, decays: Decays, match: Array) -> dict[str, Array]:
    """What a jet is matched to: 0 where a jet of QCD has no parton."""
    angles = direction(decays.p4)
    values = {
        "aux_genpart_eta": angles[:, 0],
        "aux_genpart_phi": angles[:, 1],
        "aux_genpart_pid": decays.pdg_id,
        "aux_genpart_pt": np.hypot(decays.p4[:, 0], decays.p4[:, 1]),
        "aux_truth_match": truth_match(jet_class, decays),
    }
    found = {name: _at(column, match, 0) for name, column in values.items()}
    return found | {"aux_truth_match": _at(values["aux_truth_match"], match, QCD_MATCH)}


def _at(column: Array, index: Array, otherwise: float) -> Array:
    padded = np.append(column, otherwise)
    return padded[index]  # -1 is what was appended


def _at_calorimeter(candidates: Candidates) -> Array:
    """Momenta `[N, 4]` whose tracks point where they leave the tracker, with their pT and mass."""
    p4, pt = candidates.p4.copy(), candidates.pt
    track = candidates.source >= 0
    longitudinal = pt[track] * np.sinh(candidates.eta_calorimeter[track])
    p4[track, 3] = np.sqrt(p4[track, 3] ** 2 - p4[track, 2] ** 2 + longitudinal**2)
    p4[track, 2] = longitudinal
    return p4


def _particles(jets: Jets, candidates: Candidates, p4: Array) -> Collection:
    members, parent = jets.members, jets.parent
    p4, kind = p4[members], candidates.kind[members]
    axis = jets.direction[parent]
    delta = direction(p4) - axis
    d0, d0_error, dz, dz_error = candidates.impact[members].T
    values = {
        layout.PX: p4[:, 0],
        layout.PY: p4[:, 1],
        layout.PZ: p4[:, 2],
        layout.ENERGY: p4[:, 3],
        "part_deta": np.where(axis[:, 0] > 0, 1.0, -1.0) * delta[:, 0],
        "part_dphi": (delta[:, 1] + np.pi) % (2.0 * np.pi) - np.pi,
        "part_d0val": -d0,  # the sign of Delphes: (x py - y px) / pT
        "part_d0err": d0_error,
        "part_dzval": dz,
        "part_dzerr": dz_error,
        "part_charge": candidates.charge[members],
        **{flag: kind == one for flag, one in zip(layout.FLAGS, _KINDS, strict=True)},
    }
    columns = {
        name.removeprefix(_PREFIX): values[name].astype(dtype)
        for name, dtype in layout.PARTICLE_BRANCHES.items()
    }
    return Collection(jets.counts.astype(np.int64), columns)
