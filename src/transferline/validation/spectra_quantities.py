"""What is compared between files: numbers of jets, momenta and masses of selected objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import awkward as ak
import numpy as np

from transferline.data.events import Events
from transferline.data.selections import Selection
from transferline.validation.event_file import Chosen, choose_among, object_columns
from transferline.validation.kinematics import delta_phi, invariant_mass
from transferline.validation.statistics import Floats

B_FLAVOUR = 5


class Pairs(NamedTuple):
    """Two jets of an event, `[n, 0 or 1]` each, and their distance."""

    one: ak.Array
    two: ak.Array
    delta_r: ak.Array


@dataclass(frozen=True)
class SelectedEvents:
    """A chunk of `n` events: selected objects by falling pT, and missing momentum `[n]` (GeV)."""

    chosen: Chosen
    met: ak.Array

    @cached_property
    def nearest_pair(self) -> Pairs:
        """The two b-tagged jets of every event that are nearest in dR."""
        one, two = ak.unzip(ak.combinations(self.chosen.b_jets, 2))
        away = np.hypot(one.eta - two.eta, delta_phi(one.phi, two.phi))
        # Events without a pair have a None, which must be none at all.
        nearest = ak.from_regular(ak.argmin(away, axis=1, keepdims=True))
        nearest = ak.drop_none(nearest, axis=1)
        return Pairs(one[nearest], two[nearest], away[nearest])


def read_columns(recipe: Selection, *, truth: bool) -> dict[str, list[str]]:
    """Return collection -> columns that `select` needs; `truth` adds the flavour of jets."""
    return {**object_columns(recipe, truth=truth), "met": ["pt"]}


def select(events: Events, recipe: Selection) -> SelectedEvents:
    """Return the objects of a chunk that a selection takes; its event cuts are not applied."""
    chosen = choose_among(events.particles, recipe)
    jets = chosen.jets[ak.argsort(chosen.jets.pt, axis=1, ascending=False)]
    return SelectedEvents(Chosen(chosen.leptons, jets), events.particles["met"].pt)


class Quantity(NamedTuple):
    """One panel and one row.

    Attributes:
        title: with the unit.
        edges: of the bins; what lies beyond is in the first and last one.
        values: of a chunk, `[n, var]`: events without such objects have none.
        truth: needs the simulation's truth.
        log: has a logarithmic axis; such are the counts.
        tagged: is looked at only where a selection asks for events.
    """

    title: str
    edges: Floats
    values: Callable[[SelectedEvents], ak.Array]
    truth: bool = False
    log: bool = False
    tagged: bool = False


def _number(objects: ak.Array) -> ak.Array:
    return ak.num(objects)[:, np.newaxis]


def _true_b_jets(events: SelectedEvents) -> ak.Array:
    jets = events.chosen.jets
    return _number(jets[jets.hadron_flavour == B_FLAVOUR])


def _scalar_sum(events: SelectedEvents) -> ak.Array:
    return ak.sum(events.chosen.jets.pt, axis=1)[:, np.newaxis]


def _pair_mass(events: SelectedEvents) -> ak.Array:
    return invariant_mass(events.nearest_pair.one, events.nearest_pair.two)


def _lepton_and_tag(events: SelectedEvents) -> ak.Array:
    """Mass of the hardest lepton and the hardest b-tagged jet."""
    hardest = [events.chosen.leptons[:, :1], events.chosen.b_jets[:, :1]]
    return invariant_mass(*ak.unzip(ak.cartesian(hardest)))


def _jet_pt(rank: int, high: float) -> Quantity:
    return Quantity(
        f"pT of jet {rank} (GeV)",
        np.linspace(30.0, high, 17),
        lambda events: events.chosen.jets.pt[:, rank - 1 : rank],
    )


TRUE_B_JETS = "n_true_b_jets"

QUANTITIES: dict[str, Quantity] = {
    "n_jets": Quantity("Jets", np.arange(-0.5, 11.0), lambda e: _number(e.chosen.jets), log=True),
    "n_b_tags": Quantity(
        "b-tagged jets", np.arange(-0.5, 6.0), lambda e: _number(e.chosen.b_jets), log=True
    ),
    TRUE_B_JETS: Quantity("True b jets", np.arange(-0.5, 6.0), _true_b_jets, truth=True, log=True),
    "jet1_pt": _jet_pt(1, 430.0),
    "jet2_pt": _jet_pt(2, 350.0),
    "jet3_pt": _jet_pt(3, 222.0),
    "jet4_pt": _jet_pt(4, 158.0),
    "b_jet_pt": Quantity(
        "pT of b-tagged jets (GeV)", np.linspace(30.0, 350.0, 17), lambda e: e.chosen.b_jets.pt
    ),
    "jet1_mass": Quantity(
        "Mass of jet 1 (GeV)", np.linspace(0.0, 64.0, 17), lambda e: e.chosen.jets.mass[:, :1]
    ),
    "lepton_pt": Quantity(
        "Lepton pT (GeV)", np.linspace(15.0, 255.0, 17), lambda e: e.chosen.leptons.pt[:, :1]
    ),
    "met": Quantity("Missing pT (GeV)", np.linspace(0.0, 240.0, 17), lambda e: e.met),
    "m_bb": Quantity("m(bb) of the nearest pair (GeV)", np.linspace(0.0, 400.0, 17), _pair_mass),
    "dr_bb": Quantity(
        "dR(bb) of the nearest pair", np.linspace(0.4, 4.4, 17), lambda e: e.nearest_pair.delta_r
    ),
    "ht": Quantity("HT: pT of all jets (GeV)", np.linspace(0.0, 1200.0, 17), _scalar_sum),
    "lepton_eta": Quantity(
        "|eta| of the lepton",
        np.linspace(0.0, 2.5, 11),
        lambda e: abs(e.chosen.leptons.eta[:, :1]),
        tagged=True,
    ),
    "b_jet_eta": Quantity(
        "|eta| of b-tagged jets",
        np.linspace(0.0, 2.4, 9),
        lambda e: abs(e.chosen.b_jets.eta),
        tagged=True,
    ),
    "b_jet_flavour": Quantity(
        "Flavour of b-tagged jets",
        np.array([-0.5, 3.5, 4.5, 5.5]),
        lambda e: e.chosen.b_jets.hadron_flavour,
        truth=True,
        tagged=True,
    ),
    "m_lb": Quantity(
        "m(lepton, b-tagged jet) (GeV)",
        np.linspace(0.0, 400.0, 17),
        _lepton_and_tag,
        tagged=True,
    ),
}
