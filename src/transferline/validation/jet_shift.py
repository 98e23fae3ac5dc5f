"""Section of the page on jets: the same classes with another detector, tune or generator."""

from __future__ import annotations

from collections.abc import Callable

import awkward as ak
import numpy as np
from matplotlib.figure import Figure

from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.reporting.table import Table
from transferline.validation.figures import Spectrum, distributions
from transferline.validation.finding import Finding
from transferline.validation.jet_evidence import SHIFTED, JetEvidence
from transferline.validation.jet_file import JetFile
from transferline.validation.statistics import Floats, mean, median

_TEXT = (
    "Domain shift to order: what changes if the same class is made with the ATLAS-like card, "
    "without multi-parton interactions, with the tune CP5 or, where it is installed, by Sherpa: "
    "matrix element, parton densities, shower, hadrons and underlying event are its own. The "
    "ATLAS-like card is an ordinary detector: its tracks keep their momenta, so that soft charged "
    "hadrons survive which the card of JetClass loses."
)


_QUANTITIES: dict[str, Callable[[JetFile], Measurement]] = {
    "Particles": lambda file: mean(file.count()),
    "Charged hadrons": lambda file: mean(file.count("isChargedHadron")),
    "Photons": lambda file: mean(file.count("isPhoton")),
    "Mean dR of particles": lambda file: mean(
        ak.to_numpy(ak.mean(np.hypot(file["deta"], file["dphi"]), axis=1)).astype(float)
    ),
    "Median mass (GeV)": lambda file: median(file.mass),
    "Median tau_21": lambda file: median(file.ratio(2)),
    "Median tau_32": lambda file: median(file.ratio(3)),
}


def find(evidence: JetEvidence) -> Finding:
    """Show what each variant changes."""
    return Finding(
        "shift",
        "Domain shift",
        _TEXT,
        tables=tuple(_table(evidence, name) for name in SHIFTED),
        drawings=(
            Drawing("shift-particles", "Particles per QCD jet.", lambda: _draw_particles(evidence)),
            Drawing(
                "shift-mass",
                "Soft-drop masses of H -> bb jets.",
                lambda: _draw_masses(evidence),
            ),
        ),
    )


def _table(evidence: JetEvidence, name: str) -> Table:
    rows = tuple(
        (title, *(str(measure(files[name])) for measure in _QUANTITIES.values()))
        for title, files in evidence.shifted.items()
        if name in files
    )
    return Table(f"{name} jets", ("Variant", *_QUANTITIES), rows)


def _spectra(
    evidence: JetEvidence, name: str, values: Callable[[JetFile], Floats]
) -> list[Spectrum]:
    return [
        Spectrum(title, values(files[name]))
        for title, files in evidence.shifted.items()
        if name in files
    ]


def _draw_particles(evidence: JetEvidence) -> Figure:
    spectra = _spectra(evidence, "QCD", lambda file: file.count())
    return distributions(spectra, np.arange(0.0, 121.0, 8.0), "Particles per jet", Label())


def _draw_masses(evidence: JetEvidence) -> Figure:
    spectra = _spectra(evidence, "Hbb", lambda file: file.mass)
    return distributions(spectra, np.arange(60.0, 171.0, 6.0), "Soft-drop mass (GeV)", Label())
