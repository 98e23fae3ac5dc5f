"""Hadronic taus: working points against the card, for true taus and for jets taken for them."""

from __future__ import annotations

import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.generate.card import Taus
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.validation.check import Check, exactly
from transferline.validation.event_file import EventFile
from transferline.validation.evidence import Evidence
from transferline.validation.figures import Profile, profiles
from transferline.validation.finding import Finding
from transferline.validation.kinematics import flat, found, nearest
from transferline.validation.statistics import Floats, share

_TRUE, _JET = 5, 0
_LOOSEST, _MEDIUM = 0, 4
_JET_CONE = 0.4
_POINTS = ("VVVLoose", "VVLoose", "VLoose", "Loose", "Medium", "Tight", "VTight", "VVTight")


def _levels(file: EventFile, origin: int) -> Floats:
    """Number of working points against jets that the taus of one origin pass."""
    chosen = flat(file["Tau_genPartFlav"]) == origin
    mask = flat(file["Tau_idDeepTau2017v2p1VSjet"])[chosen].astype(int)
    return np.asarray(np.log2(mask + 1).round().astype(int))


def _passing(level: Floats, point: int) -> Measurement:
    return share(level > point)


def _true_checks(file: EventFile, card: Taus) -> list[Check]:
    level = _levels(file, _TRUE)
    loosest = card.true_efficiency[_LOOSEST]
    return [
        Check(
            f"True taus: {_POINTS[point]}, of those in the collection",
            _passing(level, point),
            exactly(card.true_efficiency[point] / loosest),
            0.0,
            "detector card",
        )
        for point in (3, _MEDIUM, 5)
    ]


def _fake_expected(card: Taus, pt: Floats, flavour: Floats, point: int) -> Floats:
    """The card's probability that a jet passes a working point."""
    knots, rates = np.log(card.fake_pt), np.log(np.asarray(card.fake_rate)[:, point])
    chance = np.exp(np.interp(np.log(np.maximum(pt, 1.0)), knots, rates))
    return np.asarray(chance * np.where(flavour == 5, card.b_jet_factor, 1.0))


def _fake_check(file: EventFile, card: Taus) -> Check:
    """Medium over loosest point of jets taken for taus, by the jet that each lies in."""
    taus = file.objects("Tau", "genPartFlav")
    jets = nearest(taus, file.objects("Jet", "hadronFlavour"), _JET_CONE)
    wanted = found(jets) & (taus.genPartFlav == _JET)
    pt, flavour = flat(jets.pt[wanted]), flat(jets.hadronFlavour[wanted])
    mask = flat(file["Tau_idDeepTau2017v2p1VSjet"][wanted]).astype(int)
    medium = _fake_expected(card, pt, flavour, _MEDIUM)
    ratio = medium / _fake_expected(card, pt, flavour, _LOOSEST)
    expected = float(np.mean(ratio)) if len(ratio) else float("nan")
    name = "Jets taken for taus: Medium, of those in the collection"
    return Check(name, share(mask >= 31), exactly(expected), 0.005, "detector card")


def _drawing(file: EventFile, card: Taus) -> Drawing:
    level = _levels(file, _TRUE)
    edges = np.arange(-0.5, 8.0)
    measured = [_passing(level, point) for point in range(8)]
    expected = [value / card.true_efficiency[_LOOSEST] for value in card.true_efficiency]
    rows = [Profile("true taus", list(edges), measured, expected)]
    return Drawing(
        "taus",
        "Share of true taus of the collection that pass each working point against jets, from "
        f"{_POINTS[0]} to {_POINTS[-1]}. Line: the detector card.",
        lambda: profiles(
            rows,
            "Working point (0: VVVLoose, 7: VVTight)",
            "Share of true taus",
            Label("Z + jets"),
        ),
    )


def find(evidence: Evidence) -> Finding:
    """Compare hadronic taus with the card."""
    file, card = evidence["Z"], evidence.card.taus
    return Finding(
        "taus",
        "Hadronic taus",
        "Taus of Z + jets and jets of ttbar. NanoAOD keeps candidates that pass the loosest "
        "working point, so shares are relative to that.",
        (
            *_true_checks(file, card),
            _fake_check(evidence["ttbar"], card),
        ),
        drawings=(_drawing(file, card),),
    )
