"""Score NanoAOD events with ONNX Runtime: no torch, no transferline, only a graph and its JSON.

The graph wants the objects that the model was trained on, so their definitions (of the shipped
selections, 2016 UL, NanoAODv9) are spelled out here in awkward; the numbers come from the JSON.

Run: python examples/onnx_scores.py [MODEL.onnx FILE.root]
(without: an untrained model and generated events, compared with what the library itself says)
"""

# ruff: noqa: PLC0415  the first half must run where torch and transferline are not installed
import json
import operator
import sys
import tempfile
from functools import reduce
from pathlib import Path

import awkward as ak
import numpy as np
import onnxruntime
import uproot

COLUMNS = {
    "Electron": ["pt", "eta", "phi", "mass", "charge", "cutBased", "deltaEtaSC"],
    "Muon": ["pt", "eta", "phi", "mass", "charge", "tightId", "pfRelIso04_all"],
    "Tau": ["pt", "eta", "phi", "mass", "charge", "dz", "decayMode", "idDeepTau2017v2p1VSjet"],
    "Jet": ["pt", "eta", "phi", "mass", "jetId", "puId", "btagDeepFlavB"],
}


def main(model: Path, file: Path) -> np.ndarray:
    description = json.loads(Path(f"{model}.json").read_text())
    with uproot.open(file) as root:
        events = selected(root["Events"], description)
    inputs = padded(events, description)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["probability"], {i.name: inputs[i.name] for i in session.get_inputs()})
    print(f"{len(events)} events pass '{description['selection']['name']}'")
    for number, name in enumerate(description["classes"]):
        print(f"{name}: mean score {scores[:, number].mean():.4f}")
    return scores


def selected(tree: uproot.TTree, description: dict) -> ak.Array:
    """Return the objects of the events that pass, `[n, var]` records."""
    cuts, points, code = (description[k] for k in ("selection", "working_points", "species"))
    triggers = [name for name in cuts["triggers"] if name in tree]
    branches = [f"{c}_{name}" for c, names in COLUMNS.items() for name in names]
    arrays = tree.arrays([*branches, "MET_pt", "MET_phi", *triggers, *cuts["filters"]])
    electron, muon, tau, jet = (
        ak.zip({name: arrays[f"{c}_{name}"] for name in names}) for c, names in COLUMNS.items()
    )

    def within(objects, limits):
        return (objects.pt > limits["pt_min"]) & (abs(objects.eta) < limits["abs_eta_max"])

    low, high = cuts["electrons"]["sc_gap"]
    eta_sc = abs(electron.eta + electron.deltaEtaSC)
    good = within(electron, cuts["electrons"]) & ((eta_sc <= low) | (eta_sc >= high))
    electron = electron[good & (electron.cutBased >= cuts["electrons"]["cut_based_min"])]
    good = within(muon, cuts["muons"]) & muon.tightId
    muon = muon[good & (muon.pfRelIso04_all < cuts["muons"]["rel_iso_max"])]
    level = cuts["taus"]["vs_jet_level_min"]  # a bit mask in NanoAODv9
    good = within(tau, cuts["taus"]) & ((tau.idDeepTau2017v2p1VSjet >> (level - 1)) & 1 == 1)
    mode = reduce(operator.or_, (tau.decayMode == m for m in cuts["taus"]["decay_modes"]))
    tau = tau[good & (abs(tau.dz) < cuts["taus"]["dz_max"]) & mode]
    tau = tau[far(tau, electron, cuts["taus"]) & far(tau, muon, cuts["taus"])]
    good = within(jet, cuts["jets"]) & ((jet.jetId >> cuts["jets"]["jet_id_bit"]) & 1 == 1)
    bits = sum((jet.puId >> bit) & 1 for bit in range(3))
    passed = bits >= points["pu_id_bits_min"]
    jet = jet[good & (passed | (jet.pt >= cuts["jets"]["pu_id"]["pt_max"]))]
    for others in (electron, muon, tau):
        jet = jet[far(jet, others, cuts["jets"])]
    is_b = jet.btagDeepFlavB > points["btag_min"]

    lepton = ak.concatenate(
        [column(electron, code["electron"]), column(muon, code["muon"])], axis=1
    )
    jets = column(jet, ak.where(is_b, code["bjet"], code["jet"]), btag=jet.btagDeepFlavB)
    kinds = (lepton, column(tau, code["tau"]), jets)
    objects = ak.concatenate([one[ak.argsort(-one.pt)] for one in kinds], axis=1)
    met = ak.zip({"pt": arrays.MET_pt[:, None], "phi": arrays.MET_phi[:, None]})
    met["eta"] = met["mass"] = ak.zeros_like(met.pt)
    kept = objects[:, : cuts["max_objects"] - 1]
    objects = ak.concatenate([kept, column(met, code["met"])], axis=1)

    least = cuts["cuts"]
    hard = ak.any(electron.pt > cuts["electrons"]["leading_pt_min"], axis=1)
    hard = hard | ak.any(muon.pt > cuts["muons"]["leading_pt_min"], axis=1)
    good = hard & (ak.num(lepton) >= least["leptons_min"]) & (ak.num(jet) >= least["jets_min"])
    good = good & (ak.sum(is_b, axis=1) >= least["bjets_min"])
    good = good & reduce(operator.or_, (arrays[name] for name in triggers))
    return objects[reduce(operator.and_, (arrays[name] for name in cuts["filters"]), good)]


