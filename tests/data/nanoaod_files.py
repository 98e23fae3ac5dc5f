"""Events made by hand or at random, in memory and as NanoAOD files of several versions."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from transferline.data.events import ID_DTYPE, Events
from transferline.data.jagged import flat_columns, offsets_of, records
from transferline.data.selections import selection

F, INT, B, U = np.float32, np.int32, np.bool_, np.uint8
P4 = {"pt": F, "eta": F, "phi": F, "mass": F}
TYPES = {
    "electron": {
        **P4,
        "charge": INT,
        "delta_eta_sc": F,
        "dxy": F,
        "dz": F,
        "cut_based": INT,
        "mva_iso_wp90": B,
        "rel_iso": F,
    },
    "muon": {
        **P4,
        "charge": INT,
        "dxy": F,
        "dz": F,
        "tight_id": B,
        "medium_id": B,
        "loose_id": B,
        "rel_iso": F,
    },
    "tau": {
        **P4,
        "charge": INT,
        "dz": F,
        "decay_mode": INT,
        "vs_jet_level": U,
        "vs_electron_level": U,
        "vs_muon_level": U,
    },
    "jet": {**P4, "btagDeepFlavB": F, "jet_id": INT, "pu_id": INT, "hadron_flavour": INT},
    "met": {"pt": F, "phi": F},
}
GOOD = {  # an object that the shipped selections accept, but for its direction
    "electron": {
        "pt": 40,
        "mass": 0.0005,
        "charge": -1,
        "cut_based": 4,
        "mva_iso_wp90": True,
        "rel_iso": 0.02,
    },
    "muon": {
        "pt": 40,
        "mass": 0.106,
        "charge": 1,
        "tight_id": True,
        "medium_id": True,
        "loose_id": True,
        "rel_iso": 0.02,
    },
    "tau": {
        "pt": 30,
        "mass": 1.2,
        "charge": 1,
        "decay_mode": 1,
        "vs_jet_level": 6,
        "vs_electron_level": 6,
        "vs_muon_level": 4,
    },
    "jet": {
        "pt": 50,
        "mass": 8,
        "btagDeepFlavB": 0.01,
        "jet_id": 6,
        "pu_id": 7,
        "hadron_flavour": 0,
    },
    "met": {"pt": 45, "phi": 0.5},
}
OBJECTS = selection("pretraining")
FLAGS = (*OBJECTS.triggers, *OBJECTS.filters)

BRANCHES = {  # NanoAODv9
    "electron": {
        "delta_eta_sc": "deltaEtaSC",
        "cut_based": "cutBased",
        "mva_iso_wp90": "mvaFall17V2Iso_WP90",
        "rel_iso": "pfRelIso03_all",
    },
    "muon": {
        "tight_id": "tightId",
        "medium_id": "mediumId",
        "loose_id": "looseId",
        "rel_iso": "pfRelIso04_all",
    },
    "tau": {
        "decay_mode": "decayMode",
        "vs_jet_level": "idDeepTau2017v2p1VSjet",
        "vs_electron_level": "idDeepTau2017v2p1VSe",
        "vs_muon_level": "idDeepTau2017v2p1VSmu",
    },
    "jet": {"jet_id": "jetId", "pu_id": "puId", "hadron_flavour": "hadronFlavour"},
    "met": {},
}
PREFIX = {"electron": "Electron", "muon": "Muon", "tau": "Tau", "jet": "Jet", "met": "MET"}


def event(*, weight=1.0, id=(1, 1, 1), met=(45.0, 0.5), flags=None, **objects):
    """One event; `muon=[{...}, ...]` and so on give what differs from GOOD."""
    return {
        "weight": weight,
        "id": id,
        "flags": dict.fromkeys(FLAGS, True) | (flags or {}),
        "met": [{"pt": met[0], "phi": met[1]}],
        **objects,
    }


def as_events(rows):
    """The Events that a reader would yield for these rows of `event`."""
    particles = {}
    for name, types in TYPES.items():
        lists = [[GOOD[name] | one for one in row.get(name, [])] for row in rows]
        flat = [one for objects in lists for one in objects]
        fields = {c: np.array([one.get(c, 0) for one in flat], kind) for c, kind in types.items()}
        counts = np.array([len(objects) for objects in lists], np.int64)
        particles[name] = records(offsets_of(counts), fields)
    return Events(
        particles=particles,
        weight=np.array([row["weight"] for row in rows], np.float64),
        id=np.array([row["id"] for row in rows], ID_DTYPE),
        context={flag: np.array([row["flags"][flag] for row in rows], bool) for flag in FLAGS},
    )


def random_events(n, seed=0, first=0):
    """Events of all qualities: about a third pass the selection `pretraining`."""
    rng = np.random.default_rng(seed)
    values = {
        "pt": lambda m: rng.exponential(25, m) + 12,
        "eta": lambda m: rng.normal(0, 1.3, m),
        "phi": lambda m: rng.uniform(-np.pi, np.pi, m),
        "mass": lambda m: rng.uniform(0, 15, m),
        "charge": lambda m: rng.choice([-1, 1], m),
        "delta_eta_sc": lambda m: rng.normal(0, 0.05, m),
        "dxy": lambda m: rng.normal(0, 0.02, m),
        "dz": lambda m: rng.normal(0, 0.15, m),
        "cut_based": lambda m: rng.choice([1, 2, 3, 4], m, p=[0.1, 0.1, 0.1, 0.7]),
        "rel_iso": lambda m: rng.exponential(0.08, m),
        "decay_mode": lambda m: rng.choice([0, 1, 2, 10, 11], m),
        "vs_jet_level": lambda m: rng.integers(0, 9, m),
        "vs_electron_level": lambda m: rng.integers(0, 9, m),
        "vs_muon_level": lambda m: rng.integers(0, 5, m),
        "btagDeepFlavB": lambda m: rng.beta(0.4, 0.7, m),
        "jet_id": lambda m: rng.choice([0, 2, 6], m, p=[0.1, 0.1, 0.8]),
        "pu_id": lambda m: rng.choice([0, 1, 3, 7], m, p=[0.1, 0.1, 0.1, 0.7]),
        "hadron_flavour": lambda m: rng.choice([0, 4, 5], m),
    }
    mean = {"electron": 0.6, "muon": 0.8, "tau": 0.7, "jet": 5}
    particles = {}
    for name, types in TYPES.items():
        counts = rng.poisson(mean[name], n) if name in mean else np.ones(n, np.int64)
        total = int(counts.sum())
        fields = {
            c: values.get(c, lambda m: rng.random(m) < 0.8)(total).astype(kind)
            for c, kind in types.items()
        }
        particles[name] = records(offsets_of(counts), fields)
    identity = np.zeros(n, ID_DTYPE)
    identity["run"], identity["lumi"] = 1, 1 + (first + np.arange(n)) // 100
    identity["event"] = first + np.arange(n)
    return Events(
        particles=particles,
        weight=rng.choice([1.5, -1.5], n, p=[0.8, 0.2]),
        id=identity,
        context={flag: rng.random(n) < (0.6 if flag[0] == "H" else 0.97) for flag in FLAGS},
    )


def _tree(events, version, simulation):
    """Branch -> array or, for a collection, records, in the layout of a NanoAOD version."""
    content = {}
    for name in ("electron", "muon", "tau", "jet"):
        offsets, columns = flat_columns(events.particles[name])
        renamed = {BRANCHES[name].get(c, c): values for c, values in columns.items()}
        if name == "tau" and version <= 9:
            for branch in ("VSjet", "VSe", "VSmu"):
                level = renamed[f"idDeepTau2017v2p1{branch}"]
                renamed[f"idDeepTau2017v2p1{branch}"] = ((1 << level.astype(int)) - 1).astype(U)
        if version >= 12:
            renamed = _renamed_for_run3(name, renamed, version)
        if not simulation:
            renamed.pop("hadronFlavour", None)
        content[PREFIX[name]] = records(offsets, renamed)
    _, met = flat_columns(events.particles["met"])
    prefix = "MET" if version < 13 else "PFMET"
    content |= {f"{prefix}_{column}": values for column, values in met.items()}
    content |= {"run": events.id["run"], "luminosityBlock": events.id["lumi"]}
    content |= {"event": events.id["event"], **events.context}
    if simulation:
        content["genWeight"] = events.weight.astype(F)
    return {name: np.ascontiguousarray(v) if isinstance(v, np.ndarray) else v
            for name, v in content.items()}  # fmt: skip


def _renamed_for_run3(name, columns, version):
    names = {
        "mvaFall17V2Iso_WP90": "mvaIso_WP90",
        **{f"idDeepTau2017v2p1VS{x}": f"idDeepTau2018v2p5VS{x}" for x in ("jet", "e", "mu")},
    }
    columns = {names.get(c, c): values for c, values in columns.items()}
    if name == "jet":
        del columns["puId"]
        columns["btagPNetB"] = columns["btagDeepFlavB"]
        if version >= 15:
            columns["btagUParTAK4B"] = columns["btagDeepFlavB"]
            good = columns.pop("jetId") > 0
            columns |= {c: np.full(len(good), 0.3, F) for c in ("chHEF", "neHEF", "chEmEF")}
            columns |= {"neEmEF": np.where(good, 0.1, 0.95).astype(F)}
            columns |= {"muEF": np.zeros(len(good), F)}
            columns |= {c: np.full(len(good), 5, U) for c in ("chMultiplicity", "neMultiplicity")}
    return columns


def write(
    path: Path,
    events: Events,
    *,
    version=9,
    simulation=True,
    runs=True,
    drop=(),
    tree="Events",
    rntuple=False,
    provenance=None,
    basket=500,
) -> Path:
    """Write a NanoAOD file; `drop` leaves out branches, `runs` the sums of weights."""
    content = _tree(events, version, simulation)
    for branch in drop:
        prefix, _, column = branch.partition("_")
        if branch in content:
            del content[branch]
        elif column:
            content[prefix] = content[prefix][[f for f in content[prefix].fields if f != column]]
        else:
            del content[branch]
    with uproot.recreate(path) as file:
        if rntuple:
            flat = {
                f"{name}_{column}" if isinstance(value, ak.Array) else name: (
                    value[column] if isinstance(value, ak.Array) else value
                )
                for name, value in content.items()
                for column in (value.fields if isinstance(value, ak.Array) else [""])
            }
            file.mkrntuple(tree, flat)
        else:
            types = {
                name: ak.type(v).content if isinstance(v, ak.Array) else v.dtype
                for name, v in content.items()
            }
            out = file.mktree(tree, types)
            for low in range(0, len(events), basket):
                out.extend({name: v[low : low + basket] for name, v in content.items()})
        if runs:
            weight = events.weight
            sums = {
                "run": np.ones(1, np.uint32),
                "genEventCount": np.array([len(weight)]),
                "genEventSumw": np.array([weight.sum()]),
                "genEventSumw2": np.array([(weight**2).sum()]),
            }
            file.mktree("Runs", {k: v.dtype for k, v in sums.items()}).extend(sums)
        if provenance is not None:
            file["transferline"] = json.dumps(provenance)
    return path


def join(chunks):
    """Concatenate chunks of Events."""
    chunks = list(chunks)
    return Events(
        particles={
            name: ak.concatenate([c.particles[name] for c in chunks])
            for name in chunks[0].particles
        },
        weight=np.concatenate([c.weight for c in chunks]),
        id=np.concatenate([c.id for c in chunks]),
        context={k: np.concatenate([c.context[k] for c in chunks]) for k in chunks[0].context},
        labels={k: np.concatenate([c.labels[k] for c in chunks]) for k in chunks[0].labels},
    )


def equal(one, other):
    """Compare two Events exactly."""
    return (
        np.array_equal(one.id, other.id)
        and np.array_equal(one.weight, other.weight)
        and one.particles.keys() == other.particles.keys()
        and all(ak.array_equal(v, other.particles[k]) for k, v in one.particles.items())
        and all(np.array_equal(v, other.context[k]) for k, v in one.context.items())
        and all(np.array_equal(v, other.labels[k]) for k, v in one.labels.items())
    )
