"""Apply a selection to a chunk of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from transferline.data.cutflow import Cutflow, Step
from transferline.data.events import Events
from transferline.data.lumimask import LumiMask
from transferline.data.selections import objects as pick
from transferline.data.selections.flat import Flat, Mask
from transferline.data.selections.merge import merge
from transferline.data.selections.nodes import keep_nodes
from transferline.data.selections.recipe import LeptonCuts, Selection


@dataclass(frozen=True)
class Selected:
    """The events that passed, which those were, the cut-flow, and how many lost soft jets."""

    events: Events
    passed: Mask
    cutflow: Cutflow
    capped: int


def needed_columns(selection: Selection) -> dict[str, list[str]]:
    """Return collection -> columns that `apply` reads, for `Reader.chunks`."""
    columns = {
        "electron": pick.electron_columns(selection.electrons),
        "muon": pick.muon_columns(selection.muons),
        "jet": pick.jet_columns(selection.jets),
        "context": [*selection.triggers, *selection.veto_triggers, *selection.filters],
    }
    if selection.taus is not None:
        columns["tau"] = pick.tau_columns(selection.taus)
    if selection.met or selection.cuts.met_min is not None:
        columns["met"] = ["pt", "phi"]
    return columns


def apply(selection: Selection, events: Events, *, is_simulation: bool) -> Selected:
    """Return the events that pass, each with the one collection `object`.

    Columns of `object`: pt, eta, phi, mass (GeV, rad), charge, species (`SPECIES`), btag (the
    tagger's discriminant for jets, 0 elsewhere). Objects are sorted as `merge` says; MET has
    eta = 0 and mass = 0. The result of an event depends on nothing but that event.

    Args:
        selection: the recipe.
        events: as read with `needed_columns(selection)`.
        is_simulation: the golden JSON applies to collision data only.
    """
    steps = [Step.of("all events", events.weight)]
    rows = np.arange(len(events))
    for name, mask in _flag_steps(selection, events, is_simulation):
        rows = rows[mask.take(rows)]
        steps.append(Step.of(name, events.weight.take(rows)))
    # Objects of what no trigger took are most of a file: they are not looked at.
    kinds, is_bjet = _select_objects(selection, events, _mask(rows, len(events)))
    counting = _counting_steps(selection, kinds, is_bjet)
    for name, mask in [*counting, *_missing_steps(selection, events)]:
        rows = rows[mask.take(rows)]
        steps.append(Step.of(name, events.weight.take(rows)))
    passed = _mask(rows, len(events))
    met = Flat.of(events.particles["met"], passed) if selection.met else None
    kept = {name: flat.keep_events(passed) for name, flat in kinds.items()}
    bjets_kept = is_bjet[passed[kinds["jet"].event]]
    if selection.nodes is not None:
        kept, bjets_kept = keep_nodes(kept, selection.jets.btag.tagger, selection.nodes)
    merged, capped = merge(kept, met, selection.jets.btag.tagger, bjets_kept, selection.max_objects)
    chosen = Events(
        particles={"object": merged[passed]},
        weight=events.weight[passed],
        id=events.id[passed],
        labels={name: values[passed] for name, values in events.labels.items()},
    )
    return Selected(chosen, passed, Cutflow(tuple(steps)), int(capped[passed].sum()))


def _mask(rows: NDArray[np.intp], n: int) -> Mask:
    mask = np.zeros(n, dtype=np.bool_)
    mask[rows] = True
    return mask


def _select_objects(
    selection: Selection, events: Events, among: Mask
) -> tuple[dict[str, Flat], Mask]:
    """Return the selected objects of the events `among` by kind, and which jets are b-jets."""
    names = ["electron", "muon", "jet", *(["tau"] if selection.taus is not None else [])]
    flat = {name: Flat.of(events.particles[name], among) for name in names}
    electrons = pick.electrons(flat["electron"], selection.electrons)
    muons = pick.muons(flat["muon"], selection.muons)
    kinds = {"electron": electrons, "muon": muons}
    if selection.taus is not None:
        kinds["tau"] = pick.taus(flat["tau"], selection.taus, [electrons, muons])
    jets = pick.jets(flat["jet"], selection.jets, selection.era, list(kinds.values()))
    return {**kinds, "jet": jets}, jets[selection.jets.btag.tagger] > selection.btag_cut


def _flag_steps(
    selection: Selection, events: Events, is_simulation: bool
) -> list[tuple[str, Mask]]:
    """Return the cuts that look at no object, in order, each with the events that pass it alone."""
    steps: list[tuple[str, Mask]] = []
    if selection.golden_json is not None:
        steps.append(("golden JSON", certified(selection.golden_json, events, is_simulation)))
    if selection.triggers:
        steps.append(("trigger", _any(events, selection.triggers)))
    if selection.veto_triggers:
        steps.append(("trigger veto", ~_any(events, selection.veto_triggers)))
    if selection.filters:
        steps.append(("filters", _all(events, selection.filters)))
    return steps


def _counting_steps(
    selection: Selection, kinds: dict[str, Flat], is_bjet: Mask
) -> list[tuple[str, Mask]]:
    cuts, jets = selection.cuts, kinds["jet"]
    leptons = kinds["electron"].count() + kinds["muon"].count()
    steps: list[tuple[str, Mask]] = []
    if cuts.leptons_min:
        plateau = _leading(kinds["electron"], selection.electrons)
        plateau |= _leading(kinds["muon"], selection.muons)
        steps.append(("leading lepton", plateau))
        steps.append((f"leptons >= {cuts.leptons_min}", leptons >= cuts.leptons_min))
    if cuts.leptons_max is not None:
        steps.append((f"leptons <= {cuts.leptons_max}", leptons <= cuts.leptons_max))
    if cuts.taus_min:
        steps.append((f"taus >= {cuts.taus_min}", kinds["tau"].count() >= cuts.taus_min))
    if cuts.jets_min:
        steps.append((f"jets >= {cuts.jets_min}", jets.count() >= cuts.jets_min))
    if cuts.bjets_min:
        steps.append((f"b-jets >= {cuts.bjets_min}", jets.count(is_bjet) >= cuts.bjets_min))
    return steps


def _missing_steps(selection: Selection, events: Events) -> list[tuple[str, Mask]]:
    least = selection.cuts.met_min
    if least is None:
        return []
    met = ak.to_numpy(ak.flatten(events.particles["met"].pt))
    return [(f"MET > {least:g} GeV", met > least)]


def _leading(leptons: Flat, cuts: LeptonCuts) -> Mask:
    hard: Mask = leptons.count(leptons["pt"] > cuts.leading_pt_min) > 0
    return hard


def _any(events: Events, names: Sequence[str]) -> Mask:
    return reduce(np.logical_or, [_flag(events, name) for name in names])


def _all(events: Events, names: Sequence[str]) -> Mask:
    return reduce(np.logical_and, [_flag(events, name) for name in names])


def _flag(events: Events, name: str) -> NDArray[np.bool_]:
    return events.context[name].astype(np.bool_)


def certified(path: str, events: Events, is_simulation: bool) -> Mask:
    """Return which events the golden JSON at `path` certifies; all of simulation, `[n]`."""
    if is_simulation:
        return np.ones(len(events), dtype=np.bool_)
    return _lumi_mask(path)(events.id["run"], events.id["lumi"])


def _lumi_mask(path: str) -> LumiMask:
    """Read a file once, until it changes or the path means another one."""
    place = Path(path).resolve()
    try:
        stat = place.stat()
    except OSError:
        return LumiMask.read(path)  # which says what is wrong
    return _read_mask(str(place), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _read_mask(path: str, _size: int, _changed: int) -> LumiMask:
    return LumiMask.read(path)
