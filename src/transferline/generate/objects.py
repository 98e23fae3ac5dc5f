"""From candidates to the objects of an analysis: leptons, taus, jets, missing momentum."""

from __future__ import annotations

import numpy as np

from transferline.generate.ancestry import (
    hadronic_taus,
    hard_process,
    heavy_hadrons,
    invisible_momentum,
)
from transferline.generate.card import Card
from transferline.generate.clustering import NOTHING, EventParticles, cluster
from transferline.generate.compiled import Array
from transferline.generate.detector import ELECTRON, MUON, Candidates
from transferline.generate.jets import FoundJets, find_jets, jet_collection
from transferline.generate.leptons import reconstruct_leptons
from transferline.generate.tables import Collection, EventTable
from transferline.generate.taus import reconstruct_taus
from transferline.generate.trigger import emulate
from transferline.generate.truth import Truth

_GEN_JET_PT = 10.0  # GeV, as in NanoAOD


def missing_momentum(candidates: Candidates, jets: FoundJets) -> Array:
    """Return the missing transverse momentum `[n, 2]` in GeV.

    Minus the sum of all candidates, with the energy correction of jets applied (CMS calls it
    type 1); `FoundJets.shift` holds what of the correction belongs here.
    """
    n = len(candidates.offsets) - 1
    event = candidates.event
    total = np.empty((n, 2))
    for axis in (0, 1):
        total[:, axis] = np.bincount(event, candidates.p4[:, axis], minlength=n)
        total[:, axis] += np.bincount(jets.event, jets.shift[:, axis], minlength=n)
    return -total


def _kinematics(p4: Array) -> dict[str, Array]:
    px, py, pz, energy = p4.T
    pt = np.hypot(px, py)
    mass2 = energy**2 - px**2 - py**2 - pz**2
    return {
        "pt": pt,
        # Incoming partons have no transverse momentum: keep their pseudorapidity finite.
        "eta": np.arcsinh(pz / np.maximum(pt, 1e-3)),
        "phi": np.arctan2(py, px),
        "mass": np.sqrt(np.maximum(mass2, 0.0)),
    }


def _particle_jets(truth: Truth, radius: float) -> Collection:
    """Jets of what a perfect detector would see; without neutrinos, like NanoAOD's GenJet."""
    seen = np.flatnonzero(truth.final & ~truth.invisible)
    particles = EventParticles(truth.event[seen], truth.p4[seen])
    found = cluster(particles, NOTHING, truth.n, radius=radius, pt_min=_GEN_JET_PT)
    return Collection.sorted_by_pt(truth.n, found.event, _kinematics(found.p4))


def _hard_particles(truth: Truth) -> Collection:
    hard = hard_process(truth)
    columns = {
        **_kinematics(hard.p4),
        "pdgId": hard.pdg_id,
        "status": hard.status,
        "genPartIdxMother": hard.mother,
    }
    return Collection.grouped(truth.n, hard.event, columns)


def _polar(prefix: str, xy: Array) -> dict[str, Array]:
    return {f"{prefix}_pt": np.hypot(*xy.T), f"{prefix}_phi": np.arctan2(xy[:, 1], xy[:, 0])}


def reconstruct(
    truth: Truth, candidates: Candidates, card: Card, rng: np.random.Generator
) -> EventTable:
    """Reconstruct all objects of a batch of events."""
    electrons = reconstruct_leptons(candidates, truth, card.electrons, ELECTRON, rng)
    muons = reconstruct_leptons(candidates, truth, card.muons, MUON, rng)
    true_taus = hadronic_taus(truth)
    found = find_jets(candidates, heavy_hadrons(truth), true_taus, card, rng)
    taus = reconstruct_taus(
        candidates, found, true_taus, electrons=electrons, muons=muons, card=card.taus, rng=rng
    )
    jets = jet_collection(found, electrons, muons, card.jets, len(candidates.p4))
    scalars = {
        "genWeight": truth.weight,
        **_polar("MET", missing_momentum(candidates, found)),
        "MET_sumEt": np.bincount(candidates.event, candidates.pt, minlength=truth.n),
        **_polar("GenMET", invisible_momentum(truth)),
        **emulate(electrons, muons, card.trigger, rng),
    }
    collections = {
        "Electron": electrons,
        "Muon": muons,
        "Tau": taus,
        "Jet": jets,
        "GenJet": _particle_jets(truth, card.jets.radius),
        "GenPart": _hard_particles(truth),
    }
    return EventTable(scalars, collections)
