"""Small files of jets in exactly the layouts that are published, from the same random jets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

CLASSES = ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]
SPECIES = ["charged_hadron", "neutral_hadron", "photon", "electron", "muon"]
MASSES = np.array([0.13957, 0.0, 0.0, 0.000511, 0.10566])
CODES = np.array([8, 9, 7, 1, 2])


@dataclass(frozen=True)
class Jets:
    """Jets with particles laid end to end; impact parameters in mm, 0 without a track."""

    counts: Any
    pt: Any
    eta: Any
    phi: Any
    mass: Any
    charge: Any
    kind: Any  # place in SPECIES
    d0: Any
    d0err: Any
    dz: Any
    dzerr: Any
    jet_pt: Any
    jet_eta: Any
    jet_phi: Any
    jet_mass: Any

    @property
    def parent(self):
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def energy(self):
        return np.hypot(self.pt * np.cosh(self.eta), self.mass)

    @property
    def jet_energy(self):
        return np.hypot(self.jet_pt * np.cosh(self.jet_eta), self.jet_mass)

    def lists(self, values, dtype=np.float32):
        return ak.unflatten(np.asarray(values).astype(dtype), self.counts)


def random_jets(n, seed, largest=60, counts=None):
    """Jets whose momentum is the sum of their particles'; the first two have 1 and 2 of them."""
    rng = np.random.default_rng(seed)
    if counts is None:
        counts = np.concatenate([[1, 2], rng.integers(3, largest, n)])[:n]
    counts = np.asarray(counts)
    k, parent = counts.sum(), np.repeat(np.arange(n), counts)
    kind = rng.integers(0, 5, k)
    charge = np.where(np.isin(kind, [1, 2]), 0, rng.choice([-1, 1], k))
    track = charge != 0
    pt = 1 + rng.exponential(12, k)
    eta = rng.uniform(-1.8, 1.8, n)[parent] + rng.normal(0, 0.2, k)
    phi = wrapped(rng.uniform(-np.pi, np.pi, n)[parent] + rng.normal(0, 0.2, k))
    mass = MASSES[kind]
    energy = np.hypot(pt * np.cosh(eta), mass)

    def total(values):
        return np.bincount(parent, values, n)

    px, py, pz = total(pt * np.cos(phi)), total(pt * np.sin(phi)), total(pt * np.sinh(eta))
    e = total(energy)
    jet_pt = np.maximum(np.hypot(px, py), 1e-3)
    return Jets(
        counts=counts,
        pt=pt,
        eta=eta,
        phi=phi,
        mass=mass,
        charge=charge,
        kind=kind,
        d0=rng.normal(0, 0.3, k) * track,
        d0err=rng.uniform(0.01, 0.3, k) * track,
        dz=rng.normal(0, 0.5, k) * track,
        dzerr=rng.uniform(0.01, 0.5, k) * track,
        jet_pt=jet_pt,
        jet_eta=np.arcsinh(pz / jet_pt),
        jet_phi=np.arctan2(py, px),
        jet_mass=np.sqrt(np.maximum(e**2 - px**2 - py**2 - pz**2, 0)),
    )


def wrapped(phi):
    return (phi + np.pi) % (2 * np.pi) - np.pi


def jetclass_branches(jets, seed=0):
    """The branches of JetClass; jet i is of class i modulo 10."""
    rng, n, parent = np.random.default_rng(seed), len(jets.counts), jets.parent
    sign = np.where(jets.jet_eta > 0, 1, -1)[parent]
    part = {
        "part_px": jets.pt * np.cos(jets.phi),
        "part_py": jets.pt * np.sin(jets.phi),
        "part_pz": jets.pt * np.sinh(jets.eta),
        "part_energy": jets.energy,
        "part_deta": sign * (jets.eta - jets.jet_eta[parent]),
        "part_dphi": wrapped(jets.phi - jets.jet_phi[parent]),
        "part_d0val": jets.d0,
        "part_d0err": jets.d0err,
        "part_dzval": jets.dz,
        "part_dzerr": jets.dzerr,
        "part_charge": jets.charge,
    }
    names = [f"part_is{word}" for word in ("ChargedHadron", "NeutralHadron", "Photon")]
    flags = [*names, "part_isElectron", "part_isMuon"]
    part |= {name: jets.kind == i for i, name in enumerate(flags)}
    jet = {
        "jet_pt": jets.jet_pt,
        "jet_eta": jets.jet_eta,
        "jet_phi": jets.jet_phi,
        "jet_energy": jets.jet_energy,
        "jet_nparticles": jets.counts,
        "jet_sdmass": 0.8 * jets.jet_mass,
        **{f"jet_tau{i}": rng.uniform(0, 0.5 / i, n) for i in (1, 2, 3, 4)},
        **{f"label_{name}": np.arange(n) % 10 == i for i, name in enumerate(CLASSES)},
        "aux_genpart_pid": np.full(n, 25),
        "aux_truth_match": np.ones(n),
    }
    lists = {name: jets.lists(values) for name, values in part.items()}
    return lists | {name: np.asarray(values).astype(np.float32) for name, values in jet.items()}


