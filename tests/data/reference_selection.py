"""The selection once more, one event and one object at a time: slow, and easy to check."""

from __future__ import annotations

import math

from transferline.data.events import SPECIES


def _distance(a, b):
    dphi = math.remainder(a["phi"] - b["phi"], 2 * math.pi)
    return math.hypot(a["eta"] - b["eta"], dphi)


def _clear(one, others, dr):
    return all(_distance(one, other) >= dr for other in others)


def _central(one, cuts):
    return one["pt"] > cuts.pt_min and abs(one["eta"]) < cuts.abs_eta_max


def _electrons(row, cuts):
    low, high = cuts.sc_gap
    for one in row["electron"]:
        in_gap = low < abs(one["eta"] + one["delta_eta_sc"]) < high
        if _central(one, cuts) and one["cut_based"] >= cuts.cut_based_min and not in_gap:
            yield one


def _muons(row, cuts):
    for one in row["muon"]:
        if _central(one, cuts) and one["tight_id"] and one["rel_iso"] < cuts.rel_iso_max:
            yield one


def _taus(row, cuts, leptons):
    for one in row["tau"]:
        identified = (
            one["vs_jet_level"] >= cuts.vs_jet_level_min
            and one["vs_electron_level"] >= (cuts.vs_electron_level_min or 0)
            and one["vs_muon_level"] >= (cuts.vs_muon_level_min or 0)
            and one["decay_mode"] in cuts.decay_modes
            and abs(one["dz"]) < cuts.dz_max
        )
        if _central(one, cuts) and identified and _clear(one, leptons, cuts.overlap_dr):
            yield one


def _jets(row, cuts, others):
    for one in row["jet"]:
        pileup = one["pt"] < cuts.pu_id.pt_max and not one["pu_id"] & 1  # loose, 2016
        tight = one["jet_id"] & 2
        if _central(one, cuts) and tight and not pileup and _clear(one, others, cuts.overlap_dr):
            yield one


def _jet_nodes(jets, nodes):
    by_tag = sorted(jets, key=lambda jet: (-jet["btagDeepFlavB"], -jet["pt"]))
    rest = sorted(by_tag[nodes.bjets :], key=lambda jet: -jet["pt"])
    named = [("bjet", jet) for jet in by_tag[: nodes.bjets]]
    return named + [("jet", jet) for jet in rest[: nodes.jets]]


def _is_recorded(selection, row):
    flags = row["context"]
    fired = not selection.triggers or any(flags[name] for name in selection.triggers)
    return fired and all(flags[name] for name in selection.filters)


def _has_enough(selection, row, found, n_bjets):
    cuts = selection.cuts
    leptons = found["electrons"] + found["muons"]
    hard = any(
        one["pt"] > getattr(selection, kind).leading_pt_min
        for kind in ("electrons", "muons")
        for one in found[kind]
    )
    return (
        (hard or not cuts.leptons_min)
        and len(leptons) >= cuts.leptons_min
        and (cuts.leptons_max is None or len(leptons) <= cuts.leptons_max)
        and len(found["taus"]) >= cuts.taus_min
        and len(found["jets"]) >= cuts.jets_min
        and n_bjets >= cuts.bjets_min
        and (cuts.met_min is None or row["met"][0]["pt"] > cuts.met_min)
    )


def select(selection, row):
    """Return the objects (species, pt, btag) of a passing event, None otherwise."""
    if not _is_recorded(selection, row):
        return None
    electrons = list(_electrons(row, selection.electrons))
    muons = list(_muons(row, selection.muons))
    leptons = electrons + muons
    taus = [] if selection.taus is None else list(_taus(row, selection.taus, leptons))
    jets = list(_jets(row, selection.jets, leptons + taus))
    bjets = [jet for jet in jets if jet["btagDeepFlavB"] > selection.btag_cut]
    found = {"electrons": electrons, "muons": muons, "taus": taus, "jets": jets}
    if not _has_enough(selection, row, found, len(bjets)):
        return None
    named = [("electron", one) for one in electrons] + [("muon", one) for one in muons]
    found = sorted(named, key=lambda pair: -pair[1]["pt"])
    found += sorted((("tau", one) for one in taus), key=lambda pair: -pair[1]["pt"])
    tagged = [("bjet" if jet in bjets else "jet", jet) for jet in jets]
    if selection.nodes is not None:
        found, tagged = found[: selection.nodes.leptons], _jet_nodes(jets, selection.nodes)
    found += sorted(tagged, key=lambda pair: -pair[1]["pt"])
    objects = [(SPECIES[name], one["pt"], one.get("btagDeepFlavB", 0.0)) for name, one in found]
    room = selection.max_objects - 1
    return [*objects[:room], (SPECIES["met"], row["met"][0]["pt"], 0.0)]
