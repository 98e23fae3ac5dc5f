"""Cross sections as Pythia gives them at leading order beside those of the catalogue."""

from __future__ import annotations

import math
from collections.abc import Sequence

from transferline.evaluation.measurement import Measurement
from transferline.generate.catalogue import Process, process, processes
from transferline.generate.pythia import leading_order
from transferline.reporting.table import Table
from transferline.validation.check import Check, Explanation
from transferline.validation.evidence import Evidence
from transferline.validation.expectations import compare
from transferline.validation.finding import Finding

_PROBES = 4000
_W = ("WeakSingleBoson:ffbar2W = on", "24:onMode = off", "24:onIfAny = 11 13 15")
_Z = (
    "WeakSingleBoson:ffbar2gmZ = on",
    "23:onMode = off",
    "23:onIfAny = 11 13 15",
    "PhaseSpace:mHatMin = 50.",
)
_FACTORS = {
    "ttbar": "k_ttbar",
    "ttbar_1l": "k_ttbar",
    "ttbar_2l": "k_ttbar",
    "ttH_bb": "k_tth",
    "ttH_bb_1l": "k_tth",
    "ttH_bb_2l": "k_tth",
    "singletop_t": "k_singletop_t",
    "singletop_s": "k_singletop_s",
}
_TOP_SCALE = ("SigmaProcess:factorScale2 = 5", f"SigmaProcess:factorFixScale = {172.5**2}")
_CAUSE = (
    "Pythia takes the smaller transverse mass of the two outgoing quarks as the factorisation "
    "scale, which for the light quark is low, where the proton holds few b quarks; with the mass "
    "of the top quark as the scale the cross section rises."
)


def measure(entry: Process, n: int, seed: int, extra: Sequence[str] = ()) -> Measurement:
    """Return the leading-order cross section of a process, all alternatives together, in pb."""
    parts = [
        leading_order((*entry.settings(number), *extra), n=n, seed=1 + seed % 900_000_000)
        for number in range(len(entry.alternatives))
    ]
    return Measurement(sum(pb for pb, _ in parts), math.hypot(*(error for _, error in parts)))


def over(published: float, measured: Measurement) -> Measurement:
    """Return the ratio of a published number to a measured one."""
    ratio = published / measured.value
    return Measurement(ratio, ratio * measured.error / measured.value)


def _factor_check(entry: Process, measured: Measurement, n: int, seed: int) -> Check:
    published = entry.cross_section.pb or math.nan
    name = f"{entry.full_name}: published / leading order"
    why = None
    if entry.name == "singletop_t":
        why = Explanation(_CAUSE, over(published, measure(entry, n, seed, _TOP_SCALE)))
    return compare(name, over(published, measured), _FACTORS[entry.name], why)


def _inclusive_checks(n: int, seed: int) -> list[Check]:
    """Inclusive W and Z, on which the catalogue's numbers for W and Z with jets rest."""
    checks = []
    for name, settings, key, published in (
        ("W to leptons, inclusive", _W, "w_inclusive", 61526.7),
        ("Z to leptons above 50 GeV, inclusive", _Z, "z_inclusive", 6077.2),
    ):
        measured = Measurement(*leading_order(settings, n=n, seed=1 + seed % 900_000_000))
        checks += [
            compare(f"{name}: leading order (pb)", measured, key),
            compare(f"{name}: published / leading order", over(published, measured), f"k_{key}"),
        ]
    return checks


def _row(entry: Process, measured: Measurement) -> tuple[str, ...]:
    known = entry.cross_section
    published = "-" if known.pb is None else f"{known.pb:g}"
    ratio = "-"
    if known.pb is not None and known.kind != "conventional":
        ratio = str(over(known.pb, measured))
    return (entry.full_name, str(measured), published, known.kind, ratio, known.reference)


def _number_of_probes(evidence: Evidence) -> int:
    return min(_PROBES, max(evidence.n // 5, 400))


def find(evidence: Evidence) -> Finding:
    """Compare Pythia's leading-order cross sections with published ones."""
    n, seed = _number_of_probes(evidence), evidence.seed
    entries = [entry for entry in processes() if entry.production]
    found = {entry.name: measure(entry, n, seed) for entry in entries}
    checks = [
        _factor_check(process(name), found[name], n, seed) for name in _FACTORS if name in found
    ]
    checks += [
        compare(f"{name}: leading order (pb)", found[name], name.lower())
        for name in ("Wjets_lnu", "Zjets_ll", "Zjets_nunu")
    ]
    rows = tuple(_row(entry, found[entry.name]) for entry in entries)
    header = ("Process", "Pythia (pb)", "Catalogue (pb)", "Kind", "Ratio", "Reference")
    return Finding(
        "cross-sections",
        "Cross sections",
        f"Pythia's own leading order from {n} hard processes per setting, forced decays "
        "included, beside the catalogue's number, which samples are normalised to. Their ratio "
        "(the K factor) must be what higher orders are known to give. Conventional numbers are "
        "rates that nobody can know and are not compared; scaled ones rest on the inclusive W "
        "and Z, which are checked here.",
        (*checks, *_inclusive_checks(n, seed)),
        (Table("All processes of the catalogue", header, rows),),
    )
