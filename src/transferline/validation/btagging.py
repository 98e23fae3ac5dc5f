"""b-tagging: efficiency and misidentification by true flavour, pT and |eta|, against the card."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from transferline.data.selections import selection
from transferline.data.selections.working_points import btag_threshold
from transferline.evaluation.measurement import Measurement
from transferline.generate.btag import survival_at
from transferline.generate.card import BTag
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.validation.check import Check, exactly
from transferline.validation.event_file import OBJECTS, EventFile
from transferline.validation.evidence import Evidence
from transferline.validation.expectations import compare
from transferline.validation.figures import Profile, profiles
from transferline.validation.finding import Finding
from transferline.validation.kinematics import flat, spread
from transferline.validation.statistics import Bools, Floats, chi2_per_degree, share

FLAVOURS = {"b": 5, "c": 4, "light": 0}
POINTS = ("loose", "medium", "tight")
_PT = (20.0, 30.0, 40.0, 50.0, 70.0, 100.0, 140.0, 200.0, 300.0, 600.0)
_ETA = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.5)


@dataclass(frozen=True)
class TaggedJets:
    """Jets of all events end to end: flavour, pT (GeV), |eta|, discriminant, event's weight."""

    flavour: Floats
    pt: Floats
    abs_eta: Floats
    score: Floats
    weight: Floats

    def keep(self, rows: Bools) -> TaggedJets:
        """Return some of the jets."""
        columns = (self.flavour, self.pt, self.abs_eta, self.score, self.weight)
        return TaggedJets(*(column[rows] for column in columns))

    def of(self, flavour: str) -> TaggedJets:
        """Return the jets of one true flavour."""
        return self.keep(self.flavour == FLAVOURS[flavour])

    def efficiency(self, cut: float) -> Measurement:
        """Return the share above a cut on the discriminant."""
        return share(self.score > cut, self.weight)

    def expected(self, card: BTag, point: int) -> float:
        """Return the mean of what the card says for these jets at one of its scores."""
        if len(self.pt) == 0:
            return float("nan")
        chance = survival_at(card, self.flavour, self.pt, self.abs_eta)[:, point]
        return float(np.average(chance, weights=self.weight))


def tagged_jets(file: EventFile, pt_min: float = 20.0, eta_max: float = 2.5) -> TaggedJets:
    """Return the jets of a file that the tagger is for."""
    jets = file.objects("Jet", "hadronFlavour", "btagDeepFlavB")
    jets = jets[(jets.pt > pt_min) & (abs(jets.eta) < eta_max)]
    return TaggedJets(
        flavour=flat(jets.hadronFlavour),
        pt=np.asarray(flat(jets.pt), float),
        abs_eta=np.abs(np.asarray(flat(jets.eta), float)),
        score=np.asarray(flat(jets.btagDeepFlavB), float),
        weight=spread(file.weight, jets),
    )


def working_points() -> list[float]:
    """Return the cuts that the shipped selections use: loose, medium, tight."""
    recipe = selection(OBJECTS)
    return [btag_threshold(recipe.era, recipe.jets.btag.tagger, point) for point in POINTS]


def _binned(
    jets: TaggedJets, values: Floats, edges: tuple[float, ...], card: BTag, point: int
) -> tuple[list[Measurement], list[float]]:
    """Measured and expected efficiency by bins of `values`."""
    cut = card.scores[point]
    parts = [jets.keep((values >= low) & (values < high)) for low, high in pairwise(edges)]
    # The expected number's own error belongs to the test: a bin with no tagged jet has a share
    # of 0 with almost no spread.
    measured = [_with_expected_error(part, card, point, cut) for part in parts]
    return measured, [part.expected(card, point) for part in parts]


def _with_expected_error(jets: TaggedJets, card: BTag, point: int, cut: float) -> Measurement:
    value = jets.efficiency(cut)
    p = jets.expected(card, point)
    if not 0.0 < p < 1.0:
        return value
    n_eff = jets.weight.sum() ** 2 / (jets.weight**2).sum()
    return Measurement(value.value, float(np.sqrt(p * (1.0 - p) / n_eff)))


def card_checks(jets: TaggedJets, card: BTag) -> list[Check]:
    """Compare efficiencies at the card's scores with the card: in total, by pT, by |eta|."""
    source = "detector card"
    checks = []
    for flavour in FLAVOURS:
        own = jets.of(flavour)
        for number, point in enumerate(POINTS):
            measured = _with_expected_error(own, card, number, card.scores[number])
            expected = exactly(own.expected(card, number))
            name = f"b-tag, {flavour} jets, {point}: share"
            checks.append(Check(name, measured, expected, 0.0, source))
        for what, values, edges in (("pT", own.pt, _PT), ("|eta|", own.abs_eta, _ETA)):
            chi2 = chi2_per_degree(*_binned(own, values, edges, card, 1))
            name = f"b-tag, {flavour} jets, medium, by {what}: chi2 / bins"
            checks.append(Check(name, chi2, exactly(1.0), 1.0, source))
    return checks


def published_checks(jets: TaggedJets) -> list[Check]:
    """Compare averages over selected jets of ttbar (pT > 30 GeV) with published ones."""
    hard = jets.keep((jets.pt > 30.0) & (jets.abs_eta < 2.4))
    return [
        compare(
            f"b-tag, {flavour} jets above 30 GeV, {point}: share",
            hard.of(flavour).efficiency(cut),
            f"btag_{flavour}_{point}",
        )
        for flavour in FLAVOURS
        for point, cut in zip(POINTS, working_points(), strict=True)
    ]


def _same_cuts(card: BTag) -> list[Check]:
    return [
        Check(
            f"b-tag, cut of the {point} working point",
            exactly(cut),
            exactly(score),
            0.0,
            "score that the detector card is tabulated at",
        )
        for point, cut, score in zip(POINTS, working_points(), card.scores, strict=False)
    ]


def _drawing(jets: TaggedJets, card: BTag, what: str) -> Drawing:
    by_pt = what == "pt"
    edges = _PT if by_pt else _ETA
    rows = []
    for flavour in FLAVOURS:
        own = jets.of(flavour)
        measured, expected = _binned(own, own.pt if by_pt else own.abs_eta, edges, card, 1)
        rows.append(Profile(f"{flavour} jets", edges, measured, expected))
    axis = "Jet pT (GeV)" if by_pt else "Jet |eta|"
    return Drawing(
        f"btag-{what}",
        f"Share of jets above the medium working point by {axis}. Lines: the detector card.",
        lambda: profiles(
            rows,
            axis,
            "Share of jets that are tagged",
            Label("ttbar, one lepton"),
            y_log=True,
            x_log=by_pt,
        ),
    )


def find(evidence: Evidence) -> Finding:
    """Compare b-tagging with the card and with published averages."""
    jets, card = tagged_jets(evidence["ttbar"]), evidence.card.btag
    return Finding(
        "b-tagging",
        "b-tagging",
        "Jets above 20 GeV within |eta| < 2.5 of ttbar with one lepton, by `hadronFlavour`. "
        "The expected share is the mean of the card's probability over the same jets. The cuts "
        "are those of the shipped selections (2016, after the change of the pixel detector's "
        "voltage).",
        (*_same_cuts(card), *card_checks(jets, card), *published_checks(jets)),
        drawings=(_drawing(jets, card, "pt"), _drawing(jets, card, "eta")),
    )
