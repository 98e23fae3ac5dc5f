"""What is compared with the HIGGS benchmark, and its columns beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.validation.cascade_masses import JETS, MASSES, Decays
from transferline.validation.check import Check, Explanation
from transferline.validation.finding import Finding
from transferline.validation.higgs_energy import EnergyShift
from transferline.validation.higgs_figure import comparison
from transferline.validation.higgs_file import KINDS, HiggsFile, Kind
from transferline.validation.statistics import Floats, mean, median, share

MOMENTA = ("lepton_pT", "missing_energy_magnitude", *(f"jet{i}_pt" for i in JETS))
SOURCE = "HIGGS benchmark, arXiv:1402.4735"
_CAUSE = (
    "The benchmark's collisions have 8 TeV, ours 13 TeV: the median is moved by its ratio "
    "between the two energies in the hard process."
)
# Shares of the expected number. Momenta hang on the shower and the jets' energy scale.
_TOLERANCE = {"m": 0.04, "p": 0.08}
_SHARE_TOLERANCE = 0.05
# m_lv is the mass of the W, which gave its unit, wherever a neutrino allows it.
_MEDIANS = (*MOMENTA, *(name for name in MASSES if name != "m_lv"))
_NO_W = 85.0


@dataclass(frozen=True)
class HiggsEvidence:
    """The benchmark's file and our events by class.

    `own` has b jets of the medium working point, `loose` of the loose one; `shift` tells what
    the energy of the beams does.
    """

    file: HiggsFile
    own: Mapping[Kind, Decays]
    loose: Mapping[Kind, Decays]
    shift: Mapping[Kind, EnergyShift]
    seed: int

    @cached_property
    def columns(self) -> dict[Kind, dict[str, Floats]]:
        """Our columns by class."""
        return {kind: self.own[kind].columns() for kind in KINDS}

    @cached_property
    def loose_columns(self) -> dict[Kind, dict[str, Floats]]:
        """Our columns by class, with b jets of the loose working point."""
        return {kind: self.loose[kind].columns() for kind in KINDS}


def find(evidence: HiggsEvidence) -> Finding:
    """Compare medians and tags, and draw all columns."""
    checks = [_median_check(evidence, kind, name) for kind in KINDS for name in _MEDIANS]
    checks += [_transverse_check(evidence, kind) for kind in KINDS]
    checks += [_tag_check(evidence, kind, i) for kind in KINDS for i in JETS]
    theirs = {kind: evidence.file.columns(kind) for kind in KINDS}
    sizes = ", ".join(f"{len(evidence.own[kind].weight):,} of {kind}" for kind in KINDS)
    return Finding(
        "spectra",
        "The benchmark's columns",
        f"Our events that pass the same cuts, {sizes}, reconstructed in the same way: one lepton "
        "above 15 GeV, four or more jets above 15 GeV within |eta| < 3.0, exactly two of them "
        "b jets. Momenta of all objects but their masses are used, as in the file. What differs "
        "on purpose: 13 instead of 8 TeV, which makes ttbar harder; leptons from tau decays are "
        "in; our b jets are those of a later and purer tagger, within |eta| < 2.5; another "
        "detector, shower and mass of the top quark (172.5 GeV). The median of m_lv is the mass "
        "of the W on either side by construction; its share above "
        f"{_NO_W:.0f} GeV, where no neutrino makes a W with the lepton, is compared instead. "
        "Tolerances are our choice: 4 % for medians of masses, 8 % for those of momenta, 5 "
        "points for shares.",
        tuple(checks),
        drawings=(
            Drawing(
                "columns",
                "The columns of the benchmark (lines) and ours (points), and their ratio. Unit "
                "area; what lies beyond an axis is in its first or last bin.",
                lambda: comparison(evidence.columns, theirs),
            ),
        ),
    )


def _median_check(evidence: HiggsEvidence, kind: Kind, name: str) -> Check:
    own = median(evidence.columns[kind][name], evidence.own[kind].weight)
    expected = median(evidence.file.columns(kind)[name])
    control = evidence.shift[kind].corrected(name, own)
    return Check(
        f"{kind}: median of {name} (GeV)",
        own,
        expected,
        _TOLERANCE["m" if name in MASSES else "p"] * expected.value,
        SOURCE,
        Explanation(_CAUSE, control),
    )


def _transverse_check(evidence: HiggsEvidence, kind: Kind) -> Check:
    own = share(evidence.columns[kind]["m_lv"] > _NO_W, evidence.own[kind].weight)
    expected = share(evidence.file[kind, "m_lv"] > _NO_W)
    name = f"{kind}: m_lv above {_NO_W:.0f} GeV: share"
    return Check(name, own, expected, _SHARE_TOLERANCE, SOURCE)


def _tag_check(evidence: HiggsEvidence, kind: Kind, jet: int) -> Check:
    own = mean(evidence.columns[kind][f"b{jet}"], evidence.own[kind].weight)
    expected: Measurement = mean(evidence.file.columns(kind)[f"b{jet}"])
    name = f"{kind}: b jets among the jets of rank {jet}: share"
    return Check(name, own, expected, _SHARE_TOLERANCE, SOURCE)
