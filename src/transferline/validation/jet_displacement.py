"""Section of the page on jets: tracks that miss the collision, by flavour."""

from __future__ import annotations

import math
from itertools import pairwise

import awkward as ak
import numpy as np
from matplotlib.figure import Figure

from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.reporting.table import Table
from transferline.validation.check import Check, exactly
from transferline.validation.figures import Spectrum, distributions
from transferline.validation.finding import Finding
from transferline.validation.jet_evidence import JetEvidence
from transferline.validation.jet_file import JetFile
from transferline.validation.statistics import Floats, mean, share

_CUTS = (3.0, 5.0, 10.0)
_MANY = 3
_ORDER = ("Hbb", "Hcc", "QCD")
_SIGMAS = 3.0
_SHOWN = ("Hbb", "Hcc", "Hgg", "Wqq", "QCD")

_TEXT = (
    "Transverse impact parameters in units of their error, of tracks with |d0| < 5 mm (beyond are "
    "mostly pions from K_S and Lambda). Hadrons with b quarks fly furthest, then those with "
    "charm; W -> qq' holds charm in half of its decays, QCD and gluon jets a little of both."
)


def find(evidence: JetEvidence) -> Finding:
    """Count displaced tracks, and check the order of flavours."""
    return Finding(
        "displacement",
        "Displaced tracks",
        _TEXT,
        tuple(_order(evidence)),
        (_table(evidence),),
        (
            Drawing(
                "displacement",
                "Impact parameters over their errors.",
                lambda: _draw(evidence),
            ),
        ),
    )


def _displaced(file: JetFile, cut: float) -> Floats:
    return np.asarray(ak.sum(file.significance > cut, axis=1), float)


def _has_many(file: JetFile) -> Measurement:
    return share(_displaced(file, 5.0) >= _MANY)


def _order(evidence: JetEvidence) -> list[Check]:
    """Hadrons fly the further the heavier their quark: each class well above the next one."""
    shares = [_has_many(evidence.classes[name]) for name in _ORDER]
    apart = sum(
        high.value - low.value > _SIGMAS * math.hypot(high.error, low.error)
        for high, low in pairwise(shares)
    )
    return [
        Check(
            f"Steps of the order {' > '.join(_ORDER)} that hold by {_SIGMAS:g} errors, in the "
            f"share of jets with {_MANY} tracks beyond 5 standard deviations",
            exactly(apart),
            exactly(len(_ORDER) - 1),
            0.0,
            "decay lengths and numbers of tracks of b and c hadrons",
        )
    ]


def _table(evidence: JetEvidence) -> Table:
    rows = tuple(
        (
            name,
            *(str(mean(_displaced(file, cut))) for cut in _CUTS),
            str(_has_many(file)),
            str(mean(ak.to_numpy(ak.num(file.significance)).astype(float))),
        )
        for name, file in evidence.classes.items()
    )
    cuts = (f"beyond {cut:g} sd" for cut in _CUTS)
    header = ("Class", *cuts, f"Share with {_MANY} beyond 5 sd", "all")
    return Table("Tracks per jet", header, rows)


def _draw(evidence: JetEvidence) -> Figure:
    spectra = [
        Spectrum(name, ak.to_numpy(ak.flatten(evidence.classes[name].significance)).astype(float))
        for name in _SHOWN
    ]
    edges = np.linspace(0.0, 30.0, 31)
    return distributions(spectra, edges, r"$|d_0| / \sigma(d_0)$", Label(), y_log=True)
