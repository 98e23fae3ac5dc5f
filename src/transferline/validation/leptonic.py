"""Masses with leptons: Z -> ll, the transverse mass of W, the leptonic top; generated masses."""

from __future__ import annotations

import awkward as ak
import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.validation.check import Check
from transferline.validation.event_file import EventFile
from transferline.validation.evidence import Evidence
from transferline.validation.expectations import compare, expectation
from transferline.validation.figures import Spectrum, distributions
from transferline.validation.finding import Finding
from transferline.validation.hadronic import Masses
from transferline.validation.kinematics import delta_phi, flat, found, invariant_mass, nearest
from transferline.validation.statistics import Bools, Floats, half_width, median

_Z_WINDOW = (70.0, 110.0)
_W_MASS = 80.377
_NAMES = {13: ("mumu", "Z to two muons"), 11: ("ee", "Z to two electrons")}


def _generated(evidence: Evidence) -> list[Check]:
    checks = []
    for sample, code, name, symbol in (
        ("ttbar", 24, "w_mass", "W"),
        ("ttbar", 6, "top_mass", "t"),
        ("Z", 23, "z_mass", "Z"),
        ("ttH", 25, "higgs_mass", "H"),
    ):
        values = flat(evidence[sample].hard(code).mass)
        near = values[np.abs(values - expectation(name).value) < 10.0]
        checks.append(compare(f"{symbol}: generated, median (GeV)", median(near), name))
    return checks


def _pairs(file: EventFile, code: int) -> Masses:
    """Masses of two selected leptons of one kind and opposite charge."""
    leptons = file.chosen.leptons
    good = leptons[leptons.code == code]
    events = ak.to_numpy((ak.num(good) == 2) & (ak.sum(good.charge, axis=1) == 0))
    two = good[events]
    values = flat(invariant_mass(two[:, 0], two[:, 1]))
    inside = (values > _Z_WINDOW[0]) & (values < _Z_WINDOW[1])
    return Masses(values[inside], file.weight[events][inside])


def _generated_pairs(file: EventFile, code: int) -> Masses:
    """Masses of the same kind of pair before radiation, both leptons within the acceptance."""
    leptons = file.hard(code)
    leptons = leptons[(leptons.pt > 15.0) & (abs(leptons.eta) < 2.4)]
    events = ak.to_numpy(ak.num(leptons) == 2)
    two = leptons[events]
    values = flat(invariant_mass(two[:, 0], two[:, 1]))
    inside = (values > _Z_WINDOW[0]) & (values < _Z_WINDOW[1])
    return Masses(values[inside], file.weight[events][inside])


def _resolution(file: EventFile, code: int, eta: tuple[float, float]) -> Measurement:
    """Relative resolution of leptons with 40 to 50 GeV: half of the central 68 %."""
    true = file.hard(code)
    true = true[(true.pt > 40.0) & (true.pt < 50.0)]
    true = true[(abs(true.eta) >= eta[0]) & (abs(true.eta) < eta[1])]
    reco = file.chosen.leptons
    near = nearest(true, reco[reco.code == code], 0.1)
    return half_width(flat((near.pt / true.pt)[found(near)]))


def _z_checks(file: EventFile) -> list[Check]:
    checks = []
    for code, (name, title) in _NAMES.items():
        peak = _pairs(file, code).peak()
        checks += [
            compare(f"{title}: peak (GeV)", peak.position, f"z_{name}_peak"),
            compare(f"{title}: width of the core (GeV)", peak.width, f"z_{name}_width"),
            compare(
                f"{title}: resolution of a 45 GeV lepton, barrel",
                _resolution(file, code, (0.0, 1.4)),
                f"resolution_{name}_barrel",
            ),
            compare(
                f"{title}: resolution of a 45 GeV lepton, endcap",
                _resolution(file, code, (1.6, 2.4)),
                f"resolution_{name}_endcap",
            ),
        ]
    return checks


def _z_drawing(file: EventFile) -> Drawing:
    spectra = [Spectrum("generated, before radiation", *_both(_generated_pairs(file, 13)))]
    for code, (_, title) in _NAMES.items():
        spectra.append(Spectrum(title, *_both(_pairs(file, code))))
    edges = np.arange(_Z_WINDOW[0], _Z_WINDOW[1] + 0.1, 1.0)
    return Drawing(
        "mass-z",
        "Mass of two leptons of one kind and opposite charge. Dotted: the mass of the Z.",
        lambda: distributions(
            spectra, edges, "Mass of two leptons (GeV)", Label("Z + jets"), line=91.19
        ),
    )


def _both(masses: Masses) -> tuple[Floats, Floats]:
    return masses.values, masses.weight


def transverse_mass(pt: Floats, phi: Floats, other_pt: Floats, other_phi: Floats) -> Floats:
    r"""Return $\sqrt{2 p_1 p_2 (1 - \cos\Delta\phi)}$."""
    angle = 1.0 - np.cos(delta_phi(phi, other_phi))
    return np.asarray(np.sqrt(2.0 * pt * other_pt * angle))


