"""Hard electrons and muons, what became of them, and what the detector card says about that."""

from __future__ import annotations

from dataclasses import dataclass, fields

import awkward as ak
import numpy as np

from transferline.generate.card import Card, Leptons, Tracker, Turn, WorkingPoints
from transferline.generate.leptons import BARREL
from transferline.validation.event_file import EventFile
from transferline.validation.kinematics import flat, found, nearest, spread
from transferline.validation.statistics import Bools, Floats

PT_EDGES = (20.0, 25.0, 30.0, 40.0, 50.0, 70.0, 100.0, 200.0)
ETA_EDGES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.4)
# Wide, because a photon radiated at a large angle moves the lepton; only prompt ones are taken.
_CONE = 0.5
_PROMPT = (1, 15)
_MUON_ISOLATION = 0.15


@dataclass(frozen=True)
class Kind:
    """What electrons and muons differ in."""

    name: str
    code: int
    collection: str
    isolation: str

    def block(self, card: Card) -> Leptons:
        """Return the card's block."""
        return card.electrons if self.code == 11 else card.muons

    def tight(self, file: EventFile) -> ak.Array:
        """Tell which leptons are tight; electrons' level includes their isolation."""
        if self.code == 11:
            return file["Electron_cutBased"] >= 4
        return file["Muon_tightId"]

    def isolation_limit(self, card: Card, pt: Floats, abs_eta: Floats) -> Floats:
        """Return the largest isolation of a selected lepton."""
        cuts = self.block(card).isolation_cuts
        if "tight" not in cuts:
            return np.full(len(pt), _MUON_ISOLATION)
        barrel, endcap = (a + b / np.maximum(pt, 1.0) for a, b in cuts["tight"])
        return np.asarray(np.where(abs_eta < BARREL, barrel, endcap))


ELECTRON = Kind("electron", 11, "Electron", "pfRelIso03_all")
MUON = Kind("muon", 13, "Muon", "pfRelIso04_all")
KINDS = (ELECTRON, MUON)


@dataclass(frozen=True)
class TrueLeptons:
    """Hard leptons above 20 GeV, end to end.

    `pt`, `abs_eta` are generated, `reco_pt`, `reco_abs_eta` measured (0 where not found).
    """

    pt: Floats
    abs_eta: Floats
    reco_pt: Floats
    reco_abs_eta: Floats
    found: Bools
    tight: Bools
    isolated: Bools
    weight: Floats

    def keep(self, rows: Bools) -> TrueLeptons:
        """Return some of them."""
        return TrueLeptons(*(getattr(self, field.name)[rows] for field in fields(self)))


def true_leptons(file: EventFile, kind: Kind, card: Card) -> TrueLeptons:
    """Match hard leptons to reconstructed prompt ones."""
    true = file.hard(kind.code)
    true = true[(true.pt > PT_EDGES[0]) & (abs(true.eta) < ETA_EDGES[-1])]
    reco = file.objects(kind.collection, kind.isolation, "genPartFlav")
    reco["tight"] = kind.tight(file)
    reco = reco[(reco.genPartFlav == _PROMPT[0]) | (reco.genPartFlav == _PROMPT[1])]
    near = nearest(true, reco, _CONE)

    def told(values: ak.Array) -> Floats:
        return np.asarray(flat(ak.fill_none(values, 0.0)), float)

    pt, abs_eta = told(near.pt), np.abs(told(near.eta))
    present = told(found(near)) > 0
    return TrueLeptons(
        pt=told(true.pt),
        abs_eta=np.abs(told(true.eta)),
        reco_pt=pt,
        reco_abs_eta=abs_eta,
        found=present,
        tight=told(near.tight) > 0,
        isolated=present & (told(near[kind.isolation]) < kind.isolation_limit(card, pt, abs_eta)),
        weight=spread(file.weight, true),
    )


def _level(turn: Turn | WorkingPoints, name: str, pt: Floats) -> Floats:
    row = np.asarray(getattr(turn, name), float)
    return np.asarray(row[np.clip(np.searchsorted(turn.pt_edges, pt) - 1, 0, None)])


def _track_efficiency(tracker: Tracker, kind: Kind, leptons: TrueLeptons) -> Floats:
    own = tracker.efficiency.electron if kind.code == 11 else tracker.efficiency.muon
    row = np.minimum(np.searchsorted(tracker.eta_edges, leptons.abs_eta), len(own) - 1)
    column = np.clip(np.searchsorted(tracker.pt_edges, leptons.pt) - 1, 0, None)
    return np.asarray(np.asarray(own)[row, column])


def chance_found(card: Card, kind: Kind, leptons: TrueLeptons) -> Floats:
    """Return the card's probability that a lepton is reconstructed."""
    turn, barrel = kind.block(card).reconstruction, leptons.abs_eta < BARREL
    by_region = [_level(turn, name, leptons.pt) for name in ("barrel", "endcap")]
    return np.asarray(_track_efficiency(card.tracker, kind, leptons) * np.where(barrel, *by_region))


def chance_tight(card: Card, kind: Kind, leptons: TrueLeptons) -> Floats:
    """Return the card's probability that a reconstructed prompt lepton is tight."""
    block = kind.block(card)
    factor = np.where(leptons.reco_abs_eta < BARREL, 1.0, block.endcap_factor)
    return np.asarray(_level(block.working_points, "tight", leptons.reco_pt) * factor)
