"""Electrons and muons: reconstruction, isolation, identification levels, truth origin.

As in NanoAOD, leptons that are neither prompt nor isolated are kept; analyses cut on the flags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferline.generate.ancestry import lepton_origin
from transferline.generate.card import Leptons, Turn, WorkingPoints
from transferline.generate.compiled import Array
from transferline.generate.detector import ELECTRON, HADRON, MASS, Candidates
from transferline.generate.isolation import relative_isolation
from transferline.generate.tables import Collection
from transferline.generate.truth import Truth

LEVELS = ("veto", "loose", "medium", "tight")
BARREL = 1.479
_PROMPT_LIKE = (1, 15)
# Photons that a cluster of an electron takes up: CMS's veto cone (arXiv:2012.06888).
_PHOTON_VETO = {ELECTRON: 0.08}


def _by_pt(turn: Turn | WorkingPoints, rows: str, pt: Array) -> Array:
    bins = np.clip(np.searchsorted(turn.pt_edges, pt) - 1, 0, None)
    return np.asarray(getattr(turn, rows))[bins]


def _reconstructed(card: Leptons, pt: Array, eta: Array, u: Array) -> Array:
    barrel = np.abs(eta) < BARREL
    turn = card.reconstruction
    return u < np.where(barrel, _by_pt(turn, "barrel", pt), _by_pt(turn, "endcap", pt))


def _select(
    candidates: Candidates, card: Leptons, kind: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Candidates that enter the collection, and which of them are misidentified hadrons."""
    pt, eta = candidates.pt, candidates.eta
    u = rng.random(len(pt))
    inside = (pt > card.pt_min) & (np.abs(eta) < card.eta_max)
    true = inside & (candidates.kind == kind) & _reconstructed(card, pt, eta, u)
    wrong = inside & (candidates.kind == HADRON) & (pt > card.misidentified.pt_min)
    wrong &= u < card.misidentified.rate
    index = np.flatnonzero(true | wrong)
    return index, wrong[index]


@dataclass(frozen=True)
class _Found:
    """Leptons before identification; `wrong` ones are hadrons."""

    pt: Array
    eta: Array
    isolation: Array
    origin: Array
    wrong: Array

    @property
    def barrel(self) -> Array:
        return np.asarray(np.abs(self.eta) < BARREL)


def _identified(card: Leptons, found: _Found, u: Array) -> dict[str, Array]:
    """Nested identification flags: one uniform number decides all of them."""
    factor = np.where(np.isin(found.origin, _PROMPT_LIKE), 1.0, card.nonprompt_factor)
    factor = factor * np.where(found.barrel, 1.0, card.endcap_factor)
    flags = {}
    for level in LEVELS:
        right = _by_pt(card.working_points, level, found.pt) * factor
        flags[level] = u < np.where(found.wrong, getattr(card.misidentified, level), right)
    return flags


def _isolated(card: Leptons, level: str, found: _Found) -> Array:
    if level not in card.isolation_cuts:
        return np.ones(len(found.pt), bool)
    barrel, endcap = (a + b / found.pt for a, b in card.isolation_cuts[level])
    return np.asarray(found.isolation < np.where(found.barrel, barrel, endcap))


def _origins(candidates: Candidates, truth: Truth, index: Array, wrong: Array) -> Array:
    source, event = candidates.source[index], candidates.event[index]
    origin = lepton_origin(source, truth.offsets, event, truth.pdg_id, truth.mother)
    origin[wrong] = 0
    return origin


def reconstruct_leptons(
    candidates: Candidates, truth: Truth, card: Leptons, kind: int, rng: np.random.Generator
) -> Collection:
    """Build the electron or muon collection (`kind` of the candidates), ordered by pT.

    Columns: pt, eta, phi, mass, charge, dxy and dz (cm), isolation (relative), one flag per
    identification level (`veto` to `tight`) without and with its isolation cut (`*_isolated`),
    eta_calorimeter, origin (`genPartFlav`), candidate (number in `candidates`).
    """
    index, wrong = _select(candidates, card, kind, rng)
    found = _Found(
        pt=candidates.pt[index],
        eta=candidates.eta[index],
        isolation=relative_isolation(
            candidates, index, card.isolation_cone, _PHOTON_VETO.get(kind, 0.0)
        ),
        origin=_origins(candidates, truth, index, wrong),
        wrong=wrong,
    )
    flags = _identified(card, found, rng.random(len(index)))
    isolated = {f"{k}_isolated": flag & _isolated(card, k, found) for k, flag in flags.items()}
    columns = {
        "pt": found.pt,
        "eta": found.eta,
        "phi": candidates.phi[index],
        "mass": np.full(len(index), MASS[kind]),
        "charge": candidates.charge[index],
        "dxy": candidates.impact[index, 0] / 10.0,
        "dz": candidates.impact[index, 2] / 10.0,
        "isolation": found.isolation,
        **flags,
        **isolated,
        "eta_calorimeter": candidates.eta_calorimeter[index],
        "origin": found.origin,
        "candidate": index,
    }
    return Collection.sorted_by_pt(truth.n, candidates.event[index], columns)
