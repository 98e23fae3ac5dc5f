"""The detector card: every number of the parametrised detector, each block with its source."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Self, TypeVar

from pydantic import model_validator

from transferline.config import Recipe, added, load_config
from transferline.errors import ConfigError, did_you_mean

Row = tuple[float, ...]
Table = tuple[Row, ...]


def _check_rows(tables: dict[str, Table], rows: int, columns: int) -> None:
    """Compiled loops look into tables without asking how large they are."""
    for name, table in tables.items():
        if len(table) != rows or any(len(row) != columns for row in table):
            raise ValueError(f"{name} needs {rows} rows of {columns} numbers.")


def _check_lengths(lists: dict[str, Row], length: int) -> None:
    _check_rows({name: (row,) for name, row in lists.items()}, 1, length)


def _check_rising(**edges: Row) -> None:
    for name, row in edges.items():
        if not row or any(low >= high for low, high in itertools.pairwise(row)):
            raise ValueError(f"{name} needs numbers that rise.")


class BySpecies(Recipe):
    """One table per kind of charged particle."""

    hadron: Table
    electron: Table
    muon: Table


class Tracker(Recipe):
    """Field (T), calorimeter cylinder (m), track efficiency and resolutions.

    `bremsstrahlung` is a relative energy resolution of electrons by |eta|, added in quadrature.
    Resolutions of impact parameters are (a, b) of a (+) b / pT, by |eta|; with `impact_pt_edges`
    one number (mm) above each edge in pT, zero below the first.

    With `as_delphes`, particles that curl inside the tracker may have tracks too; bins of
    efficiency and momentum resolution are those of the |eta| at which a particle leaves the
    tracker; and a track has the true momentum and mass, with the azimuth at its closest approach
    to the beam line: the smeared momentum only chooses the errors of its impact parameters.
    """

    source: str
    field: float
    radius: float
    half_length: float
    eta_edges: Row
    pt_edges: Row
    efficiency: BySpecies
    resolution: BySpecies
    impact_eta_edges: Row
    impact_d0: Table
    impact_dz: Table
    bremsstrahlung: Row
    impact_pt_edges: Row = added(())
    as_delphes: bool = added(False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        eta, pt, impact = self.eta_edges, self.pt_edges, self.impact_eta_edges
        _check_rising(eta_edges=eta, pt_edges=pt, impact_eta_edges=impact)
        for name, tables, columns in (
            ("efficiency", self.efficiency, len(pt)),
            ("resolution", self.resolution, 2),
        ):
            named = {f"{name}.{kind}": table for kind, table in tables}
            _check_rows(named, len(eta), columns)
        impacts = {"impact_d0": self.impact_d0, "impact_dz": self.impact_dz}
        if self.impact_pt_edges:
            _check_rising(impact_pt_edges=self.impact_pt_edges)
        _check_rows(impacts, len(impact), len(self.impact_pt_edges) or 2)
        _check_lengths({"bremsstrahlung": self.bremsstrahlung}, len(eta))
        return self


class Calorimeter(Recipe):
    """Cells, energy resolution and noise thresholds of one layer.

    With `overrules_tracks` cells replace the energies of their tracks, see `calorimeter.Layer`.
    """

    source: str
    threshold: float
    significance: float
    bands: Table
    regions: Table
    overrules_tracks: bool = added(False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_rows({"bands": self.bands}, max(len(self.bands), 1), 3)
        _check_rows({"regions": self.regions}, max(len(self.regions), 1), 7)
        for name, table in (("bands", self.bands), ("regions", self.regions)):
            _check_rising(**{f"the first column of {name}": tuple(row[0] for row in table)})
        if any(width <= 0 or cells < 1 for _, width, cells in self.bands):
            raise ValueError("bands need a cell width above 0 and at least one cell in phi.")
        return self


class Turn(Recipe):
    """A probability by pT (above each edge), in barrel (|eta| < 1.479) and endcap."""

    pt_edges: Row
    barrel: Row
    endcap: Row

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_rising(pt_edges=self.pt_edges)
        _check_lengths({"barrel": self.barrel, "endcap": self.endcap}, len(self.pt_edges))
        return self


class WorkingPoints(Recipe):
    """Probabilities of nested identification levels, above each pT edge."""

    pt_edges: Row
    veto: Row
    loose: Row
    medium: Row
    tight: Row

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_rising(pt_edges=self.pt_edges)
        _check_lengths({n: row for n, row in self if n != "pt_edges"}, len(self.pt_edges))
        return self


class Misidentified(Recipe):
    """Charged hadrons taken for leptons: rate per hadron, then share passing each level."""

    rate: float
    pt_min: float
    veto: float
    loose: float
    medium: float
    tight: float


class Leptons(Recipe):
    """Reconstruction and identification of electrons or muons."""

    source: str
    pt_min: float
    eta_max: float
    isolation_cone: float
    reconstruction: Turn
    working_points: WorkingPoints
    endcap_factor: float
    nonprompt_factor: float
    misidentified: Misidentified
    isolation_cuts: dict[str, Table]

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = {f"isolation_cuts.{name}": table for name, table in self.isolation_cuts.items()}
        _check_rows(named, 2, 2)
        return self


class Taus(Recipe):
    """Hadronic tau candidates: efficiencies and misidentification rates by working point."""

    source: str
    pt_min: float
    eta_max: float
    reconstruction: float
    signal_cone: float
    true_efficiency: Row
    fake_pt: Row
    fake_rate: Table
    b_jet_factor: float
    electron_rate: float
    muon_rate: float
    vs_electron_fake: Row
    vs_electron_true: Row
    vs_muon_fake: Row
    vs_muon_true: Row
    migration: Table

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_rising(fake_pt=self.fake_pt)
        _check_rows({"fake_rate": self.fake_rate}, len(self.fake_pt), 8)
        _check_rows({"migration": self.migration}, 4, 4)
        eight = ("true_efficiency", "vs_electron_fake", "vs_electron_true")
        _check_lengths({name: getattr(self, name) for name in eight}, 8)
        four = ("vs_muon_fake", "vs_muon_true")
        _check_lengths({name: getattr(self, name) for name in four}, 4)
        return self


class Jets(Recipe):
    """Jet clustering, acceptance, energy correction and extra resolution by |eta| region and pT.

    `extra_resolution` is added in quadrature to what calorimeter and tracks give (relative).
    """

    source: str
    radius: float
    pt_min: float
    eta_max: float
    correction_eta: Row
    correction_pt: Row
    correction: Table
    extra_resolution: Table

    @model_validator(mode="after")
    def _check(self) -> Self:
        eta, pt = self.correction_eta, self.correction_pt
        _check_rising(correction_eta=eta, correction_pt=pt)
        by_region = {"correction": self.correction, "extra_resolution": self.extra_resolution}
        _check_rows(by_region, len(eta), len(pt))
        return self


class BTag(Recipe):
    """Survival probabilities of the b-tag discriminant by true flavour and pT."""

    source: str
    eta_max: float
    scores: Row
    pt: Row
    b: Table
    c: Table
    light: Table
    forward: Row

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_rising(scores=self.scores, pt=self.pt)
        by_flavour = {"b": self.b, "c": self.c, "light": self.light}
        _check_rows(by_flavour, len(self.scores), len(self.pt))
        _check_lengths({"forward": self.forward}, len(self.scores))
        return self


class LeptonTrigger(Recipe):
    """A single-lepton trigger: threshold, acceptance, isolation and plateau efficiency."""

    pt_min: float
    eta_max: float
    isolation: float
    plateau_barrel: float
    plateau_endcap: float


class Trigger(Recipe):
    """The emulated single-lepton triggers."""

    source: str
    muon: LeptonTrigger
    tracker_muon_recovery: float
    electron: LeptonTrigger


class Detector(Recipe):
    """What `simulate` makes energy-flow candidates with."""

    name: str
    tracker: Tracker
    ecal: Calorimeter
    hcal: Calorimeter


class Card(Detector):
    """A whole parametrised detector."""

    electrons: Leptons
    muons: Leptons
    taus: Taus
    jets: Jets
    btag: BTag
    trigger: Trigger


D = TypeVar("D", bound=Detector)


def shipped_cards(folder: Path) -> list[str]:
    """Return the names of the cards in a directory of the package."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def named_card(name: str, folder: Path, recipe: type[D]) -> D:
    """Return a card of `folder` by name, or read one from a path ending in `.yaml`.

    Raises ConfigError for an unknown name, and for keys or values that do not fit, each with
    its line.
    """
    if name.endswith((".yaml", ".yml")):
        return load_config(name, recipe)
    known = shipped_cards(folder)
    if name not in known:
        raise ConfigError(f"Unknown detector '{name}'.{did_you_mean(name, known)}")
    return load_config(folder / f"{name}.yaml", recipe)


_CARDS = Path(__file__).parent / "cards"


def card_names() -> list[str]:
    """Return the names of the cards in the package."""
    return shipped_cards(_CARDS)


@cache
def load_card(name: str) -> Card:
    """Return a card for events, see `named_card`."""
    return named_card(name, _CARDS, Card)
