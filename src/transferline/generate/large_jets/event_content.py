"""Events of large-radius jets, as the branches of CMS record 12102 with one entry per event."""

from __future__ import annotations

import math

import numpy as np

from transferline.data.layouts import hbb as layout
from transferline.generate.ancestry import hard_process, heavy_hadrons
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
    count_near,
    direction,
    match_jets,
    resonance_decays,
)
from transferline.generate.large_jets.substructure import substructure
from transferline.generate.tables import Collection, EventTable
from transferline.generate.truth import Truth

JETS, CANDIDATES = "fj", "pfcand"
SIZE = "candidates"
"""Column of a jet: how many of its event's candidates are its own."""

# As in the record: jets above 200 GeV, candidates above 0.95 GeV, at most 100 of a jet.
_WINDOW = {"pt_min": 200.0, "pt_max": math.inf, "eta_max": 2.4}
_JETS_MIN = 2
_CANDIDATE_PT = 0.95
_CANDIDATES_MAX = 100
_HIGGS, _BOTTOM, _CHARM = 25, 5, 4
_KINDS = (HADRON, NEUTRAL_HADRON, PHOTON, ELECTRON, MUON)  # in the order of `layout.FLAGS`


def event_table(
    truth: Truth, card: JetCard, rng: np.random.Generator, *, mass: float
) -> EventTable:
    """Simulate a batch of events and return those with two jets; `mass` of X, 0 for multijets."""
    candidates = simulate(truth, card, rng)
    window = card.jets.model_copy(update=_WINDOW)
    jets = find_jets(candidates, truth.n, window)
    per_event = np.bincount(jets.event, minlength=truth.n)
    jets = jets.take(np.flatnonzero(per_event[jets.event] >= _JETS_MIN))
    kept = per_event >= _JETS_MIN
    n = int(kept.sum())
    found, of_jet = _leading(jets, candidates)
    scalars = {"sample_isQCD": np.full(n, mass == 0), "mass_param": np.full(n, mass)}
    columns = {**_of_jets(jets, candidates, window), **_labels(truth, jets, window.radius)}
    sizes = np.bincount(of_jet, minlength=len(jets.event))
    fj = Collection(per_event[kept], _typed(columns, layout.JET_BRANCHES) | {SIZE: sizes})
    pfcand = Collection(
        np.add.reduceat(sizes, fj.offsets[:-1]) if n else np.zeros(0, np.int64),
        _typed(_of_candidates(jets, candidates, found, of_jet), layout.CANDIDATE_BRANCHES),
    )
    return EventTable(_typed(scalars, layout.EVENT_BRANCHES), {JETS: fj, CANDIDATES: pfcand})


def _typed(columns: dict[str, Array], kinds: dict[str, str]) -> dict[str, Array]:
    return {name: columns[name].astype(kind) for name, kind in kinds.items()}


def _leading(jets: Jets, candidates: Candidates) -> tuple[Array, Array]:
    """Return candidates that are stored and the jet of each, in order."""
    rank = np.arange(len(jets.members)) - jets.offsets[jets.parent]
    hard = candidates.pt[jets.members] > _CANDIDATE_PT
    stored = hard & (rank < _CANDIDATES_MAX)  # members fall with pT
    return jets.members[stored], jets.parent[stored]


def _mass(p4: Array) -> Array:
    squared = p4[:, 3] ** 2 - (p4[:, :3] ** 2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _of_jets(jets: Jets, candidates: Candidates, card: LargeJets) -> dict[str, Array]:
    mass, tau = substructure(
        candidates.p4[jets.members],
        jets.offsets,
        card.soft_drop_z,
        card.soft_drop_beta,
        card.radius,
    )
    eta, phi = jets.direction.T
    values = {
        "fj_pt": jets.pt,
        "fj_eta": eta,
        "fj_phi": phi,
        "fj_mass": _mass(jets.p4),
        "fj_sdmass": mass,
    }
    return values | {f"fj_tau{n + 1}": tau[:, n] for n in range(tau.shape[1])}


def _labels(truth: Truth, jets: Jets, radius: float) -> dict[str, Array]:
    """H_bb where both b quarks of a Higgs lie in the jet, else by its b and c hadrons."""
    decays = resonance_decays(hard_process(truth), _HIGGS)
    higgs = (
        match_jets(
            jets.event,
            jets.direction,
            decays.event,
            decays.offsets,
            decays.direction,
            radius,
        )
        >= 0
    )
    hadrons = heavy_hadrons(truth)

    def count(flavour: int) -> Array:
        chosen = hadrons.flavour == flavour
        where = hadrons.event[chosen], direction(hadrons.p4[chosen])
        return count_near(jets.event, jets.direction, *where, radius)

    bottom, charm = count(_BOTTOM), count(_CHARM)
    tests = [higgs, bottom > 1, bottom == 1, charm > 1, charm == 1]
    names = ["H_bb", "QCD_bb", "QCD_b", "QCD_cc", "QCD_c"]
    place = np.select(tests, np.arange(len(tests)).tolist(), len(tests))
    labels = {f"label_{x}": place == i for i, x in enumerate([*names, "QCD_others"])}
    return labels | {"fj_isH": higgs, "fj_isQCD": ~higgs}


def _of_candidates(
    jets: Jets, candidates: Candidates, found: Array, of_jet: Array
) -> dict[str, Array]:
    p4, kind = candidates.p4[found], candidates.kind[found]
    axis = jets.direction[of_jet]
    delta = direction(p4) - axis
    delta[:, 1] = (delta[:, 1] + np.pi) % (2.0 * np.pi) - np.pi
    d0, d0_error, dz, dz_error = candidates.impact[found].T
    return {
        "pfcand_ptrel": candidates.pt[found] / jets.pt[of_jet],
        "pfcand_erel": p4[:, 3] / jets.p4[of_jet, 3],
        "pfcand_etarel": np.where(axis[:, 0] > 0, 1.0, -1.0) * delta[:, 0],
        "pfcand_phirel": delta[:, 1],
        "pfcand_deltaR": np.hypot(delta[:, 0], delta[:, 1]),
        "pfcand_mass": _mass(p4),
        "pfcand_dxy": d0 / layout.MM_PER_CM,
        "pfcand_dxysig": _significance(d0, d0_error),
        "pfcand_dz": dz / layout.MM_PER_CM,
        "pfcand_dzsig": _significance(dz, dz_error),
        "pfcand_charge": candidates.charge[found],
        **{flag: kind == one for flag, one in zip(layout.FLAGS, _KINDS, strict=True)},
    }


def _significance(value: Array, error: Array) -> Array:
    return np.divide(value, error, out=np.zeros(len(value)), where=error > 0)
