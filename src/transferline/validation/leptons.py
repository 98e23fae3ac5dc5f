"""Electrons and muons: efficiency against the card, isolation, and where they come from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.generate.card import Card
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.reporting.table import Table
from transferline.validation.check import Check, exactly
from transferline.validation.event_file import EventFile
from transferline.validation.evidence import Evidence
from transferline.validation.expectations import compare
from transferline.validation.figures import Profile, Spectrum, distributions, profiles
from transferline.validation.finding import Finding
from transferline.validation.kinematics import flat
from transferline.validation.lepton_truth import (
    ELECTRON,
    ETA_EDGES,
    KINDS,
    MUON,
    PT_EDGES,
    Kind,
    TrueLeptons,
    chance_found,
    chance_tight,
    true_leptons,
)
from transferline.validation.statistics import Bools, Floats, chi2_per_degree, mean, share

_CARD = "detector card"
# Edges of the card's tables smear: a lepton is measured in another bin than it was generated in.
_CLOSURE = 0.005
_ORIGINS = {"prompt": 1, "from tau": 15, "from b": 5, "from c": 4, "from light": 3, "hadron": 0}


def _chi2(
    leptons: TrueLeptons, passed: Bools, chance: Floats, by: Floats, edges: tuple[float, ...]
) -> Measurement:
    measured, expected = _binned(leptons, passed, chance, by, edges)
    return chi2_per_degree(measured, expected)


def _binned(
    leptons: TrueLeptons, passed: Bools, chance: Floats, by: Floats, edges: tuple[float, ...]
) -> tuple[list[Measurement], list[float]]:
    measured, expected = [], []
    for low, high in pairwise(edges):
        inside = (by >= low) & (by < high)
        measured.append(share(passed[inside], leptons.weight[inside]))
        expected.append(mean(chance[inside], leptons.weight[inside]).value)
    return measured, expected


def _closure(name: str, leptons: TrueLeptons, passed: Bools, chance: Floats) -> list[Check]:
    """Compare a share with the card's: in all, by pT and by |eta|."""
    total = exactly(mean(chance, leptons.weight).value)
    checks = [Check(f"{name}: share", share(passed, leptons.weight), total, _CLOSURE, _CARD)]
    for what, by, edges in (("pT", leptons.pt, PT_EDGES), ("|eta|", leptons.abs_eta, ETA_EDGES)):
        chi2 = _chi2(leptons, passed, chance, by, edges)
        checks.append(Check(f"{name}, by {what}: chi2 / bins", chi2, exactly(1.0), 1.5, _CARD))
    return checks


def card_checks(file: EventFile, kind: Kind, card: Card) -> list[Check]:
    """Compare reconstruction and tight identification of hard leptons with the card."""
    every = true_leptons(file, kind, card)
    isolated = every.keep(every.isolated)
    title = kind.name.capitalize()
    return [
        *_closure(f"{title}s: reconstructed", every, every.found, chance_found(card, kind, every)),
        *_closure(
            f"{title}s: tight, of those isolated",
            isolated,
            isolated.tight,
            chance_tight(card, kind, isolated),
        ),
    ]


def _published(file: EventFile, kind: Kind, card: Card) -> list[Check]:
    """Tight and isolated leptons of the Z, of those that are found."""
    every = true_leptons(file, kind, card)
    present = every.keep(every.found)
    title = kind.name.capitalize()
    whole = share(present.tight & present.isolated, present.weight)
    return [
        compare(
            f"{title}s of the Z: tight and isolated, of those found",
            whole,
            f"{kind.name}_efficiency",
        ),
        compare(
            f"{title}s of the Z: isolated, of those found",
            share(present.isolated, present.weight),
            f"{kind.name}_isolation",
        ),
    ]


def _isolation_by_origin(file: EventFile, kind: Kind) -> dict[str, Floats]:
    leptons = file.objects(kind.collection, kind.isolation, "genPartFlav")
    leptons = leptons[leptons.pt > 20.0]
    origin = flat(leptons.genPartFlav)
    values = np.asarray(flat(leptons[kind.isolation]), float)
    return {name: values[origin == code] for name, code in _ORIGINS.items()}


