"""Generated events beside full CMS simulation, where files of that are at hand."""

from __future__ import annotations

import math
from pathlib import Path

import awkward as ak
import numpy as np

from transferline.errors import DataError
from transferline.evaluation.measurement import Measurement
from transferline.generate.hard_filter import hard_filter
from transferline.reporting.table import Table
from transferline.validation.check import Check, Explanation
from transferline.validation.event_file import EventFile
from transferline.validation.evidence import Evidence
from transferline.validation.expectations import expectation
from transferline.validation.finding import Finding
from transferline.validation.jet_energy import responses
from transferline.validation.kinematics import flat, found, nearest, spread
from transferline.validation.lepton_truth import KINDS, Kind
from transferline.validation.met import Deviations
from transferline.validation.statistics import Bools, Floats, mean, rms, share

_PT, _ETA = 30.0, 2.4
_Z_PT, _TTBAR_JETS = 30.0, 4
_LEPTON_PT, _ISOLATED = 20.0, 0.15
_MET_NAMES = ("MET", "PFMET")


def process_of(file: EventFile) -> str:
    """Return which generated sample a file of real simulation is to be compared with.

    The content decides, never the file's name.

    Raises:
        DataError: the file is no simulation of top pairs, Z or W.
    """
    if "GenPart_pdgId" not in file or "GenJet_pt" not in file:
        raise DataError(f"{file.path.name}: holds no generated particles and jets: no simulation.")
    for code, name in ((6, "ttbar"), (23, "Z"), (24, "W")):
        if ak.mean(ak.any(abs(file["GenPart_pdgId"]) == code, axis=1)) > 0.9:
            return name
    raise DataError(f"{file.path.name}: holds neither top pairs nor W nor Z.")


def _jets(file: EventFile) -> ak.Array:
    """Particle jets of the selections' acceptance that are no leptons."""
    jets = file.objects("GenJet")
    jets = jets[(jets.pt > _PT) & (abs(jets.eta) < _ETA)]
    return jets[~ak.fill_none(found(nearest(jets, file.prompt_leptons(), 0.4)), False)]


def _boson_pt(file: EventFile, process: str) -> Floats:
    boson = file.hard(23 if process == "Z" else 24)
    return np.asarray(ak.to_numpy(ak.fill_none(ak.max(boson.pt, axis=1), 0.0)), float)


def _events(file: EventFile, process: str) -> Bools:
    """Events to compare: those that pass the filter that ours are generated with.

    Top pairs have one lepton, and four particle jets, because files may be skimmed on jets; W and
    Z are generated with a hard jet, so those with large pT.
    """
    rule, leptons = hard_filter("lepton"), file.prompt_leptons()
    seen = (leptons.pt > rule.lepton_pt) & (abs(leptons.eta) < rule.lepton_eta)
    passed = ak.to_numpy(ak.any(seen, axis=1))
    if process == "ttbar":
        four = ak.num(_jets(file)) >= _TTBAR_JETS
        return np.asarray(passed & ak.to_numpy((ak.num(leptons) == 1) & four))
    return np.asarray(passed & (_boson_pt(file, process) > _Z_PT))


def _met(file: EventFile) -> Measurement:
    """Resolution of one component of missing momentum: its standard deviation."""
    name = next((n for n in _MET_NAMES if f"{n}_pt" in file), "")
    if not name:
        raise DataError(f"{file.path.name}: has none of {', '.join(_MET_NAMES)}.")
    true = file.xy("GenMET")
    shift = Deviations(file.xy(name) - true, true, np.zeros(len(file)), file.weight)
    return rms(shift.component())


def _pile_up(file: EventFile) -> float:
    """Mean number of further collisions."""
    return float(np.mean(file["Pileup_nTrueInt"])) if "Pileup_nTrueInt" in file else 0.0


def _isolated(file: EventFile, kind: Kind, events: Bools) -> Measurement:
    """Share of prompt leptons above 20 GeV with a relative isolation below 0.15."""
    leptons = file.objects(kind.collection, kind.isolation, "genPartFlav")[events]
    prompt = leptons[(leptons.pt > _LEPTON_PT) & (leptons.genPartFlav == 1)]
    return share(flat(prompt[kind.isolation]) < _ISOLATED)


