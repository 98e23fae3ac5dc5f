"""Which reconstructed objects a selection accepts."""

from __future__ import annotations

import numpy as np

from transferline.data.selections.flat import Flat, Mask, far_from
from transferline.data.selections.recipe import (
    ElectronCuts,
    JetCuts,
    Kinematics,
    LeptonCuts,
    MuonCuts,
    TauCuts,
)
from transferline.data.selections.working_points import jet_puid_bits

_P4 = ("pt", "eta", "phi", "mass")


def electron_columns(cuts: ElectronCuts) -> list[str]:
    """Return the columns that `electrons` reads."""
    return [
        *_P4, "charge", *_lepton_columns(cuts),
        *(["cut_based"] if cuts.cut_based_min is not None else []),
        *(["mva_iso_wp90"] if cuts.mva_iso_wp90 else []),
        *(["delta_eta_sc"] if cuts.sc_gap is not None else []),
    ]  # fmt: skip


def muon_columns(cuts: MuonCuts) -> list[str]:
    """Return the columns that `muons` reads."""
    return [*_P4, "charge", *_lepton_columns(cuts), *_muon_ids(cuts)]


def tau_columns(cuts: TauCuts) -> list[str]:
    """Return the columns that `taus` reads."""
    dz = ["dz"] if cuts.dz_max is not None else []
    return [*_P4, "charge", "vs_jet_level", *_tau_vetoes(cuts), "decay_mode", *dz]


def _tau_vetoes(cuts: TauCuts) -> dict[str, int]:
    """Column and least level of what is asked for against leptons."""
    asked = {
        "vs_electron_level": cuts.vs_electron_level_min,
        "vs_muon_level": cuts.vs_muon_level_min,
    }
    return {column: least for column, least in asked.items() if least is not None}


def jet_columns(cuts: JetCuts) -> list[str]:
    """Return the columns that `jets` reads."""
    jet_id = ["jet_id"] if cuts.jet_id_bit is not None else []
    pu_id = ["pu_id"] if cuts.pu_id is not None else []
    return [*_P4, cuts.btag.tagger, *jet_id, *pu_id]


def _lepton_columns(cuts: LeptonCuts) -> list[str]:
    limits = {"rel_iso": cuts.rel_iso_max, "dxy": cuts.dxy_max, "dz": cuts.dz_max}
    return [name for name, limit in limits.items() if limit is not None]


def _muon_ids(cuts: MuonCuts) -> list[str]:
    return [name for name in ("tight_id", "medium_id", "loose_id") if getattr(cuts, name)]


def _kinematics(objects: Flat, cuts: Kinematics) -> Mask:
    good: Mask = (objects["pt"] > cuts.pt_min) & (np.abs(objects["eta"]) < cuts.abs_eta_max)
    return good


def _lepton(objects: Flat, cuts: LeptonCuts) -> Mask:
    good = _kinematics(objects, cuts)
    if cuts.rel_iso_max is not None:
        good &= objects["rel_iso"] < cuts.rel_iso_max
    if cuts.dxy_max is not None:
        good &= np.abs(objects["dxy"]) < cuts.dxy_max
    if cuts.dz_max is not None:
        good &= np.abs(objects["dz"]) < cuts.dz_max
    return good


def electrons(objects: Flat, cuts: ElectronCuts) -> Flat:
    """Return the selected electrons."""
    good = _lepton(objects, cuts)
    if cuts.cut_based_min is not None:
        good &= objects["cut_based"] >= cuts.cut_based_min
    if cuts.mva_iso_wp90:
        good &= objects["mva_iso_wp90"].astype(np.bool_)
    if cuts.sc_gap is not None:
        eta_sc = np.abs(objects["eta"] + objects["delta_eta_sc"])
        good &= (eta_sc <= cuts.sc_gap[0]) | (eta_sc >= cuts.sc_gap[1])
    return objects.keep(good)


def muons(objects: Flat, cuts: MuonCuts) -> Flat:
    """Return the selected muons."""
    good = _lepton(objects, cuts)
    for name in _muon_ids(cuts):
        good &= objects[name].astype(np.bool_)
    return objects.keep(good)


def taus(objects: Flat, cuts: TauCuts, leptons: list[Flat]) -> Flat:
    """Return the selected hadronic taus, cleaned of the selected electrons and muons."""
    good = _kinematics(objects, cuts)
    good &= objects["vs_jet_level"] >= cuts.vs_jet_level_min
    for column, least in _tau_vetoes(cuts).items():
        good &= objects[column] >= least
    good &= np.isin(objects["decay_mode"], cuts.decay_modes)
    if cuts.dz_max is not None:
        good &= np.abs(objects["dz"]) < cuts.dz_max
    kept = objects.keep(good)
    return kept.keep(far_from(kept, leptons, cuts.overlap_dr))


def jets(objects: Flat, cuts: JetCuts, era: str, others: list[Flat]) -> Flat:
    """Return the selected jets, cleaned of the selected leptons and taus."""
    good = _kinematics(objects, cuts)
    if cuts.jet_id_bit is not None:
        good &= (objects["jet_id"] >> cuts.jet_id_bit) & 1 == 1
    if cuts.pu_id is not None:
        least = jet_puid_bits(era, cuts.pu_id.working_point)
        passed = sum((objects["pu_id"] >> bit) & 1 for bit in range(3)) >= least
        good &= passed | (objects["pt"] >= cuts.pu_id.pt_max)
    kept = objects.keep(good)
    return kept.keep(far_from(kept, others, cuts.overlap_dr))
