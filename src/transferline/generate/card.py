"""The detector card: every number of the parametrised detector, each block with its source."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from transferline.errors import ConfigError, did_you_mean

Row = tuple[float, ...]
Table = tuple[Row, ...]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BySpecies(_Block):
    """One table per kind of charged particle."""

    hadron: Table
    electron: Table
    muon: Table


class Tracker(_Block):
    """Field (T), calorimeter cylinder (m), track efficiency and resolutions."""

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


class Calorimeter(_Block):
    """Cells, energy resolution and noise thresholds of one layer."""

    source: str
    threshold: float
    significance: float
    bands: Table
    regions: Table


class Turn(_Block):
    """A probability by pT (above each edge), in barrel (|eta| < 1.479) and endcap."""

    pt_edges: Row
    barrel: Row
    endcap: Row


class WorkingPoints(_Block):
    """Probabilities of nested identification levels, above each pT edge."""

    pt_edges: Row
    veto: Row
    loose: Row
    medium: Row
    tight: Row


class Misidentified(_Block):
    """Charged hadrons taken for leptons: rate per hadron, then share passing each level."""

    rate: float
    pt_min: float
    veto: float
    loose: float
    medium: float
    tight: float


class Leptons(_Block):
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


class Taus(_Block):
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


class Jets(_Block):
    """Jet clustering, acceptance and energy correction by |eta| region and pT."""

    source: str
    radius: float
    pt_min: float
    eta_max: float
    correction_eta: Row
    correction_pt: Row
    correction: Table


class BTag(_Block):
    """Survival probabilities of the b-tag discriminant by true flavour and pT."""

    source: str
    eta_max: float
    scores: Row
    pt: Row
    b: Table
    c: Table
    light: Table
    forward: Row


class LeptonTrigger(_Block):
    """A single-lepton trigger: threshold, acceptance, isolation and plateau efficiency."""

    pt_min: float
    eta_max: float
    isolation: float
    plateau_barrel: float
    plateau_endcap: float


class Trigger(_Block):
    """The emulated single-lepton triggers."""

    source: str
    muon: LeptonTrigger
    tracker_muon_recovery: float
    electron: LeptonTrigger


class Card(_Block):
    """A whole parametrised detector."""

    name: str
    tracker: Tracker
    ecal: Calorimeter
    hcal: Calorimeter
    electrons: Leptons
    muons: Leptons
    taus: Taus
    jets: Jets
    btag: BTag
    trigger: Trigger


def card_names() -> list[str]:
    """Return the names of the cards in the package."""
    folder = resources.files("transferline.generate") / "cards"
    return sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".yaml"))


@cache
def load_card(name: str) -> Card:
    """Return a shipped card by name, or read one from a path ending in `.yaml`.

    Raises ConfigError for an unknown name and for keys or values that do not fit.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"Detector card {name} does not exist.")
        return _parse(path.read_text(encoding="utf-8"), name)
    if name not in card_names():
        raise ConfigError(f"Unknown detector '{name}'.{did_you_mean(name, card_names())}")
    folder = resources.files("transferline.generate") / "cards"
    return _parse((folder / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")


def _parse(text: str, where: str) -> Card:
    try:
        return Card.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigError(f"Detector card {where}: {error}") from error