def _heavy_checks(file: EventFile, kind: Kind, cut: float) -> list[Check]:
    by_origin = _isolation_by_origin(file, kind)
    heavy = np.concatenate([by_origin["from b"], by_origin["from c"]])
    title = kind.name.capitalize()
    return [
        compare(
            f"{title}s of ttbar from b and c above 20 GeV: isolation below {cut}",
            share(heavy < cut),
            f"{kind.name}_heavy_isolation",
        )
    ]


def _origin_table(file: EventFile, kind: Kind) -> Table:
    leptons = file.objects(kind.collection, "genPartFlav")
    tight = flat(kind.tight(file)[leptons.pt > 20.0]) > 0
    isolation = flat(file[f"{kind.collection}_{kind.isolation}"][leptons.pt > 20.0])
    origin = flat(leptons.genPartFlav[leptons.pt > 20.0])
    selected = tight & (isolation < 0.15)
    rows = tuple(
        (name, str(share(origin == code)), str(share(origin[selected] == code)))
        for name, code in _ORIGINS.items()
    )
    title = f"{kind.name.capitalize()}s above 20 GeV in ttbar with one lepton, by origin"
    return Table(title, ("Origin", "all", "tight and isolated"), rows)


def _isolation_drawing(file: EventFile, kind: Kind) -> Drawing:
    by_origin = _isolation_by_origin(file, kind)
    heavy = np.concatenate([by_origin["from b"], by_origin["from c"]])
    spectra = [Spectrum("prompt", by_origin["prompt"]), Spectrum("from b and c", heavy)]
    return Drawing(
        f"isolation-{kind.name}",
        f"Relative isolation of {kind.name}s above 20 GeV in ttbar with one lepton.",
        lambda: distributions(
            spectra,
            np.geomspace(0.005, 5.0, 19),
            f"Relative isolation of {kind.name}s",
            Label("ttbar, one lepton"),
            x_log=True,
        ),
    )


def _efficiency_drawing(file: EventFile, card: Card, what: str) -> Drawing:
    rows = []
    for kind in KINDS:
        every = true_leptons(file, kind, card)
        isolated = every.keep(every.isolated)
        for name, some, passed, chance in (
            ("found", every, every.found, chance_found(card, kind, every)),
            ("tight", isolated, isolated.tight, chance_tight(card, kind, isolated)),
        ):
            edges = PT_EDGES if what == "pt" else ETA_EDGES
            by = some.pt if what == "pt" else some.abs_eta
            rows.append(
                Profile(f"{kind.name}s: {name}", edges, *_binned(some, passed, chance, by, edges))
            )
    axis = "Generated pT (GeV)" if what == "pt" else "Generated |eta|"
    return Drawing(
        f"leptons-{what}",
        f"Reconstruction, and tight identification of isolated leptons, by {axis}. "
        "Lines: the detector card.",
        lambda: profiles(rows, axis, "Efficiency", Label("ttbar, one lepton"), x_log=what == "pt"),
    )


def find(evidence: Evidence) -> Finding:
    """Compare electrons and muons with the card and with published efficiencies."""
    file, card = evidence["ttbar"], evidence.card
    checks = [check for kind in KINDS for check in card_checks(file, kind, card)]
    for kind, cut in ((ELECTRON, 0.1), (MUON, 0.15)):
        checks += [*_published(evidence["Z"], kind, card), *_heavy_checks(file, kind, cut)]
    return Finding(
        "leptons",
        "Electrons and muons",
        "Electrons and muons of the hard process above 20 GeV within |eta| < 2.4, matched within "
        "0.5 to reconstructed prompt leptons. The tight electron level includes an isolation "
        "cut, so the card's probability is compared for those that pass that cut. Isolation "
        "follows from the particles around.",
        tuple(checks),
        tuple(_origin_table(file, kind) for kind in KINDS),
        (
            _efficiency_drawing(file, card, "pt"),
            _efficiency_drawing(file, card, "eta"),
            *(_isolation_drawing(file, kind) for kind in KINDS),
        ),
    )
