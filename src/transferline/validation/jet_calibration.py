"""Section of the page on jets: the 34 numbers of JetClass, and what they say of its spectra."""

from __future__ import annotations

import math

from transferline.evaluation.measurement import Measurement
from transferline.reporting.table import Table
from transferline.validation.check import Check, exactly
from transferline.validation.finding import Finding
from transferline.validation.jet_evidence import JetEvidence
from transferline.validation.jet_moments import Moments, jetclass_moments, moments

ZERO_BY_SYMMETRY = ("charge", "d0", "dz", "deta", "dphi")
_RELATIVE = 0.10
_SHIFT = 0.02  # of a standard deviation
_SOURCE = "batch normalisation of ParticleNet_full (jet-universe/particle_transformer)"
_TYPES = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")

_TEXT = (
    "Means and variances of the 17 inputs over the 128 places of a jet, for the ten classes in "
    "equal parts, beside those of JetClass. Tolerances: 10 % of every variance and of the twelve "
    "means that are not zero by symmetry, 0.02 standard deviations for the other five. Errors are "
    "ours alone."
)

_CARD = (
    "\n\nThe detector card `cms` does what Delphes did with JetClass's own card. That card smears "
    "tracks twice: the second time with a momentum resolution of zero, which gives them back their "
    "true momenta and, with an error of zero, no weight beside the calorimeter. A cell without a "
    "neutral excess then replaces the energy of its tracks, and where the cell is below threshold "
    "they are lost, soft charged hadrons above all. Particles that curl up in the tracker leave it "
    "through its end. Files give tracks the pseudorapidity at the calorimeter, which for such "
    "particles lies far from that of the momentum. No observable is rescaled, and no number was "
    "fitted."
)


def find(evidence: JetEvidence) -> Finding:
    """Compare the moments, and the mean jet that follows from them."""
    found = moments(evidence.classes)
    checks = [check for name in found for check in _pair(name, found[name])]
    checks += _mean_jet(found)
    return Finding(
        "calibration",
        "JetClass: 34 numbers",
        _TEXT + (_CARD if evidence.detector == "cms" else ""),
        tuple(checks),
        (_table(found), _per_jet(found)),
    )


def _pair(name: str, ours: Moments) -> list[Check]:
    mean, variance = jetclass_moments().moments[name]
    allowed = _RELATIVE * abs(mean)
    if name in ZERO_BY_SYMMETRY:
        allowed = _SHIFT * math.sqrt(variance)
    return [
        Check(f"mean of {name}", ours.mean, exactly(mean), allowed, _SOURCE),
        Check(
            f"variance of {name}",
            ours.variance,
            exactly(variance),
            _RELATIVE * variance,
            _SOURCE,
        ),
    ]


def _ratio(ours: Measurement, theirs: float) -> str:
    return str(Measurement(ours.value / theirs, ours.error / abs(theirs)))


def _mean_column(name: str, ours: Moments) -> str:
    mean, variance = jetclass_moments().moments[name]
    if name not in ZERO_BY_SYMMETRY:
        return _ratio(ours.mean, mean)
    spread = math.sqrt(variance)
    return f"{Measurement((ours.mean.value - mean) / spread, ours.mean.error / spread)} sd"


def _table(found: dict[str, Moments]) -> Table:
    rows = tuple(
        (
            name,
            f"{jetclass_moments().moments[name][0]:.6f}",
            f"{ours.mean.value:.6f}",
            _mean_column(name, ours),
            f"{jetclass_moments().moments[name][1]:.6f}",
            f"{ours.variance.value:.6f}",
            _ratio(ours.variance, jetclass_moments().moments[name][1]),
        )
        for name, ours in found.items()
    )
    header = ("Input", "JetClass mean", "ours", "ratio", "JetClass variance", "ours", "ratio")
    note = "Where the mean is zero by symmetry, its difference in standard deviations (sd)."
    return Table("Moments", header, rows, f"{_inside(found)} {note}")


def _inside(found: dict[str, Moments]) -> str:
    """Say how many central values lie within the tolerances, errors not counted."""
    pairs = [check for name, ours in found.items() for check in _pair(name, ours)]
    good = sum(abs(c.measured.value - c.expected.value) <= c.tolerance for c in pairs)
    return f"Without any allowance for errors, {good} of {len(pairs)} lie within the tolerance."


def _per_jet(found: dict[str, Moments]) -> Table:
    known = jetclass_moments().moments
    rows = tuple(
        (
            name.removeprefix("is"),
            f"{128 * known[name][0]:.3f}",
            str(Measurement(128 * found[name].mean.value, 128 * found[name].mean.error)),
        )
        for name in _TYPES
    )
    return Table(
        "Particles per jet, ten classes in equal parts", ("Type", "JetClass", "Ours"), rows
    )


def mean_jet(means: dict[str, float]) -> tuple[float, float]:
    """Return geometric means of jet pT and energy in GeV, weighted by the number of particles.

    The inputs ln pT and ln pT / pT_jet differ by the jet's alone: with N particles in 128 places,
    mean(pt_log) - mean(logptrel) = 0.7 N / 128 (<ln pT_jet> - 1.7 - 4.7).

    >>> pt, energy = mean_jet({k: m for k, (m, _) in jetclass_moments().moments.items()})
    >>> f"{pt:.0f} {energy:.0f}"
    '616 876'
    """
    n = sum(means[name] for name in _TYPES)
    pt = math.exp(1.7 + 4.7 + (means["pt_log"] - means["logptrel"]) / (0.7 * n))
    energy = math.exp(2.0 + 4.7 + (means["e_log"] - means["logerel"]) / (0.7 * n))
    return pt, energy


def _mean_jet(found: dict[str, Moments]) -> list[Check]:
    theirs = mean_jet({k: m for k, (m, _) in jetclass_moments().moments.items()})
    ours = mean_jet({name: m.mean.value for name, m in found.items()})
    source = "follows from the means of JetClass"
    names = ("pT", "energy")
    return [
        Check(f"geometric mean of jet {name} (GeV)", exactly(a), exactly(b), 0.03 * b, source)
        for name, a, b in zip(names, ours, theirs, strict=True)
    ]