def write_tree(path, tree, branches, **more):
    """Write a TTree, and further ones."""
    with uproot.recreate(path, compression=uproot.LZ4(4)) as file:
        for name, arrays in {tree: branches, **more}.items():
            file.mktree(name, {branch: _type(values) for branch, values in arrays.items()})
            file[name].extend(arrays)
    return Path(path)


def _type(values):
    if isinstance(values, ak.Array):
        return f"var * {ak.type(values).content.content}"
    return values.dtype


def write_jetclass(path, jets, drop=(), **replaced):
    branches = jetclass_branches(jets) | replaced
    kept = {name: values for name, values in branches.items() if name not in drop}
    return write_tree(path, "tree", kept)


def write_replicas(path, jets, per_event):
    """JetClass with one entry per hard process, `per_event` jets each, as RNTuple."""
    branches = jetclass_branches(jets)
    with uproot.recreate(path) as file:
        file.mkrntuple(
            "tree", {name: ak.unflatten(values, per_event) for name, values in branches.items()}
        )
    return Path(path)


def write_jetclass2(path, jets, **options):
    branches = jetclass_branches(jets)
    table = {
        name: ak.to_arrow(values, extensionarray=False) if isinstance(values, ak.Array) else values
        for name, values in branches.items()
        if not name.startswith(("label_", "aux_"))
    }
    table["jet_label"] = np.arange(len(jets.counts), dtype=np.int32)
    pq.write_table(pa.table(table), path, **options)
    return path


HBB_FLAGS = ["isChargedHad", "isNeutralHad", "isGamma", "isEl", "isMu"]
HBB_LABELS = ["QCD_b", "QCD_bb", "QCD_c", "QCD_cc", "QCD_others", "H_bb"]


def hbb_branches(jets, seed=0):
    """The branches of record 12102, one entry per jet: `fj_*` `[m]`, `pfcand_*` laid end to end."""
    rng, n, parent = np.random.default_rng(seed), len(jets.counts), jets.parent
    sign = np.where(jets.jet_eta > 0, 1, -1)[parent]
    with np.errstate(invalid="ignore"):
        significance = [
            np.nan_to_num(value / error)
            for value, error in ((jets.d0, jets.d0err), (jets.dz, jets.dzerr))
        ]
    part = {
        "pfcand_ptrel": jets.pt / jets.jet_pt[parent],
        "pfcand_erel": jets.energy / jets.jet_energy[parent],
        "pfcand_etarel": sign * (jets.eta - jets.jet_eta[parent]),
        "pfcand_phirel": wrapped(jets.phi - jets.jet_phi[parent]),
        "pfcand_deltaR": np.zeros(len(jets.pt)),
        "pfcand_dxy": -jets.d0 / 10,  # the sign of CMS
        "pfcand_dxysig": significance[0],
        "pfcand_dz": jets.dz / 10,
        "pfcand_dzsig": significance[1],
        "pfcand_charge": jets.charge,
        **{f"pfcand_{name}": jets.kind == i for i, name in enumerate(HBB_FLAGS)},
    }
    jet = {
        "fj_pt": jets.jet_pt,
        "fj_eta": jets.jet_eta,
        "fj_phi": jets.jet_phi,
        "fj_mass": jets.jet_mass,
        "fj_sdmass": 0.8 * jets.jet_mass,
        "fj_doubleb": rng.uniform(-1, 1, n),
        **{f"fj_tau{i}": rng.uniform(0, 0.5 / i, n) for i in (1, 2, 3)},
        "fj_isH": np.arange(n) % 6 == 5,
        "fj_isQCD": np.arange(n) % 6 != 5,
        **{f"label_{name}": np.arange(n) % 6 == i for i, name in enumerate(HBB_LABELS)},
    }
    whole = ("fj_is", "label_")
    jet = {
        name: np.asarray(v).astype(np.int32 if name.startswith(whole) else np.float32)
        for name, v in jet.items()
    }
    return jet, {name: v.astype(np.float32) for name, v in part.items()}


def event_scalars(n, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "event_no": np.arange(1, n + 1, dtype=np.uint32),
        "npv": rng.integers(1, 60, n).astype(np.float32),
        "ntrueInt": rng.integers(1, 60, n).astype(np.float32),
        "rho": rng.uniform(2, 40, n).astype(np.float32),
    }


def write_hbb_flat(path, jets, per_event=None, drop=(), **replaced):
    """One entry per jet; `per_event` jets in a row share their event's numbers."""
    jet, part = hbb_branches(jets)
    n = len(jets.counts)
    per_event = np.ones(n, int) if per_event is None else per_event
    scalars = event_scalars(len(per_event))
    branches = {
        **{name: np.repeat(values, per_event) for name, values in scalars.items()},
        "sample_isQCD": np.zeros(n, np.int32),
        **jet,
        **{name: ak.unflatten(values, jets.counts) for name, values in part.items()},
        **replaced,
    }
    kept = {name: values for name, values in branches.items() if name not in drop}
    return write_tree(path, "deepntuplizer/tree", kept)


