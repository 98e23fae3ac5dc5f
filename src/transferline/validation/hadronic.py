"""Masses made of jets, matched to quarks or as analyses see them: W, top, H -> bb."""

from __future__ import annotations

from dataclasses import dataclass

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
from transferline.validation.kinematics import flat, found, invariant_mass, nearest
from transferline.validation.statistics import Bools, Floats, Peak, gaussian_core, maximum

_CONE = 0.3
_PT, _ETA = 30.0, 2.4


@dataclass(frozen=True)
class Masses:
    """Masses of one resonance with the weights of their events."""

    values: Floats
    weight: Floats

    def peak(self) -> Peak:
        """Position and width of the Gaussian core."""
        return gaussian_core(self.values, self.weight)

    def top_of(self, low: float, high: float, smooth: float) -> Measurement:
        """Where the spectrum is highest: for a peak on a combinatorial background."""
        return maximum(self.values, self.weight, np.arange(low, high, 0.5), smooth)


def _hadronic_quarks(file: EventFile) -> tuple[Bools, ak.Array]:
    """Events with one hadronic and one leptonic W, and (q, q', b of the hadronic top) in them."""
    lepton, quark, b = file.hard(11, 13, 15), file.hard(1, 2, 3, 4), file.hard(5)
    lepton, quark = lepton[abs(lepton.mother) == 24], quark[abs(quark.mother) == 24]
    b = b[abs(b.mother) == 6]
    good = ak.to_numpy((ak.num(lepton) == 1) & (ak.num(quark) == 2) & (ak.num(b) == 2))
    # The leptonic W has the lepton's charge, and its top the b quark of that sign.
    leptonic = -np.sign(lepton[good].pdgId[:, 0])
    own = b[good][np.sign(b[good].pdgId) == -leptonic]
    return good, ak.concatenate([quark[good], own], axis=1)


def _higgs_quarks(file: EventFile) -> tuple[Bools, ak.Array]:
    b = file.hard(5)
    b = b[b.mother == 25]
    good = ak.to_numpy(ak.num(b) == 2)
    return good, b[good]


def _matched(file: EventFile, good: Bools, quarks: ak.Array, jets: ak.Array, n: int) -> Masses:
    """Mass of the jets nearest to the first `n` quarks, where those are `n` different jets."""
    near = nearest(quarks[:, :n], jets[good], _CONE)
    whole = ak.to_numpy(ak.all(found(near), axis=1) & (ak.num(near) == n))
    parts = [near[whole][:, i] for i in range(n)]
    distinct = np.ones(whole.sum(), bool)
    for i in range(n):
        for k in range(i):
            distinct &= ak.to_numpy(parts[i].pt != parts[k].pt)
    values = flat(invariant_mass(*parts))[distinct] if distinct.any() else np.zeros(0)
    return Masses(values, file.weight[good][whole][distinct])


def particle_jets(file: EventFile) -> ak.Array:
    """Jets of generated particles within the acceptance of the selected ones."""
    jets = file.objects("GenJet")
    return jets[(jets.pt > _PT) & (abs(jets.eta) < _ETA)]


def _analysis_events(file: EventFile, b_jets: int, others: int) -> Bools:
    chosen = file.chosen
    wanted = (ak.num(chosen.leptons) == 1) & (ak.num(chosen.b_jets) == b_jets)
    return np.asarray(ak.to_numpy(wanted & (ak.num(chosen.other_jets) >= others)))


def _analysis_w(file: EventFile) -> Masses:
    events = _analysis_events(file, 2, 2)
    jets = file.chosen.other_jets[events]
    return Masses(flat(invariant_mass(jets[:, 0], jets[:, 1])), file.weight[events])


def _analysis_top(file: EventFile) -> Masses:
    """Of both b jets with the two hardest other jets, the combination with the larger pT sum."""
    events = _analysis_events(file, 2, 2)
    b, jets = file.chosen.b_jets[events], file.chosen.other_jets[events]
    both = [_trijet(b[:, i], jets[:, 0], jets[:, 1]) for i in (0, 1)]
    values = np.where(both[0][1] > both[1][1], both[0][0], both[1][0])
    return Masses(values, file.weight[events])


def _trijet(*jets: ak.Array) -> tuple[Floats, Floats]:
    x, y = (sum(jet.pt * f(jet.phi) for jet in jets) for f in (np.cos, np.sin))
    return flat(invariant_mass(*jets)), flat(np.hypot(x, y))


def _analysis_higgs(file: EventFile) -> Masses:
    """The two b jets with the largest pT sum, in events with at least four."""
    chosen = file.chosen
    events = ak.to_numpy((ak.num(chosen.leptons) == 1) & (ak.num(chosen.b_jets) >= 4))
    one, two = ak.unzip(ak.combinations(chosen.b_jets[events], 2))
    x, y = (one.pt * f(one.phi) + two.pt * f(two.phi) for f in (np.cos, np.sin))
    best = ak.argmax(np.hypot(x, y), axis=1, keepdims=True)
    return Masses(flat(invariant_mass(one, two)[best]), file.weight[events])


