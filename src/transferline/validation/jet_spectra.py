"""Section of the page on jets: transverse momenta and directions."""

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
from transferline.validation.statistics import Floats, mean, share

_SHOWN = ("QCD", "Hbb", "Wqq", "Tbqq", "Tbl")

_TEXT = (
    "Resonances recoil against partons, so that transverse momenta fall as in collisions; JetClass "
    "keeps 500 to 1000 GeV within |eta| < 2. The mean jet of JetClass that follows from its "
    "moments stands in the first section."
)


def find(evidence: JetEvidence) -> Finding:
    """Show spectra, and check the symmetry of the beams."""
    eta = np.concatenate([_eta(file) for file in evidence.classes.values()])
    symmetry = Check(
        "Jets with eta > 0: share",
        share(eta > 0),
        exactly(0.5),
        0.0,
        "symmetry of the beams",
    )
    drawings = (
        Drawing("pt", "Transverse momenta of jets.", lambda: _draw_pt(evidence)),
        Drawing("eta", "Pseudorapidities of jets.", lambda: _draw_eta(evidence)),
    )
    return Finding("spectra", "Spectra", _TEXT, (symmetry,), (_table(evidence),), drawings)


def _eta(file: JetFile) -> Floats:
    return np.asarray(file["jet_eta"], float)


def _pt(file: JetFile) -> Floats:
    return np.asarray(file["jet_pt"], float)


def _table(evidence: JetEvidence) -> Table:
    rows = tuple(
        (name, str(mean(_pt(file))), str(mean(np.abs(_eta(file)))))
        for name, file in evidence.classes.items()
    )
    return Table("Means", ("Class", "pT (GeV)", "|eta|"), rows)


def _draw_pt(evidence: JetEvidence) -> Figure:
    spectra = [Spectrum(name, _pt(evidence.classes[name])) for name in _SHOWN]
    edges = np.arange(500.0, 1001.0, 25.0)
    return distributions(spectra, edges, "Jet pT (GeV)", Label(), y_log=True)


def _draw_eta(evidence: JetEvidence) -> Figure:
    spectra = [Spectrum(name, _eta(evidence.classes[name])) for name in _SHOWN]
    return distributions(spectra, np.linspace(-2.0, 2.0, 21), "Jet eta", Label())
