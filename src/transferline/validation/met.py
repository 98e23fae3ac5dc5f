"""Missing transverse momentum: resolution, scale, bias along leptons, recoil of the Z."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import awkward as ak
import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.reporting.table import Table
from transferline.validation.check import Check
from transferline.validation.event_file import EventFile
from transferline.validation.evidence import Evidence
from transferline.validation.expectations import compare
from transferline.validation.figures import Profile, profiles
from transferline.validation.finding import Finding
from transferline.validation.kinematics import flat
from transferline.validation.statistics import Bools, Floats, bootstrap, half_width, mean, rms

_SCALE_EDGES = (20.0, 40.0, 60.0, 80.0, 120.0, 200.0, 400.0)
_LEPTONS = {"electron": 11, "muon": 13}


@dataclass(frozen=True)
class Deviations:
    """Measured less true missing momentum `[n, 2]`, the true one `[n, 2]`, and sum ET `[n]`."""

    shift: Floats
    true: Floats
    sum_et: Floats
    weight: Floats

    @property
    def size(self) -> Floats:
        """True missing momentum in GeV."""
        return np.asarray(np.hypot(*self.true.T))

    def along(self) -> Floats:
        """Deviation along the true missing momentum."""
        return np.asarray((self.shift * self.true).sum(axis=1) / np.maximum(self.size, 1e-9))

    def across(self) -> Floats:
        """Deviation at right angles to it."""
        x, y = self.true.T
        product = self.shift[:, 1] * x - self.shift[:, 0] * y
        return np.asarray(product / np.maximum(self.size, 1e-9))

    def keep(self, rows: Bools) -> Deviations:
        """Return some of the events."""
        return Deviations(self.shift[rows], self.true[rows], self.sum_et[rows], self.weight[rows])

    def component(self) -> Floats:
        """Both components end to end."""
        return np.asarray(self.shift.T.ravel())

    def resolution(self) -> Measurement:
        """Half of the central 68 % of one component."""
        return half_width(self.component(), np.tile(self.weight, 2))


def deviations(file: EventFile, prefix: str = "MET") -> Deviations:
    """Return how missing momentum differs from the momentum of the neutrinos."""
    true = file.xy("GenMET")
    return Deviations(
        file.xy(prefix) - true, true, np.asarray(file[f"{prefix}_sumEt"], float), file.weight
    )


def scale(events: Deviations, low: float, high: float) -> Measurement:
    """Return measured over true missing momentum along the true one, in a range of the latter."""
    inside = (events.size >= low) & (events.size < high)
    return mean(1.0 + events.along()[inside] / events.size[inside], events.weight[inside])


def lepton_bias(file: EventFile, code: int) -> Measurement:
    """Return the mean deviation along the one hard lepton of an event over the lepton's pT.

    Energy of the lepton that enters missing momentum wrongly shows here and nowhere else.
    """
    leptons = file.hard(code)
    leptons = leptons[(leptons.pt > 30.0) & (abs(leptons.eta) < 2.4)]
    one = ak.to_numpy(ak.num(leptons) == 1)
    pt, phi = flat(leptons[one].pt), flat(leptons[one].phi)
    shift = deviations(file).shift[one]
    along = shift[:, 0] * np.cos(phi) + shift[:, 1] * np.sin(phi)
    return mean(along / pt, file.weight[one])


@dataclass(frozen=True)
class Recoil:
    """The recoil of a Z: its pT, and the recoil against and across the Z's direction (GeV)."""

    pt: Floats
    along: Floats
    across: Floats
    weight: Floats

    def response(self, low: float, high: float) -> Measurement:
        """Return mean recoil over mean pT of the Z, in a range of that."""
        inside = (self.pt >= low) & (self.pt < high)
        both = np.stack([-self.along[inside], self.pt[inside]], axis=1)

        def ratio(x: Floats, w: Floats) -> float:
            return float((w @ x[:, 0]) / (w @ x[:, 1]))

        return bootstrap(ratio, both, self.weight[inside])