@dataclass(frozen=True)
class _Resonance:
    """One resonance seen three ways; `name` begins its entries in the table of expectations."""

    name: str
    symbol: str
    particle: Masses
    matched: Masses
    analysis: Masses
    window: tuple[float, float, float]

    def checks(self) -> list[Check]:
        level, reco = self.particle.peak(), self.matched.peak()
        closure = f"particle jets, within {expectation('jet_scale').tolerance:.0%}"
        low, high, smooth = self.window
        return [
            compare(
                f"{self.symbol}: particle jets, peak (GeV)", level.position, f"{self.name}_jets"
            ),
            Check(
                f"{self.symbol}: reconstructed and matched, peak (GeV)",
                reco.position,
                level.position,
                expectation("jet_scale").tolerance * level.position.value,
                closure,
            ),
            compare(
                f"{self.symbol}: reconstructed and matched, width / peak",
                _ratio(reco.width, reco.position),
                f"{self.name}_width",
            ),
            compare(
                f"{self.symbol}: as an analysis sees it, maximum (GeV)",
                self.analysis.top_of(low, high, smooth),
                f"{self.name}_analysis",
            ),
        ]

    def drawing(self, edges: Floats, line: float, label: str) -> Drawing:
        spectra = [
            Spectrum("particle jets, matched", self.particle.values, self.particle.weight),
            Spectrum("reconstructed, matched", self.matched.values, self.matched.weight),
            Spectrum("as an analysis sees it", self.analysis.values, self.analysis.weight),
        ]
        return Drawing(
            f"mass-{self.name}",
            f"{self.symbol}: mass of jets. Dotted: the mass of the resonance.",
            lambda: distributions(
                spectra, edges, f"{self.symbol} mass (GeV)", Label(label), line=line
            ),
        )


def _ratio(numerator: Measurement, denominator: Measurement) -> Measurement:
    value = numerator.value / denominator.value
    relative = np.hypot(numerator.error / numerator.value, denominator.error / denominator.value)
    return Measurement(value, abs(value) * float(relative))


def matched_w(file: EventFile) -> Masses:
    """Return the mass of the selected jets matched to the quarks of the hadronic W."""
    return _matched(file, *_hadronic_quarks(file), file.chosen.jets, 2)


def _w_and_top(file: EventFile) -> tuple[_Resonance, _Resonance]:
    good, quarks = _hadronic_quarks(file)
    jets, level = file.chosen.jets, particle_jets(file)

    def seen(which: ak.Array, n: int) -> Masses:
        return _matched(file, good, quarks, which, n)

    return (
        _Resonance("w", "W", seen(level, 2), seen(jets, 2), _analysis_w(file), (50, 115, 5)),
        _Resonance("top", "t", seen(level, 3), seen(jets, 3), _analysis_top(file), (110, 240, 10)),
    )


def _higgs(file: EventFile) -> _Resonance:
    good, quarks = _higgs_quarks(file)
    level = _matched(file, good, quarks, particle_jets(file), 2)
    reco = _matched(file, good, quarks, file.chosen.jets, 2)
    return _Resonance("higgs", "H", level, reco, _analysis_higgs(file), (60, 160, 10))


def find(evidence: Evidence) -> Finding:
    """Compare the masses of hadronic W, top and Higgs with what they should be."""
    w, top = _w_and_top(evidence["ttbar"])
    higgs = _higgs(evidence["ttH"])
    return Finding(
        "hadronic-masses",
        "Masses made of jets",
        f"Jets (pT > {_PT:g} GeV, |eta| < {_ETA}) matched to the quarks of the hard process within "
        f"{_CONE} in eta and phi, each quark its own jet. *Particle jets* are made of all "
        "generated particles but neutrinos. Peak and width are those of the Gaussian core. "
        "*As an analysis sees it*: one lepton and exactly two b-tagged jets; the W is the pair of "
        "the hardest other jets, the top that pair with the b jet that gives the larger "
        "transverse momentum; the Higgs boson is the pair of b jets, of four or more, with the "
        "largest transverse momentum. "
        "The masses of particle jets lie below those of the resonances, because radiation "
        "leaves the cones and neutrinos leave b jets.",
        tuple(check for one in (w, top, higgs) for check in one.checks()),
        drawings=(
            w.drawing(np.arange(20.0, 160.1, 4.0), 80.4, "ttbar, one lepton"),
            top.drawing(np.arange(80.0, 300.1, 8.0), 172.5, "ttbar, one lepton"),
            higgs.drawing(np.arange(30.0, 220.1, 8.0), 125.0, "ttH(bb), one lepton"),
        ),
    )
