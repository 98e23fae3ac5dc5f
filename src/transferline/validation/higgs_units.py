"""The units of the HIGGS benchmark's columns, and how its masses are reconstructed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.reporting.table import Table
from transferline.validation.cascade_masses import MASSES
from transferline.validation.check import Check, exactly
from transferline.validation.finding import Finding
from transferline.validation.higgs_comparison import MOMENTA, SOURCE, HiggsEvidence
from transferline.validation.higgs_file import KINDS, HiggsFile, Kind, description
from transferline.validation.statistics import Floats, median, share

_LATTICE, _SAME = 0.01, 0.005
_TEXT = (
    "The file's columns are divided by constants that were not published. The momenta's are "
    "those that put all values on the lattice of the format they were written in; the masses' "
    "follow from the momenta. With them the smallest momenta are 15 GeV and the largest |eta| of "
    "jets 3.0 and of leptons 2.5, and the masses turn out to be: jj, of all pairs of jets that "
    "are no b jets, the one nearest to 80.4 GeV; jjj, with the b jet that comes nearer to 175 "
    "GeV; jlv, with the other b jet; wbb, the heavier of jj and lv with both b jets. Ratios are "
    "over events with both b jets among the four jets of the file.\n\n"
    "That the medians of these ratios are 1 is how the masses' units were found, no agreement: "
    "they are a calibration and not judged. Judged is what one constant of a column cannot bring "
    "about: that every momentum is on the lattice, and that m_bb, for which no other jet is "
    "needed, comes out in every event."
)


def find(evidence: HiggsEvidence) -> Finding:
    """Check what the units of the file's columns could not bring about, and show the rest."""
    ratios = _mass_ratios(evidence.file)
    checks = [_lattice_check(evidence.file, kind) for kind in KINDS]
    checks += [_pair_check(ratios[f"{kind}: m_bb"], kind) for kind in KINDS]
    tables = (_calibration(ratios),)
    return Finding("units", "Units of the benchmark", _TEXT, tuple(checks), tables)


def _calibration(ratios: Mapping[str, Floats]) -> Table:
    rows = tuple(
        (name, f"{description().units[name.split()[-1]]:.6g}", str(median(r)), str(_found_again(r)))
        for name, r in ratios.items()
    )
    header = ("Column", "Unit (GeV)", "Median", "Share within 0.5 %")
    note = "The others have a fifth jet in jj, or the other solution for the neutrino."
    return Table("Calibration: mass from the file's momenta / in the file", header, rows, note)


def _found_again(ratio: Floats) -> Measurement:
    return share(np.abs(ratio - 1.0) < _SAME)


def _pair_check(ratio: Floats, kind: Kind) -> Check:
    name = f"{kind}: m_bb from the file's momenta within 0.5 % of that in the file: share"
    return Check(name, _found_again(ratio), exactly(1.0), 0.01, SOURCE)


def _mass_ratios(file: HiggsFile) -> dict[str, Floats]:
    """Return every mass from the file's momenta over that in the file."""
    found: dict[str, Floats] = {}
    for kind in KINDS:
        decays, both = file.decays(kind)
        masses, columns = decays.masses(), file.columns(kind)
        found |= {f"{kind}: {name}": masses[name] / columns[name][both] for name in MASSES}
    return found


def _lattice_check(file: HiggsFile, kind: Kind) -> Check:
    columns = file.columns(kind)
    momenta = np.concatenate([columns[n] for n in MOMENTA if n != "missing_energy_magnitude"])
    on = np.abs(momenta / _LATTICE - np.round(momenta / _LATTICE)) < 0.1
    name = f"{kind}: momenta that are multiples of 0.01 GeV: share"
    return Check(name, share(on), exactly(1.0), 0.01, "format of the LHC Olympics")
