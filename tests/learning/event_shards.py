"""Small shard directories for tests of training mechanics, prepared by the real `prepare`.

The events are drawn from simple distributions and written in the NanoAOD layout; physics is
tested elsewhere, on generated events.
"""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from transferline.data.prepare import prepare
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import selection


def write_nanoaod(
    path: Path, n: int, seed: int, hardness: float = 1.0, *, collisions: bool = False
) -> Path:
    """Write `n` events with one muon, five or more jets and MET; `hardness` scales momenta.

    They are run 1, luminosity block `seed`. `collisions` leaves out what only simulation has.
    """
    rng = np.random.default_rng(seed)
    n_jets = rng.integers(5, 9, n)

    def jagged(counts, values):
        return ak.values_astype(ak.unflatten(values, counts), np.float32)

    def jets(low, scale):
        return jagged(n_jets, low + hardness * rng.exponential(scale, n_jets.sum()))

    ones = np.ones(n, dtype=np.int64)
    muon = {
        "pt": jagged(ones, 30 + hardness * rng.exponential(30.0, n)),
        "eta": jagged(ones, rng.uniform(-2.3, 2.3, n)),
        "phi": jagged(ones, rng.uniform(-np.pi, np.pi, n)),
        "mass": jagged(ones, np.full(n, 0.106)),
        "charge": ak.unflatten(rng.choice([-1, 1], n).astype(np.int32), ones),
        "dxy": jagged(ones, np.zeros(n)),
        "dz": jagged(ones, np.zeros(n)),
        "tightId": ak.unflatten(np.ones(n, bool), ones),
        "mediumId": ak.unflatten(np.ones(n, bool), ones),
        "looseId": ak.unflatten(np.ones(n, bool), ones),
        "pfRelIso04_all": jagged(ones, np.full(n, 0.02)),
    }
    total = n_jets.sum()
    jet = {
        "pt": jets(32, 40.0),
        "eta": jagged(n_jets, rng.uniform(-2.3, 2.3, total)),
        "phi": jagged(n_jets, rng.uniform(-np.pi, np.pi, total)),
        "mass": jets(5, 5.0),
        "btagDeepFlavB": jagged(n_jets, rng.beta(0.5, 0.8, total)),
        "jetId": ak.unflatten(np.full(total, 6, np.int32), n_jets),
        "puId": ak.unflatten(np.full(total, 7, np.int32), n_jets),
        "hadronFlavour": ak.unflatten(np.full(total, 5, np.int32), n_jets),
    }
    no = np.zeros(n, dtype=np.int64)
    electron = {
        name: jagged(no, np.zeros(0))
        for name in ("pt", "eta", "phi", "mass", "deltaEtaSC", "dxy", "dz", "pfRelIso03_all")
    }
    empty_int = ak.unflatten(np.zeros(0, np.int32), no)
    electron |= {"charge": empty_int, "cutBased": empty_int}
    electron["mvaFall17V2Iso_WP90"] = ak.unflatten(np.zeros(0, bool), no)
    tau = {name: jagged(no, np.zeros(0)) for name in ("pt", "eta", "phi", "mass", "dz")}
    tau |= {"charge": empty_int, "decayMode": empty_int}
    tau["idDeepTau2017v2p1VSjet"] = ak.unflatten(np.zeros(0, np.uint8), no)
    scalars = {
        "run": np.ones(n, np.uint32),
        "luminosityBlock": np.full(n, seed, np.uint32),
        "event": np.arange(n, dtype=np.uint64),
        "genWeight": np.ones(n, np.float32),
        "MET_pt": (hardness * rng.exponential(50.0, n)).astype(np.float32),
        "MET_phi": rng.uniform(-np.pi, np.pi, n).astype(np.float32),
    }
    flags = (
        "HLT_IsoMu24",
        "HLT_IsoTkMu24",
        "HLT_Ele27_WPTight_Gsf",
        "Flag_goodVertices",
        "Flag_globalSuperTightHalo2016Filter",
        "Flag_HBHENoiseFilter",
        "Flag_HBHENoiseIsoFilter",
        "Flag_EcalDeadCellTriggerPrimitiveFilter",
        "Flag_BadPFMuonFilter",
        "Flag_BadPFMuonDzFilter",
        "Flag_eeBadScFilter",
    )
    scalars |= {name: np.ones(n, bool) for name in flags}
    if collisions:
        del scalars["genWeight"], jet["hadronFlavour"]
    records = {
        "Muon": ak.zip(muon),
        "Jet": ak.zip(jet),
        "Electron": ak.zip(electron),
        "Tau": ak.zip(tau),
    }
    with uproot.recreate(path) as file:
        content = {**records, **scalars}
        types = {name: ak.type(value).content for name, value in records.items()}
        types |= {name: value.dtype for name, value in scalars.items()}
        file.mktree("Events", types).extend(content)
        runs = {"run": np.uint32, "genEventCount": np.int64}
        runs |= {"genEventSumw": np.float64, "genEventSumw2": np.float64}
        file.mktree("Runs", runs).extend(
            {
                "run": np.ones(1, np.uint32),
                "genEventCount": np.array([n]),
                "genEventSumw": np.array([float(n)]),
                "genEventSumw2": np.array([float(n)]),
            }
        )
    return path


def write_shards(directory: Path, n: int, seed: int, hardness: float = 1.0) -> Path:
    """Write and prepare such a file; return the shard directory."""
    file = write_nanoaod(directory / f"events-{seed}.root", n, seed, hardness)
    out = directory / f"shards-{seed}"
    prepare(NanoAOD(files=[str(file)]), selection("l1_j4_b1"), out, sample=f"sample {seed}")
    return out
