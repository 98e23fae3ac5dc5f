"""Graphs of models of jets, and of models that read nothing but momenta."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from transferline.cli import run
from transferline.data.events import CONSTITUENTS
from transferline.data.selections import selection
from transferline.deploy import onnx_check
from transferline.deploy.onnx import export_onnx
from transferline.deploy.onnx_check import cases
from transferline.deploy.onnx_events import real_events
from transferline.deploy.particles import species_codes, takes_jets
from transferline.errors import ConfigError
from transferline.models.backbones.deepsets import DeepSets
from transferline.models.backbones.part import ParT
from transferline.models.backbones.transformer import Transformer
from transferline.models.checkpoint import Checkpoint
from transferline.models.event_head import EventHead
from transferline.models.features import JETCLASS_FEATURES, Features
from transferline.models.heads import Head
from transferline.models.model import ModelRecipe
from transferline.testing import toy_shards

from ..learning.jet_event_shards import write_event_shards
from ..learning.jet_shards import write_class_file, write_jet_shards

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

SMALL = ParT(embed=(8,), pair_embed=(4,), depth=1, class_depth=1, heads=2)
P4 = ("log_pt", "eta", "sin_phi", "cos_phi", "log_mass")


def tiny(backbone, head=None, resolved=None, **features) -> Checkpoint:
    recipe = ModelRecipe(
        features=Features(**features), backbone=backbone, head=head or Head(), n_outputs=3
    )
    torch.manual_seed(0)
    return Checkpoint.of(recipe.build(), recipe, selection=resolved)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx-jets")


@pytest.fixture(scope="module")
def jets(folder):
    """Shards of jets, and the selection that they passed."""
    place = write_jet_shards(folder, "Hbb", 60, seed=1)
    return place, json.loads((place / "card.json").read_text())["selection"]


def description(out: Path) -> dict:
    return json.loads(Path(f"{out}.json").read_text())


def compared_codes(out: Path) -> set[int]:
    """Integers that the graph compares something with."""
    graph = onnx.load(out).graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            known[node.output[0]] = next(a.t for a in node.attribute if a.name == "value")
    tensors = [
        onnx.numpy_helper.to_array(known[name])
        for node in graph.node
        if node.op_type == "Equal"
        for name in node.input
        if name in known
    ]
    return {int(x) for values in tensors if values.dtype == np.int64 for x in values.ravel()}


def test_a_model_that_reads_momenta_alone_is_exported(tmp_path, jets):
    """Of events, and of jets as the `kin` models of Particle Transformer."""
    events = DeepSets(particle=(8,), whole=(8,))
    checkpoint = tiny(events, particles=P4, species="hidden")
    checkpoint.save(tmp_path / "events")
    toys = toy_shards(tmp_path / "toys", 40)
    words = ["export", "onnx", tmp_path / "events", "--events", toys, "-o", tmp_path / "e.onnx"]
    assert run([str(word) for word in words]) == 0
    inputs = [row["name"] for row in description(tmp_path / "e.onnx")["inputs"]]
    assert inputs == ["p4", "is_real"]
    ordered = Transformer(width=16, depth=1, heads=2, causal=True, positions=8)
    kin = tiny(ordered, particles=JETCLASS_FEATURES["kin"], species="hidden", scaling="published")
    kin.save(tmp_path / "kin")
    found = export_onnx(tmp_path / "kin", tmp_path / "kin.onnx", events=[jets[0]])
    assert [row["name"] for row in found["inputs"]] == ["p4", "is_real"]
    assert found["sets"] == "jets", "an order by pT is part of the graph"
    assert found["check"]["largest"]["probability"] < 1e-5


def test_what_a_graph_of_jets_reads_is_told(tmp_path, jets):
    place, resolved = jets
    published = {"particles": JETCLASS_FEATURES["full"], "scaling": "published"}
    sums = DeepSets(particle=(8,), whole=(8,))
    full = tiny(sums, resolved=resolved, species="hidden", **published)
    full.save(tmp_path / "full")
    out = tmp_path / "full.onnx"
    export_onnx(tmp_path / "full", out, events=[place])
    told = description(out)
    codes = compared_codes(out)
    assert codes == set(CONSTITUENTS.values()) and codes <= set(told["species"].values())
    assert told["species"] == {"hidden": 0, **CONSTITUENTS}
    rows = {row["name"]: row for row in told["inputs"]}
    assert [rows[n]["unit"] for n in ("d0", "d0err", "dz", "dzerr")] == 4 * ["mm"]
    assert "opposite to that of CMS" in rows["d0"]["meaning"]
    assert "constituent" in rows["charge"]["meaning"]
    text = json.dumps([told[name] for name in ("inputs", "outputs", "order", "species")])
    assert not any(word in text for word in ("MET", "tau", "electrons"))
    assert told["selection"] == resolved and told["working_points"] == {}


def test_every_code_that_a_model_asks_for_is_in_the_table(jets):
    resolved = jets[1]
    onehot = tiny(SMALL, resolved=resolved, particles=("log_pt",), species="onehot")
    assert set(range(10)) == set(species_codes(onehot).values())
    events = tiny(SMALL, resolved=selection("pretraining").to_dict(), particles=("is_muon",))
    assert set(range(10)) == set(species_codes(events).values())
    assert not takes_jets(events) and takes_jets(onehot)
    imported = tiny(SMALL, particles=JETCLASS_FEATURES["kin"], species="hidden")
    assert takes_jets(imported) and not takes_jets(tiny(SMALL, particles=P4))


def test_jets_to_compare_on_come_from_shards_or_files(folder, tmp_path, jets, capsys):
    model = tiny(SMALL, resolved=jets[1], particles=P4, species="hidden")
    with pytest.raises(ConfigError, match="--events SHARDS"):
        real_events([], model)
    file = write_class_file(tmp_path / "jets.root", "QCD", 30, seed=2)
    assert len(real_events([file], model, "jetclass").batch) == 30
    model.save(tmp_path / "model")
    words = ["export", "onnx", f"{tmp_path}/model", "--events", str(file), "-o"]
    words += [f"{tmp_path}/m.onnx", "--reader", "jetclass"]
    assert run([*words, "--jets", "FatJet"]) == 2
    assert "has no `jets`" in capsys.readouterr().err
    nested = write_event_shards(folder, "nested", 20, 3, True)
    kept = json.loads((nested / "card.json").read_text())["selection"]
    of_events = replace(
        tiny(SMALL, head=EventHead(kind="deepsets"), particles=P4, species="hidden"),
        selection=kept,
    )
    found = real_events([nested], of_events).batch
    assert "d0" in found.columns and len(found) > 20  # jets of constituents
    with pytest.raises(ConfigError, match="Prepare them and give the shards"):
        real_events([file], of_events, "jetclass")


def test_of_a_head_on_events_of_jets_the_backbone_is_exported(folder, tmp_path):
    nested = write_event_shards(folder, "joint", 25, 5, True)
    resolved = json.loads((nested / "card.json").read_text())["selection"]
    head = EventHead(kind="deepsets", phi=(8,), hidden=(8,))
    features = {"particles": JETCLASS_FEATURES["kinpid"], "species": "hidden"}
    mean = SMALL.model_copy(update={"pooling": "mean"})
    tiny(mean, head=head, resolved=resolved, **features).save(tmp_path / "joint")
    with pytest.raises(ConfigError, match=r"head takes events of jets.*--embedding"):
        export_onnx(tmp_path / "joint", tmp_path / "j.onnx", events=[nested])
    found = export_onnx(tmp_path / "joint", tmp_path / "j.onnx", events=[nested], embedding=True)
    assert [row["name"] for row in found["outputs"]] == ["pooled"] and not found["classes"]


def test_what_the_exporter_cannot_do_is_one_message(tmp_path, monkeypatch, capsys):
    toys = toy_shards(tmp_path / "toys", 20)
    tiny(DeepSets(particle=(8,), whole=(8,)), particles=P4, species="hidden").save(tmp_path / "m")

    def fail(*_, **__):
        raise RuntimeError("no such operator\nand a page of reasons")

    monkeypatch.setattr(torch.onnx, "export", fail)
    words = ["export", "onnx", f"{tmp_path}/m", "--events", str(toys), "-o", f"{tmp_path}/m.onnx"]
    assert run(words) == 2
    text = capsys.readouterr().err
    assert "cannot write this model as an ONNX graph" in text and "no such operator" in text
    assert "Traceback" not in text


def test_pairs_of_particles_bound_the_comparison(jets, monkeypatch):
    place, resolved = jets
    events = real_events([place], tiny(SMALL, resolved=resolved, particles=P4, species="hidden"))
    monkeypatch.setattr(onnx_check, "_PAIRS", 4000)
    batches = [case.given for case in cases(events) if case.name == "real events"]
    assert sum(map(len, batches)) == 60 and len(batches) > 3
    assert max(len(b) * b.is_real.shape[1] ** 2 for b in batches) <= 4000