def _numbers(file: EventFile, process: str) -> dict[str, Measurement]:
    events = _events(file, process)
    jets, sign = _jets(file)[events], np.sign(file.weight[events])
    neutrinos = np.asarray(file["GenMET_pt"], float)[events]
    number = ak.to_numpy(ak.num(jets)).astype(float)
    hardest = np.asarray(ak.to_numpy(ak.max(jets.pt, axis=1, mask_identity=False)), float)
    some = np.isfinite(hardest)
    measured = responses(file)
    return {
        "particle jets above 30 GeV": mean(number, sign),
        "pT of particle jets above 30 GeV (GeV)": mean(flat(jets.pt), spread(sign, jets)),
        "pT of the hardest of them (GeV)": mean(hardest[some], sign[some]),
        "momentum of the neutrinos (GeV)": mean(neutrinos, sign),
        "jet response, barrel, 30 to 120 GeV": measured.scale((30.0, 120.0), (0.0, 1.3)),
        "jet resolution, barrel, 50 to 120 GeV": measured.resolution((50.0, 120.0), (0.0, 1.3)),
        **{f"isolated prompt {k.name}s, share": _isolated(file, k, events) for k in KINDS},
    }


_TOLERANCES = {
    "particle jets above 30 GeV": "real_jets",
    "pT of particle jets above 30 GeV (GeV)": "real_pt",
    "pT of the hardest of them (GeV)": "real_pt",
    "momentum of the neutrinos (GeV)": "real_pt",
    "jet response, barrel, 30 to 120 GeV": "real_response",
    "jet resolution, barrel, 50 to 120 GeV": "real_resolution",
    **{f"isolated prompt {k.name}s, share": "real_isolation" for k in KINDS},
}


def _met_check(title: str, ours: Measurement, real: EventFile, source: str) -> Check:
    known = expectation("pile_up_met")
    number = _pile_up(real)
    with_pile_up = math.sqrt(ours.value**2 + number * known.value**2)
    control = Measurement(with_pile_up, ours.error * ours.value / with_pile_up)
    cause = (
        f"Our events have no pile-up, these {number:.0f} further collisions, each of which adds "
        f"{known.value:g} GeV in quadrature ({known.source})."
    )
    expected = _met(real)
    tolerance = expectation("real_met").tolerance * expected.value
    return Check(
        f"{title}: resolution of missing momentum (GeV)",
        ours,
        expected,
        tolerance,
        source,
        Explanation(cause, control),
    )


def _compare(path: Path, evidence: Evidence) -> tuple[list[Check], tuple[str, ...]]:
    real = EventFile(path)
    process = process_of(real)
    own = evidence[process]
    title = f"{process}, {path.name}"
    source = f"{len(real)} events of CMS simulation"
    ours, theirs = _numbers(own, process), _numbers(real, process)
    checks = [
        Check(
            f"{title}: {what}",
            ours[what],
            theirs[what],
            expectation(key).tolerance * abs(theirs[what].value),
            source,
        )
        for what, key in _TOLERANCES.items()
    ]
    checks.append(_met_check(title, _met(own), real, source))
    used = f"{int(_events(real, process).sum())}"
    return checks, (path.name, process, str(len(real)), used, f"{_pile_up(real):.1f}")


def find(evidence: Evidence) -> Finding:
    """Compare with files of real simulation."""
    found_ = [_compare(path, evidence) for path in evidence.real]
    header = ("File", "Process by content", "Events", "Compared", "Mean pile-up")
    return Finding(
        "real-simulation",
        "Full CMS simulation",
        "The same numbers from files of full CMS simulation: other matrix elements, tunes and "
        "energies (13 or 13.6 TeV), and pile-up. Jets are particle jets without leptons. Compared "
        "are events with a hard lepton above 14 GeV: of top pairs those with one lepton and at "
        f"least {_TTBAR_JETS} jets, as such files are often skimmed; of W and Z those above "
        f"{_Z_PT:g} GeV, because ours are generated with a hard jet.",
        tuple(check for checks, _ in found_ for check in checks),
        (Table("Files", header, tuple(row for _, row in found_)),),
    )
