"""How many jets, how hard, and the symmetries of leptons, for the main processes."""

from __future__ import annotations

from collections.abc import Callable

import awkward as ak
import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.reporting.style import Label
from transferline.reporting.table import Table
from transferline.validation.check import Check, exactly
from transferline.validation.event_file import EventFile
from transferline.validation.evidence import Evidence
from transferline.validation.figures import Spectrum, distributions
from transferline.validation.finding import Finding
from transferline.validation.kinematics import flat
from transferline.validation.statistics import Floats, mean, share

TITLES = {
    "ttbar": "ttbar, 1 lepton",
    "ttbar_2l": "ttbar, 2 leptons",
    "ttH": "ttH(bb), 1 lepton",
    "singletop": "single top, t",
    "W": "W + jets",
    "Z": "Z + jets",
}
Values = tuple[Floats, Floats]


def n_jets(file: EventFile) -> Values:
    """Return the number of selected jets of every event, and its weight."""
    return ak.to_numpy(ak.num(file.chosen.jets)).astype(float), file.weight


def n_b_jets(file: EventFile) -> Values:
    """Return the number of selected b jets of every event, and its weight."""
    return ak.to_numpy(ak.num(file.chosen.b_jets)).astype(float), file.weight


def leading_jet(file: EventFile) -> Values:
    """Return the pT of the hardest selected jet, and the event's weight."""
    return _leading(file, file.chosen.jets)


def leading_lepton(file: EventFile) -> Values:
    """Return the pT of the hardest selected lepton, and the event's weight."""
    return _leading(file, file.chosen.leptons)


def _leading(file: EventFile, objects: ak.Array) -> Values:
    some = ak.to_numpy(ak.num(objects) > 0)
    return np.asarray(flat(ak.max(objects.pt[some], axis=1)), float), file.weight[some]


def missing(file: EventFile) -> Values:
    """Return the missing transverse momentum, and the event's weight."""
    return np.asarray(file["MET_pt"], float), file.weight


QUANTITIES: dict[str, tuple[str, Callable[[EventFile], Values], Floats]] = {
    "n-jets": ("Selected jets", n_jets, np.arange(-0.5, 11.0)),
    "n-b-jets": ("Selected b jets", n_b_jets, np.arange(-0.5, 6.0)),
    "jet-pt": ("pT of the hardest jet (GeV)", leading_jet, np.arange(30.0, 391.0, 20.0)),
    "lepton-pt": ("pT of the hardest lepton (GeV)", leading_lepton, np.arange(15.0, 216.0, 10.0)),
    "met": ("Missing transverse momentum (GeV)", missing, np.arange(0.0, 241.0, 10.0)),
}


def _table(evidence: Evidence) -> Table:
    rows = tuple(
        (title, *(str(mean(*values(evidence[name]))) for _, values, _ in QUANTITIES.values()))
        for name, title in TITLES.items()
    )
    header = ("Process", *(title for title, _, _ in QUANTITIES.values()))
    note = "Events pass the process-level filter (a hard lepton above 14 GeV) and nothing else."
    return Table("Means", header, rows, note)


def _drawing(evidence: Evidence, name: str) -> Drawing:
    title, values, edges = QUANTITIES[name]
    spectra = [Spectrum(text, *values(evidence[key])) for key, text in TITLES.items()]
    logarithmic = name not in ("n-jets", "n-b-jets")
    return Drawing(
        f"spectrum-{name}",
        title,
        lambda: distributions(spectra, edges, title, Label(), y_log=logarithmic),
    )


def _symmetries(file: EventFile) -> list[Check]:
    leptons = file.hard(11, 13, 15)
    code = flat(abs(leptons.pdgId))
    eta = flat(leptons.eta)
    checks = [
        Check(
            f"{name} among the hard leptons of ttbar: share",
            share(code == number),
            exactly(1 / 3),
            0.0,
            "universal couplings of the W",
        )
        for name, number in (("Electrons", 11), ("Muons", 13), ("Taus", 15))
    ]
    return [
        *checks,
        Check(
            "Positive charges among them: share",
            share(flat(leptons.pdgId) < 0),
            exactly(0.5),
            0.0,
            "both charges are generated equally",
        ),
        Check(
            "Forward ones (eta > 0) among them: share",
            share(eta > 0),
            exactly(0.5),
            0.0,
            "symmetry of the beams",
        ),
        Check(
            "Hardest selected jet of ttbar: share in the upper half (phi > 0)",
            _upper_half(file),
            exactly(0.5),
            0.0,
            "symmetry around the beams",
        ),
    ]


def _upper_half(file: EventFile) -> Measurement:
    jets = file.chosen.jets
    some = jets[ak.num(jets) > 0]
    return share(flat(some.phi[:, 0]) > 0)


def find(evidence: Evidence) -> Finding:
    """Show multiplicities and momenta of the main processes, and check symmetries."""
    return Finding(
        "spectra",
        "Jets, leptons and missing momentum",
        "Objects of the shipped selections: jets above 30 GeV within |eta| < 2.4, cleaned of "
        "leptons; tight isolated leptons above 15 GeV. No trigger and no event cut.",
        tuple(_symmetries(evidence["ttbar"])),
        (_table(evidence),),
        tuple(_drawing(evidence, name) for name in QUANTITIES),
    )