def far(objects, others, limits):
    """Which objects have none of the others within the radius."""
    eta = objects.eta[:, :, None] - others.eta[:, None, :]
    phi = (objects.phi[:, :, None] - others.phi[:, None, :] + np.pi) % (2 * np.pi) - np.pi
    return ak.all(eta**2 + phi**2 >= limits["overlap_dr"] ** 2, axis=2)


def column(objects, species, btag=0.0):
    """Give objects of one kind the fields that all share."""
    charge = objects.charge if "charge" in objects.fields else 0
    p4 = {name: objects[name] for name in ("pt", "eta", "phi", "mass")}
    return ak.zip({**p4, "charge": charge, "species": species, "btag": btag})


def padded(events: ak.Array, description: dict) -> dict[str, np.ndarray]:
    """Return the inputs of the graph, as wide as the longest event."""
    width = int(ak.max(ak.num(events)))

    def table(name, dtype):
        return ak.to_numpy(ak.fill_none(ak.pad_none(events[name], width), 0)).astype(dtype)

    found = {}
    for row in description["inputs"]:
        if row["name"] == "is_real":
            found["is_real"] = np.arange(width) < ak.to_numpy(ak.num(events))[:, None]
        elif row["name"] == "p4":
            names = [entry["name"] for entry in row["columns"]]
            found["p4"] = np.stack([table(name, row["dtype"]) for name in names], axis=-1)
        else:
            found[row["name"]] = table(row["name"], row["dtype"])
    return found


def without_files() -> None:
    """Make a model and a file, then compare."""
    import torch

    from transferline.data.prepare import prepare
    from transferline.data.readers.nanoaod import NanoAOD
    from transferline.data.readers.shards import ShardSet
    from transferline.data.selections import selection
    from transferline.deploy.onnx import export_onnx
    from transferline.generate.events import generate_events
    from transferline.models.checkpoint import Checkpoint
    from transferline.models.heads import Head, class_probability
    from transferline.models.model import ModelRecipe

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate_events("ttbar_1l", folder / "ttbar.root", n=60, seed=1, mpi=False)
        cuts = selection("pretraining")
        source = NanoAOD(files=[str(folder / "ttbar.root")])
        prepare(source, cuts, folder / "shards")
        recipe = ModelRecipe(
            backbone={"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
            head=Head(),
            n_outputs=2,
        )
        model = recipe.build().eval()
        shards = ShardSet(folder / "shards")
        batch = shards.gather(np.arange(len(shards)))
        model.features.fit([batch])
        Checkpoint.of(model, recipe, selection=cuts.to_dict()).save(folder / "run")
        export_onnx(folder / "run", folder / "model.onnx", events=[folder / "shards"])
        scores = main(folder / "model.onnx", folder / "ttbar.root")
        with torch.no_grad():
            expected = class_probability(model(batch)).numpy()
        print(f"largest difference from the library: {abs(scores - expected).max():.1e}")
        assert np.allclose(scores, expected, atol=1e-5)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        without_files()