def recoil(file: EventFile, code: int) -> Recoil:
    """Return the recoil of the Z in events with two selected leptons of one kind."""
    leptons = file.chosen.leptons
    two = leptons[leptons.code == code]
    events = ak.to_numpy(ak.num(two) == 2)
    pairs = two[events]
    z = np.stack(
        [
            ak.to_numpy(ak.sum(pairs.pt * np.cos(pairs.phi), axis=1)),
            ak.to_numpy(ak.sum(pairs.pt * np.sin(pairs.phi), axis=1)),
        ],
        axis=1,
    )
    against = -file.xy("MET")[events] - z
    pt = np.hypot(*z.T)
    unit = z / np.maximum(pt, 1e-9)[:, None]
    across = against[:, 1] * unit[:, 0] - against[:, 0] * unit[:, 1]
    return Recoil(pt, (against * unit).sum(axis=1), across, file.weight[events])


def _recoil_checks(file: EventFile) -> list[Check]:
    muons = recoil(file, 13)
    width = half_width(muons.along + muons.pt, muons.weight)
    return [
        compare("Z to two muons: recoil response, 30 to 60 GeV", muons.response(30, 60), "recoil"),
        compare("Z to two muons: recoil response, above 60 GeV", muons.response(60, 1e4), "recoil"),
        compare("Z to two muons: recoil resolution, along the Z (GeV)", width, "recoil_width"),
        compare(
            "Z to two muons: recoil resolution, across the Z (GeV)",
            half_width(muons.across, muons.weight),
            "recoil_width",
        ),
    ]


def _checks(file: EventFile, events: Deviations) -> list[Check]:
    checks = [
        compare(
            f"Missing momentum, mean shift in {axis} (GeV)",
            mean(events.shift[:, number], events.weight),
            "met_shift",
        )
        for number, axis in enumerate("xy")
    ]
    checks += [
        compare(
            f"Missing momentum, scale, {low:g} to {high:g} GeV",
            scale(events, low, high),
            "met_scale",
        )
        for low, high in ((40.0, 80.0), (80.0, 200.0))
    ]
    checks += [
        compare(
            f"Missing momentum, bias along the {name} / its pT",
            lepton_bias(file, code),
            "met_lepton_bias",
        )
        for name, code in _LEPTONS.items()
    ]
    return checks


def _sum_et_bins(events: Deviations, bins: int = 8) -> list[float]:
    return [float(p) for p in np.quantile(events.sum_et, np.linspace(0.0, 1.0, bins + 1))]


def _by_sum_et(events: Deviations) -> Profile:
    edges = _sum_et_bins(events)
    parts = [
        events.keep((events.sum_et >= low) & (events.sum_et < high))
        for low, high in pairwise(edges)
    ]
    return Profile(
        "one component", [edge**0.5 for edge in edges], [part.resolution() for part in parts]
    )


def _table(events: Deviations) -> Table:
    rows = (
        ("one component, central 68 %", str(events.resolution())),
        ("one component, standard deviation", str(rms(events.component()))),
        ("along the true one, central 68 %", str(half_width(events.along(), events.weight))),
        ("across the true one, central 68 %", str(half_width(events.across(), events.weight))),
        ("mean sum ET", str(mean(events.sum_et, events.weight))),
    )
    return Table("Resolution in ttbar with one lepton", ("", "GeV"), rows)


def _drawings(events: Deviations) -> tuple[Drawing, ...]:
    label = Label("ttbar, one lepton")
    bins = list(pairwise(_SCALE_EDGES))
    scales = [Profile("scale", _SCALE_EDGES, [scale(events, *b) for b in bins], [1.0] * len(bins))]
    return (
        Drawing(
            "met-resolution",
            "Resolution of one component of missing momentum by the root of the sum of ET.",
            lambda: profiles(
                [_by_sum_et(events)],
                "Root of sum ET (sqrt(GeV))",
                "Resolution of missing momentum (GeV)",
                label,
            ),
        ),
        Drawing(
            "met-scale",
            "Measured missing momentum along the true one, over the true one.",
            lambda: profiles(
                scales,
                "True missing momentum (GeV)",
                "Measured / true",
                label,
            ),
        ),
    )


def find(evidence: Evidence) -> Finding:
    """Compare missing momentum with the neutrinos, and the recoil of the Z with published ones."""
    file = evidence["ttbar"]
    events = deviations(file)
    return Finding(
        "missing-momentum",
        "Missing transverse momentum",
        "Measured less true missing momentum, the sum of all neutrinos. The bias along a hard "
        "lepton shows energy of the lepton that is counted wrongly: the correction of jets must "
        "leave leptons alone. There is no pile-up; each further collision adds 3 to 4 GeV in "
        "quadrature (arXiv:1411.0511).",
        (*_checks(file, events), *_recoil_checks(evidence["Z"])),
        (_table(events),),
        _drawings(events),
    )
