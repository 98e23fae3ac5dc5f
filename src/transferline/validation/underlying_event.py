"""Multi-parton interactions on against off: what they change, and by how much."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import apply, needed_columns, selection
from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.reporting.table import Table
from transferline.validation.check import Check
from transferline.validation.event_file import EventFile
from transferline.validation.evidence import Evidence
from transferline.validation.expectations import compare
from transferline.validation.figures import Spectrum, distributions
from transferline.validation.finding import Finding
from transferline.validation.hadronic import matched_w
from transferline.validation.lepton_truth import MUON, true_leptons
from transferline.validation.met import deviations
from transferline.validation.spectra import leading_jet, missing, n_b_jets, n_jets
from transferline.validation.statistics import Bools, mean, share

# |eta| < 5, all azimuths.
_AREA = 10.0 * 2.0 * math.pi
_SELECTIONS = ("pretraining", "l1_j4_b1", "l1_j4_b2")
_TITLES = {"ttbar": "ttbar, 1 lepton", "ttH": "ttH(bb), 1 lepton"}


def passing(file: EventFile, name: str) -> Bools:
    """Tell which events a shipped selection takes."""
    recipe = selection(name)
    reader = NanoAOD(files=[str(file.path)])
    parts = [
        apply(recipe, events, is_simulation=True).passed
        for events in reader.chunks(needed_columns(recipe))
    ]
    return np.concatenate(parts)


def _efficiency(name: str) -> Callable[[EventFile, Evidence], Measurement]:
    return lambda file, _: share(passing(file, name), file.weight)


def _isolated_muons(file: EventFile, evidence: Evidence) -> Measurement:
    muons = true_leptons(file, MUON, evidence.card)
    present = muons.keep(muons.found)
    return share(present.isolated, present.weight)


def _sum_et(file: EventFile, _: Evidence) -> Measurement:
    return mean(np.asarray(file["MET_sumEt"], float), file.weight)


QUANTITIES: dict[str, Callable[[EventFile, Evidence], Measurement]] = {
    "sum ET (GeV)": _sum_et,
    "selected jets": lambda file, _: mean(*n_jets(file)),
    "selected b jets": lambda file, _: mean(*n_b_jets(file)),
    "pT of the hardest jet (GeV)": lambda file, _: mean(*leading_jet(file)),
    "missing momentum (GeV)": lambda file, _: mean(*missing(file)),
    "resolution of missing momentum (GeV)": lambda file, _: deviations(file).resolution(),
    "isolated, of the muons found": _isolated_muons,
    **{f"efficiency of {name}": _efficiency(name) for name in _SELECTIONS},
}


def ratio(one: Measurement, other: Measurement) -> Measurement:
    """Return the ratio of two independent numbers."""
    if not (other.value and math.isfinite(one.value + other.value)):
        return Measurement(math.nan, math.nan)
    value = one.value / other.value
    relative = math.hypot(one.error / (one.value or math.inf), other.error / other.value)
    return Measurement(value, abs(value) * relative)


def difference(one: Measurement, other: Measurement) -> Measurement:
    """Return the difference of two independent numbers."""
    return Measurement(one.value - other.value, math.hypot(one.error, other.error))


Pair = tuple[Measurement, Measurement]


def _pairs(evidence: Evidence, name: str) -> dict[str, Pair]:
    files = evidence[name], evidence[f"{name}_no_mpi"]
    return {
        what: (take(files[0], evidence), take(files[1], evidence))
        for what, take in QUANTITIES.items()
    }


def _table(title: str, pairs: dict[str, Pair]) -> Table:
    rows = tuple(
        (what, str(on), str(off), str(ratio(on, off))) for what, (on, off) in pairs.items()
    )
    return Table(title, ("", "on", "off", "on / off"), rows)


def _checks(evidence: Evidence, name: str, pairs: dict[str, Pair]) -> list[Check]:
    title = _TITLES[name]
    on, off = pairs["sum ET (GeV)"]
    density = difference(on, off)
    checks = [
        compare(
            f"{title}: transverse energy that interactions add, per unit of eta and phi (GeV)",
            Measurement(density.value / _AREA, density.error / _AREA),
            "mpi_density",
        ),
        compare(
            f"{title}: selected jets, on - off", difference(*pairs["selected jets"]), "mpi_jets"
        ),
        compare(
            f"{title}: isolated muons, on / off",
            ratio(*pairs["isolated, of the muons found"]),
            "mpi_isolation",
        ),
    ]
    return checks + [
        compare(f"{title}: {what}, on / off", ratio(*pairs[what]), "mpi_efficiency")
        for what in (f"efficiency of {selected}" for selected in _SELECTIONS)
    ]


def _w_check(evidence: Evidence) -> Check:
    peaks = [matched_w(evidence[name]).peak() for name in ("ttbar", "ttbar_no_mpi")]
    shift = difference(peaks[0].position, peaks[1].position)
    return compare("W of matched jets: shift of the peak, on - off (GeV)", shift, "mpi_w")


def _drawing(evidence: Evidence) -> Drawing:
    spectra = [
        Spectrum(f"{title}, {state}", *n_jets(evidence[key]))
        for name, title in _TITLES.items()
        for state, key in (("on", name), ("off", f"{name}_no_mpi"))
    ]
    return Drawing(
        "mpi-n-jets",
        "Selected jets with multi-parton interactions on and off.",
        lambda: distributions(spectra, np.arange(-0.5, 11.0), "Selected jets", Label()),
    )


def find(evidence: Evidence) -> Finding:
    """Compare samples with and without multi-parton interactions."""
    pairs = {name: _pairs(evidence, name) for name in _TITLES}
    checks = [check for name in _TITLES for check in _checks(evidence, name, pairs[name])]
    return Finding(
        "underlying-event",
        "Multi-parton interactions on and off",
        "The same processes generated with and without further interactions of the same two "
        "protons, which take about half of the time. Efficiencies are those of the shipped "
        "selections, trigger included.",
        (*checks, _w_check(evidence)),
        tuple(_table(_TITLES[name], pairs[name]) for name in _TITLES),
        (_drawing(evidence),),
    )
