"""Writing generated events in the layout of CMS NanoAODv9.

`Events` holds the branches below (names and types of NanoAODv9). `Runs` holds the sums of weights
over **all events tried**, also those that the process-level filter vetoed: they are sums before
any cut, by which an analysis normalises. A string named `transferline` holds the provenance as
JSON: `uproot.open(path)["transferline"]`.

GenPart_* lists the particles of the hard process only; GenJet_* are anti-kT jets (R = 0.4, above
10 GeV) of all generated particles but neutrinos.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from transferline.files import atomic_path
from transferline.generate.compiled import Array
from transferline.generate.tables import Collection, EventTable, in_baskets

_F, _I, _B, _U = "float32", "int32", "bool", "uint8"
_P4 = {"pt": ("pt", _F), "eta": ("eta", _F), "phi": ("phi", _F), "mass": ("mass", _F)}

COLLECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    # branch: (our column, type)
    "Electron": {
        **_P4,
        "charge": ("charge", _I),
        "deltaEtaSC": ("deltaEtaSC", _F),
        "dxy": ("dxy", _F),
        "dz": ("dz", _F),
        "cutBased": ("cutBased", _I),
        "mvaFall17V2Iso_WP90": ("wp90", _B),
        "pfRelIso03_all": ("isolation", _F),
        "genPartFlav": ("origin", _U),
    },
    "Muon": {
        **_P4,
        "charge": ("charge", _I),
        "dxy": ("dxy", _F),
        "dz": ("dz", _F),
        "tightId": ("tight", _B),
        "mediumId": ("medium", _B),
        "looseId": ("loose", _B),
        "pfRelIso04_all": ("isolation", _F),
        "genPartFlav": ("origin", _U),
    },
    "Tau": {
        **_P4,
        "charge": ("charge", _I),
        "dz": ("dz", _F),
        "decayMode": ("decayMode", _I),
        "idDeepTau2017v2p1VSjet": ("vs_jet", _U),
        "idDeepTau2017v2p1VSe": ("vs_electron", _U),
        "idDeepTau2017v2p1VSmu": ("vs_muon", _U),
        "genPartFlav": ("origin", _U),
    },
    "Jet": {
        **_P4,
        "btagDeepFlavB": ("btagDeepFlavB", _F),
        "jetId": ("jetId", _I),
        "puId": ("puId", _I),
        "hadronFlavour": ("hadronFlavour", _I),
        "electronIdx1": ("electronIdx1", _I),
        "muonIdx1": ("muonIdx1", _I),
        "nConstituents": ("nConstituents", _I),
    },
    "GenJet": _P4,
    "GenPart": {
        **_P4,
        "pdgId": ("pdgId", _I),
        "status": ("status", _I),
        "genPartIdxMother": ("genPartIdxMother", _I),
    },
}

FLAGS = tuple(
    f"Flag_{name}"
    for name in (
        "goodVertices",
        "globalSuperTightHalo2016Filter",
        "HBHENoiseFilter",
        "HBHENoiseIsoFilter",
        "EcalDeadCellTriggerPrimitiveFilter",
        "BadPFMuonFilter",
        "BadPFMuonDzFilter",
        "eeBadScFilter",
    )
)

SCALARS: dict[str, str] = {
    "run": "uint32",
    "luminosityBlock": "uint32",
    "event": "uint64",
    "genWeight": _F,
    "MET_pt": _F,
    "MET_phi": _F,
    "MET_sumEt": _F,
    "GenMET_pt": _F,
    "GenMET_phi": _F,
    "PV_npvsGood": _I,
    "HLT_IsoMu24": _B,
    "HLT_IsoTkMu24": _B,
    "HLT_Ele27_WPTight_Gsf": _B,
    **dict.fromkeys(FLAGS, _B),
}

_EVENTS_PER_BASKET = 10_000


def _electrons(electrons: Collection) -> Collection:
    """Add what NanoAOD derives: the cut-based level includes isolation."""
    level = sum(
        electrons[f"{name}_isolated"].astype(int) for name in ("veto", "loose", "medium", "tight")
    )
    return electrons.add(
        cutBased=np.asarray(level),
        wp90=electrons["loose_isolated"] & electrons["loose"],
        deltaEtaSC=electrons["eta_calorimeter"] - electrons["eta"],
    )


def _collection(name: str, objects: Collection) -> Collection:
    source = _electrons(objects) if name == "Electron" else objects
    columns = {
        branch: source[column].astype(kind) for branch, (column, kind) in COLLECTIONS[name].items()
    }
    return Collection(source.counts.astype(np.int64), columns)


def to_nanoaod(table: EventTable, lumi: int, first_event: int) -> EventTable:
    """Rename and cast reconstructed objects to the branches of NanoAOD and number the events."""
    n = table.n
    constant = {
        "run": np.ones(n),
        "luminosityBlock": np.full(n, lumi),
        "event": first_event + np.arange(n),
        "PV_npvsGood": np.ones(n),
        **dict.fromkeys(FLAGS, np.ones(n)),
    }
    every = {**table.scalars, **constant}
    return EventTable(
        {name: every[name].astype(kind) for name, kind in SCALARS.items()},
        {name: _collection(name, table.collections[name]) for name in COLLECTIONS},
    )


def _as_awkward(table: EventTable) -> dict[str, Any]:
    jagged = {
        name: ak.zip({k: ak.unflatten(v, objects.counts) for k, v in objects.columns.items()})
        for name, objects in table.collections.items()
    }
    return {**table.scalars, **jagged}


def _branch_types() -> dict[str, Any]:
    jagged = {
        name: "var * {" + ", ".join(f"{k}: {kind}" for k, (_, kind) in branches.items()) + "}"
        for name, branches in COLLECTIONS.items()
    }
    return {
        **SCALARS,
        **{k: ak.types.from_datashape(v, highlevel=False) for k, v in jagged.items()},
    }


def write_nanoaod(
    path: Path,
    tables: Iterable[EventTable],
    *,
    count: int,
    sum_weight: float,
    sum_weight2: float,
    provenance: dict[str, Any],
) -> int:
    """Write a NanoAOD file atomically from tables made by `to_nanoaod`; return the event count.

    `count`, `sum_weight` and `sum_weight2` go into `Runs`: sums over all events tried. Tables are
    read one after the other, so memory stays bounded.
    """
    written = 0
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        events = file.mktree("Events", _branch_types())
        for table in in_baskets(tables, _EVENTS_PER_BASKET):
            events.extend(_as_awkward(table))
            written += table.n
        runs = {
            "run": np.array([1], "uint32"),
            "genEventCount": np.array([count], "int64"),
            "genEventSumw": np.array([sum_weight], "float64"),
            "genEventSumw2": np.array([sum_weight2], "float64"),
        }
        file.mktree("Runs", {k: v.dtype for k, v in runs.items()}).extend(runs)
        file["transferline"] = json.dumps(provenance, indent=1)
    return written


def read_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance that `write_nanoaod` stored."""
    with uproot.open(path) as file:
        result: dict[str, Any] = json.loads(str(file["transferline"]))
        return result


def read_arrays(path: Path) -> dict[str, Array]:
    """Return every branch of `Events` as an awkward array; for tests and small files."""
    with uproot.open(path) as file:
        events = file["Events"]
        return {name: events[name].array() for name in events.keys()}  # noqa: SIM118 - TTree
