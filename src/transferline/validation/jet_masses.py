"""Section of the page on jets: groomed masses, at the resonances' own, and N-subjettiness."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.reporting.table import Table
from transferline.validation.check import Check, exactly
from transferline.validation.figures import Spectrum, distributions
from transferline.validation.finding import Finding
from transferline.validation.jet_evidence import JetEvidence
from transferline.validation.jet_file import JetFile
from transferline.validation.statistics import maximum, median

_RESONANCES = {  # class -> mass in GeV that the generator was given
    "Wqq": ("W", 80.4),
    "Zqq": ("Z", 91.19),
    "Hbb": ("H", 125.0),
    "Hcc": ("H", 125.0),
    "Hgg": ("H", 125.0),
    "H4q": ("H", 125.0),
    "Tbqq": ("t", 172.5),
}
_TOLERANCE = 0.06
_SMOOTH = 0.04  # of the mass
_SHOWN = ("QCD", "Wqq", "Hbb", "H4q", "Tbqq", "Tbl")

_TEXT = (
    "Soft-drop masses (z = 0.1, beta = 0) should peak at the mass of the resonance, up to what "
    "grooming, neutrinos of semileptonic decays and the calorimeter take away; leptonic classes "
    "lose a neutrino. tau_N / tau_(N-1) is small for jets with N prongs: tau_21 for W, Z and "
    "H -> qq, tau_32 for t -> bqq'."
)


def find(evidence: JetEvidence) -> Finding:
    """Compare peaks of the groomed mass, and show the substructure."""
    checks = tuple(
        _check(name, *known, evidence.classes[name]) for name, known in _RESONANCES.items()
    )
    return Finding(
        "masses",
        "Masses and substructure",
        _TEXT,
        checks,
        (_table(evidence),),
        tuple(_drawings(evidence)),
    )


def _check(name: str, resonance: str, mass: float, file: JetFile) -> Check:
    grid = np.arange(0.5 * mass, 1.4 * mass, 0.5)
    found = maximum(file.mass, np.ones(len(file)), grid, _SMOOTH * mass)
    return Check(
        f"{name}: peak of the soft-drop mass (GeV)",
        found,
        exactly(mass),
        _TOLERANCE * mass,
        f"generated mass of the {resonance}",
    )


def _table(evidence: JetEvidence) -> Table:
    rows = tuple(
        (name, str(median(file.mass)), str(median(file.ratio(2))), str(median(file.ratio(3))))
        for name, file in evidence.classes.items()
    )
    header = ("Class", "Soft-drop mass (GeV)", "tau_21", "tau_32")
    return Table("Medians", header, rows)


def _drawings(evidence: JetEvidence) -> list[Drawing]:
    files = {name: evidence.classes[name] for name in _SHOWN}

    def masses() -> Figure:
        spectra = [Spectrum(name, file.mass) for name, file in files.items()]
        return distributions(spectra, np.arange(0.0, 241.0, 8.0), "Soft-drop mass (GeV)", Label())

    def ratio(n: int) -> Figure:
        spectra = [Spectrum(name, file.ratio(n)) for name, file in files.items()]
        title = rf"$\tau_{{{n}{n - 1}}}$"
        return distributions(spectra, np.linspace(0.0, 1.0, 26), title, Label())

    return [
        Drawing("mass", "Soft-drop masses.", masses),
        Drawing("tau21", "tau_2 / tau_1.", lambda: ratio(2)),
        Drawing("tau32", "tau_3 / tau_2.", lambda: ratio(3)),
    ]