def _leptonic_events(file: EventFile) -> tuple[Bools, ak.Array, ak.Array]:
    """Events with one W -> e or mu and one selected lepton; that lepton and the neutrino."""
    lepton, neutrino = file.hard(11, 13), file.hard(12, 14)
    lepton, neutrino = lepton[abs(lepton.mother) == 24], neutrino[abs(neutrino.mother) == 24]
    reco = file.chosen.leptons
    plain = (ak.num(lepton) == 1) & (ak.num(neutrino) == 1) & (ak.num(reco) == 1)
    events = ak.to_numpy(plain)
    return events, reco[events][:, 0], neutrino[events][:, 0]


def _transverse(file: EventFile) -> tuple[Masses, Masses]:
    """Transverse mass with the measured missing momentum, and with the true neutrino."""
    events, lepton, neutrino = _leptonic_events(file)
    met = np.asarray(file["MET_pt"])[events], np.asarray(file["MET_phi"])[events]
    pt, phi = flat(lepton.pt), flat(lepton.phi)
    weight = file.weight[events]
    true = transverse_mass(pt, phi, flat(neutrino.pt), flat(neutrino.phi))
    return Masses(transverse_mass(pt, phi, *met), weight), Masses(true, weight)


def neutrino_pz(lepton: ak.Array, met: Floats) -> Floats:
    """Longitudinal momentum of the neutrino that gives the lepton the mass of the W.

    `met [n, 2]`. Of two solutions the smaller in size; of two complex ones the real part.
    """
    px, py = flat(lepton.pt * np.cos(lepton.phi)), flat(lepton.pt * np.sin(lepton.phi))
    pt, pz = flat(lepton.pt), flat(lepton.pt * np.sinh(lepton.eta))
    a = 0.5 * _W_MASS**2 + px * met[:, 0] + py * met[:, 1]
    root = a**2 - pt**2 * (met**2).sum(axis=1)
    shift = np.hypot(pt, pz) * np.sqrt(np.maximum(root, 0.0))
    plus, minus = (a * pz + shift) / pt**2, (a * pz - shift) / pt**2
    return np.asarray(np.where(np.abs(plus) < np.abs(minus), plus, minus))


def _leptonic_top(file: EventFile) -> Masses:
    """Lepton, missing momentum and the jet matched to the b quark of the leptonic top."""
    events, lepton, _ = _leptonic_events(file)
    b = file.hard(5)[events]
    charge = -np.sign(flat(lepton.charge))
    own = b[(abs(b.mother) == 6) & (np.sign(b.pdgId) == -charge)]
    near = nearest(own, file.chosen.jets[events], 0.3)
    whole = ak.to_numpy(ak.all(found(near), axis=1) & (ak.num(near) == 1))
    met = file.xy("MET")[events][whole]
    pz = neutrino_pz(lepton[whole], met)
    neutrino = ak.zip(
        {
            "pt": np.hypot(*met.T),
            "phi": np.arctan2(met[:, 1], met[:, 0]),
            "eta": np.arcsinh(pz / np.maximum(np.hypot(*met.T), 1e-6)),
            "mass": np.zeros(len(met)),
        }
    )
    values = flat(invariant_mass(lepton[whole], neutrino, near[whole][:, 0]))
    return Masses(values, file.weight[events][whole])


def _w_checks(measured: Masses, true: Masses, top: Masses) -> list[Check]:
    expected = median(true.values, true.weight)
    return [
        Check(
            "W: transverse mass, median (GeV)",
            median(measured.values, measured.weight),
            expected,
            expectation("transverse_mass").tolerance,
            expectation("transverse_mass").source,
        ),
        compare("t: leptonic, b jet matched, peak (GeV)", top.peak().position, "top_leptonic"),
    ]


def find(evidence: Evidence) -> Finding:
    """Compare generated masses, Z -> ll, the transverse mass of W and the leptonic top."""
    file = evidence["ttbar"]
    measured, true, top = *_transverse(file), _leptonic_top(file)
    spectra = [
        Spectrum("with the true neutrino", *_both(true)),
        Spectrum("with missing momentum", *_both(measured)),
    ]
    edges, top_edges = np.arange(0.0, 160.1, 8.0), np.arange(80.0, 320.1, 10.0)
    label = Label("ttbar, one lepton")
    drawings = (
        _z_drawing(evidence["Z"]),
        Drawing(
            "mass-transverse",
            "Transverse mass of the selected lepton and the neutrino or missing momentum.",
            lambda: distributions(spectra, edges, "Transverse mass (GeV)", label, line=_W_MASS),
        ),
        Drawing(
            "mass-top-leptonic",
            "Mass of lepton, neutrino and matched b jet. Dotted: the mass of the top quark.",
            lambda: distributions(
                [Spectrum("leptonic top", *_both(top))],
                top_edges,
                "Leptonic t mass (GeV)",
                label,
                line=172.5,
            ),
        ),
    )
    return Finding(
        "leptonic-masses",
        "Generated masses, and masses with leptons",
        "Generated masses are medians within 10 GeV of the known one. Leptons are those of the "
        "shipped selections; their resolution is half of the central 68 % of reconstructed over "
        "generated pT, radiation included. The longitudinal momentum of the neutrino follows "
        "from the mass of the W.",
        (*_generated(evidence), *_z_checks(evidence["Z"]), *_w_checks(measured, true, top)),
        drawings=drawings,
    )
