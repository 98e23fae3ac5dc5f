"""Section of the page on jets: how many particles of which kind, class by class, and how soft."""

from __future__ import annotations

import awkward as ak
import numpy as np
from matplotlib.figure import Figure

from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.reporting.table import Table
from transferline.validation.figures import Spectrum, distributions
from transferline.validation.finding import Finding
from transferline.validation.jet_evidence import JetEvidence
from transferline.validation.jet_file import JetFile
from transferline.validation.statistics import Floats, mean, share

_KINDS = {
    "All": (),
    "Charged hadrons": ("isChargedHadron",),
    "Neutral hadrons": ("isNeutralHadron",),
    "Photons": ("isPhoton",),
    "Electrons": ("isElectron",),
    "Muons": ("isMuon",),
}
_DRAWN = ("QCD", "Hbb", "Hgg", "Wqq", "Tbqq", "Tbl")

_TEXT = (
    "Particles per jet by kind. H -> gg and t -> bqq' have most, jets with a lepton and a neutrino "
    "fewest. Below: the transverse momenta of charged hadrons, with the gap at low "
    "momenta that the calorimeter of JetClass's card makes."
)


def find(evidence: JetEvidence) -> Finding:
    """Count particles."""
    return Finding(
        "content",
        "Particles",
        _TEXT,
        tables=(_table(evidence),),
        drawings=(
            Drawing("particles", "Particles per jet.", lambda: _multiplicity(evidence)),
            Drawing(
                "hadron-pt",
                "Transverse momenta of charged hadrons in QCD jets.",
                lambda: _softness(evidence),
            ),
        ),
    )


def _table(evidence: JetEvidence) -> Table:
    rows = tuple(
        (name, *(str(mean(file.count(*flags))) for flags in _KINDS.values()), _soft(file))
        for name, file in evidence.classes.items()
    )
    return Table("Per jet", ("Class", *_KINDS, "Charged hadrons below 2 GeV"), rows)


def _charged_pt(file: JetFile) -> Floats:
    return np.asarray(ak.flatten(file.pt[file["isChargedHadron"] == 1]), float)


def _soft(file: JetFile) -> str:
    return str(share(_charged_pt(file) < 2.0))


def _multiplicity(evidence: JetEvidence) -> Figure:
    spectra = [Spectrum(name, evidence.classes[name].count()) for name in _DRAWN]
    return distributions(spectra, np.arange(0.0, 121.0, 8.0), "Particles per jet", Label())


def _softness(evidence: JetEvidence) -> Figure:
    spectra = [
        Spectrum(title, _charged_pt(files["QCD"])) for title, files in evidence.shifted.items()
    ]
    edges = np.geomspace(0.1, 200.0, 25)
    return distributions(spectra, edges, "Charged hadron pT (GeV)", Label(), x_log=True)
