"""Jet energy scale and resolution against particle jets, by pT and |eta|."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import awkward as ak
import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.validation.check import Check, exactly
from transferline.validation.cms_jets import cms_resolution, source
from transferline.validation.event_file import EventFile
from transferline.validation.evidence import Evidence
from transferline.validation.expectations import compare
from transferline.validation.figures import Profile, profiles
from transferline.validation.finding import Finding
from transferline.validation.kinematics import flat, found, nearest
from transferline.validation.statistics import Floats, gaussian_core, median

PT_EDGES = (20.0, 25.0, 35.0, 50.0, 80.0, 120.0, 200.0, 400.0)
REGIONS = {"barrel": (0.0, 1.3), "endcap": (1.3, 2.5)}
_CONE, _LEPTON_CONE = 0.2, 0.4
_WIDTH_TOLERANCE = 0.1
Range = tuple[float, float]


@dataclass(frozen=True)
class Responses:
    """Reconstructed over particle-level pT of matched jets, with the latter's pT and |eta|."""

    ratio: Floats
    pt: Floats
    abs_eta: Floats

    def within(self, pt: Range, eta: Range) -> Responses:
        """Return the jets of one bin."""
        inside = (self.pt >= pt[0]) & (self.pt < pt[1])
        inside &= (self.abs_eta >= eta[0]) & (self.abs_eta < eta[1])
        return Responses(self.ratio[inside], self.pt[inside], self.abs_eta[inside])

    def scale(self, pt: Range, eta: Range) -> Measurement:
        """Return the median response."""
        return median(self.within(pt, eta).ratio)

    def resolution(self, pt: Range, eta: Range) -> Measurement:
        """Return the width of the Gaussian core over its position."""
        peak = gaussian_core(self.within(pt, eta).ratio)
        centre = peak.position.value
        return Measurement(peak.width.value / centre, peak.width.error / centre)

    def cms_resolution(self, pt: Range, eta: Range) -> float:
        """Return what CMS simulation has for the same jets, squares averaged."""
        jets = self.within(pt, eta)
        if len(jets.pt) == 0:
            return float("nan")
        return float(np.sqrt(np.mean(cms_resolution(jets.pt, jets.abs_eta) ** 2)))


def responses(file: EventFile) -> Responses:
    """Match particle jets that are no leptons to reconstructed ones."""
    true = file.objects("GenJet")
    leptons = file.prompt_leptons()
    near_lepton = ak.fill_none(found(nearest(true, leptons, _LEPTON_CONE)), False)
    true = true[~near_lepton]
    reco = nearest(true, file.objects("Jet"), _CONE)
    both = found(reco)
    return Responses(
        flat((reco.pt / true.pt)[both]), flat(true.pt[both]), np.abs(flat(true.eta[both]))
    )


def _bins() -> list[tuple[float, float]]:
    return list(pairwise(PT_EDGES))


def _checks(jets: Responses) -> list[Check]:
    checks = []
    for region, eta in REGIONS.items():
        for low, high in ((30.0, 50.0), (50.0, 100.0), (100.0, 200.0)):
            checks.append(
                compare(
                    f"Jet response, {region}, {low:g} to {high:g} GeV: median",
                    jets.scale((low, high), eta),
                    "jet_scale",
                )
            )
        checks += [_width_check(jets, region, pt) for pt in ((27.0, 33.0), (90.0, 110.0))]
    return checks


def _width_check(jets: Responses, region: str, pt: Range) -> Check:
    eta = REGIONS[region]
    expected = jets.cms_resolution(pt, eta)
    return Check(
        f"Jet resolution, {region}, {sum(pt) / 2:g} GeV: core / peak",
        jets.resolution(pt, eta),
        exactly(expected),
        _WIDTH_TOLERANCE * expected,
        source(),
    )


def _drawings(jets: Responses) -> tuple[Drawing, ...]:
    label = Label("ttbar, one lepton")
    pt = "pT of the particle jet (GeV)"
    scale = [
        Profile(name, PT_EDGES, [jets.scale(b, eta) for b in _bins()], [1.0] * len(_bins()))
        for name, eta in REGIONS.items()
    ]
    width = [
        Profile(
            name,
            PT_EDGES,
            [jets.resolution(b, eta) for b in _bins()],
            [jets.cms_resolution(b, eta) for b in _bins()],
        )
        for name, eta in REGIONS.items()
    ]
    return (
        Drawing(
            "jet-scale",
            "Median of reconstructed over particle-level pT.",
            lambda: profiles(scale, pt, "Jet response", label, x_log=True),
        ),
        Drawing(
            "jet-resolution",
            "Width of the Gaussian core of the response. Lines: CMS simulation, low pile-up.",
            lambda: profiles(width, pt, "Jet pT resolution", label, x_log=True),
        ),
    )


def find(evidence: Evidence) -> Finding:
    """Compare jet energy scale and resolution with particle jets and with CMS simulation."""
    jets = responses(evidence["ttbar"])
    return Finding(
        "jet-energy",
        "Jet energy scale and resolution",
        "Particle jets (no neutrinos, no leptons of the hard process within "
        f"{_LEPTON_CONE}) matched to reconstructed jets within {_CONE}. The expected resolution "
        "is that of CMS simulation at the lowest pile-up for which it is tabulated.",
        tuple(_checks(jets)),
        drawings=_drawings(jets),
    )