def write_hbb_jagged(path, jets, per_event, scalars=True, drop=()):
    """One entry per event, `per_event` jets each.

    As RNTuple: the lists of lists of a TTree are read by uproot, but not written.
    """
    jet, part = hbb_branches(jets)
    branches = {
        **(event_scalars(len(per_event)) if scalars else {}),
        "sample_isQCD": np.zeros(len(per_event), np.int32),
        **{name: ak.unflatten(values, per_event) for name, values in jet.items()},
        **{
            name: ak.unflatten(ak.unflatten(values, jets.counts), per_event)
            for name, values in part.items()
        },
    }
    kept = {name: values for name, values in branches.items() if name not in drop}
    with uproot.recreate(path) as file:
        file.mkdir("deepntuplizer")
        file.mkrntuple("deepntuplizer/tree", kept)
    return Path(path)


PDG = np.array([211, 130, 22, 11, 13])


def write_pfnano(path, jets, per_event, *, collisions=False, drop=(), **replaced):
    """Events of AK8 jets; the candidates of an event are shuffled, their pairs too."""
    rng, n = np.random.default_rng(1), len(per_event)
    event_of_jet = np.repeat(np.arange(n), per_event)
    event = event_of_jet[jets.parent]
    order = np.lexsort((rng.random(len(event)), event))  # of candidates within their events
    counts = np.bincount(event, minlength=n)
    start = np.cumsum(counts) - counts
    place = np.empty(len(event), int)
    place[order] = np.arange(len(event))
    local_jet = np.arange(len(event_of_jet)) - (np.cumsum(per_event) - per_event)[event_of_jet]
    pairs = np.lexsort((rng.random(len(event)), event))

    def candidates(values, dtype=np.float32):
        return ak.unflatten(np.asarray(values)[order].astype(dtype), counts)

    def fat(values, dtype=np.float32):
        return ak.unflatten(np.asarray(values).astype(dtype), per_event)

    track = jets.charge != 0
    impact = {"d0": -jets.d0, "d0Err": jets.d0err, "dz": jets.dz, "dzErr": jets.dzerr}
    branches = {
        "run": np.full(n, 278820 if collisions else 1, np.uint32),
        "luminosityBlock": np.full(n, 7, np.uint32),
        "event": np.arange(100, 100 + n, dtype=np.uint64),
        "PFCands_pt": candidates(jets.pt),
        "PFCands_eta": candidates(jets.eta),
        "PFCands_phi": candidates(jets.phi),
        "PFCands_mass": candidates(jets.mass),
        "PFCands_charge": candidates(jets.charge, np.int32),
        "PFCands_pdgId": candidates(PDG[jets.kind] * np.where(jets.charge < 0, -1, 1), np.int32),
        "PFCands_puppiWeight": candidates(np.ones(len(event))),
        **{f"PFCands_{k}": candidates(np.where(track, v / 10, -1)) for k, v in impact.items()},
        "FatJetPFCands_jetIdx": ak.unflatten(
            local_jet[jets.parent][pairs].astype(np.int32), counts
        ),
        "FatJetPFCands_pFCandsIdx": ak.unflatten(
            (place - start[event])[pairs].astype(np.int32), counts
        ),
        "FatJet_pt": fat(jets.jet_pt),
        "FatJet_eta": fat(jets.jet_eta),
        "FatJet_phi": fat(jets.jet_phi),
        "FatJet_mass": fat(jets.jet_mass),
        "FatJet_msoftdrop": fat(0.8 * jets.jet_mass),
        **{f"FatJet_tau{i}": fat(np.full(len(jets.counts), 0.5 / i)) for i in (1, 2, 3, 4)},
    }
    more = {}
    if not collisions:
        weight = rng.choice([-2.0, 3.0], n).astype(np.float32)
        branches |= {
            "genWeight": weight,
            "FatJet_hadronFlavour": fat(np.full(len(jets.counts), 5), np.int32),
            "FatJet_nBHadrons": fat(np.full(len(jets.counts), 2), np.uint8),
        }
        runs = {
            "genEventCount": np.array([n], np.int64),
            "genEventSumw": np.array([weight.sum()], np.float64),
            "genEventSumw2": np.array([(weight**2).sum()], np.float64),
        }
        more = {"Runs": runs}
    branches |= replaced
    kept = {name: values for name, values in branches.items() if name not in drop}
    return write_tree(path, "Events", kept, **more)


def delphes():
    """The real file; references of C++ objects cannot be written here."""
    path = Path(__file__).parents[3] / "shared" / "data" / "events_delphes_example.root"
    if not path.exists():
        pytest.skip("no ../shared/data here")
    return path
