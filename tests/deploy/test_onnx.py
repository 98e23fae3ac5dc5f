from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transferline.cli import run
from transferline.data.batch import Batch
from transferline.data.selections import selection
from transferline.deploy import onnx as exporting
from transferline.deploy import onnx_events
from transferline.deploy.batches import chosen, widened
from transferline.deploy.onnx_check import answers, reference, session
from transferline.deploy.onnx_description import describe
from transferline.deploy.onnx_events import real_events
from transferline.deploy.onnx_graph import RawColumns, columns_read
from transferline.errors import ConfigError, DataError, NumericalError
from transferline.files import file_hash
from transferline.models.backbones import BACKBONES
from transferline.models.checkpoint import Checkpoint
from transferline.models.features import Features
from transferline.models.heads import Head
from transferline.models.model import ModelRecipe
from transferline.testing import toy_batch, toy_shards

from ..learning.event_shards import write_nanoaod

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

EXPORTABLE = [name for name in BACKBONES.names() if name != "lgatr"]
SMALL = {"width": 16, "depth": 1, "heads": 2}
TASK = {"name": "toy", "signal": ["/private/place/s"], "background": ["b"]}


def tiny(name, **features):
    """A model of one architecture with constants fitted on toys, as a checkpoint."""
    cls = BACKBONES.load(name)
    sizes = {key: value for key, value in SMALL.items() if key in cls.model_fields}
    made = cls.example() if hasattr(cls, "example") else cls()
    backbone = cls.model_validate({**made.model_dump(), **sizes})
    recipe = ModelRecipe(backbone=backbone, features=Features(**features), head=Head(), n_outputs=2)
    torch.manual_seed(0)
    model = recipe.build()
    model.features.fit([toy_batch(64)])
    return Checkpoint.of(
        model,
        recipe,
        selection=selection("l1_j4_b1").to_dict(),
        provenance={"task": TASK, "classes": ["background", "signal"]},
        card="# Toy\n\nFor tests.\n\n## More\n",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module")
def exported(folder):
    """Export a backbone of the registry once, by the command, checked on a ROOT file."""
    file = write_nanoaod(folder / "events.root", 200, seed=1)

    @cache
    def export(name):
        checkpoint = tiny(name)
        checkpoint.save(folder / name / "checkpoint")
        out = folder / f"{name}.onnx"
        words = ["export", "onnx", f"{folder / name}", "-o", str(out), "--events", str(file)]
        opset = 18 if name == "transformer" else 21
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert run([*words, "--embedding", "--opset", str(opset)]) == 0
        model = checkpoint.model().eval()
        return SimpleNamespace(
            out=out,
            opset=opset,
            printed=printed.getvalue(),
            description=json.loads(Path(f"{out}.json").read_text()),
            model=model,
            module=RawColumns(model, columns_read(model, toy_batch(4)), embedding=True),
            runtime=session(out.read_bytes()),
        )

    return export


def assert_equal(found, expected, order=slice(None)):
    assert set(found) == {"logits", "probability", "pooled"}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name][order], atol=1e-5, rtol=1e-5)


def test_a_backbone_that_cannot_be_a_graph_is_refused(folder, capsys):
    pytest.importorskip("lgatr")
    tiny("lgatr").save(folder / "lgatr" / "checkpoint")
    out = folder / "lgatr.onnx"
    assert run(["export", "onnx", f"{folder / 'lgatr'}", "-o", str(out)]) == 2
    assert "lgatr cannot be written as an ONNX graph" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", EXPORTABLE)
def test_every_backbone_exports_and_passes_every_comparison(name, exported):
    found = exported(name)
    onnx.checker.check_model(found.out, full_check=True)
    assert "NonZero" not in {node.op_type for node in onnx.load(found.out).graph.node}
    check = found.description["check"]
    assert check["events"] == "events.root"
    assert check["tolerance"] == {"logits": 1e-4, "probability": 1e-5, "pooled": 1e-4}
    cases = {case["case"]: case for case in check["cases"]}
    assert {"real events", "longest event, alone", "longer than any in the data"} <= set(cases)
    assert {"empty event", "empty event, no place (p = 0)", "no event (n = 0)"} <= set(cases)
    assert cases["real events"]["events"] > 30
    assert cases["longer than any in the data"]["particles"] > 16
    for case in cases.values():
        assert case["difference"]["probability"] <= check["largest"]["probability"] <= 1e-5
    assert f"wrote ONNX graph, opset {found.opset}: {found.out}" in found.printed
    assert "real events" in found.printed


@pytest.mark.parametrize("name", EXPORTABLE)
@settings(max_examples=12)
@given(
    size=st.sampled_from([(1, 1), (1, 33), (2, 70), (7, 5), (7, 33), (512, 1), (512, 5)]),
    more=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
def test_graph_and_library_agree_on_any_batch(name, exported, size, more, seed):
    n, p = size
    found = exported(name)
    batch = toy_batch(n, max(p, 3), seed, fewest=0)
    batch = widened(batch, p)
    expected = reference(found.model, found.module, batch)
    assert_equal(answers(found.runtime, found.module, batch), expected)
    assert_equal(answers(found.runtime, found.module, hollowed(widened(batch, p + more))), expected)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(p))
    assert_equal(answers(found.runtime, found.module, permuted(batch, order)), expected)
    turned = np.arange(n)[::-1].copy()
    assert_equal(answers(found.runtime, found.module, chosen(batch, turned)), expected, turned)


def hollowed(batch: Batch) -> Batch:
    """Fill the padding with what a careless program may leave there."""
    rest = {name: v.where(batch.is_real, v.new_full((), 3)) for name, v in batch.columns.items()}
    p4 = batch.p4.where(batch.is_real.unsqueeze(-1), torch.tensor(-1.5))
    return batch.replace(p4=p4, columns=rest)


def permuted(batch: Batch, order: torch.Tensor) -> Batch:
    return batch.replace(
        p4=batch.p4[:, order],
        is_real=batch.is_real[:, order],
        columns={name: values[:, order] for name, values in batch.columns.items()},
    )


def test_the_description_is_what_the_graph_has(exported):
    found = exported("transformer")
    described, runtime = found.description, found.runtime
    types = {"float32": "tensor(float)", "bool": "tensor(bool)", "int64": "tensor(int64)"}
    for rows, nodes in (
        (described["inputs"], runtime.get_inputs()),
        (described["outputs"], runtime.get_outputs()),
    ):
        assert [(row["name"], row["axes"], types[row["dtype"]]) for row in rows] == [
            (node.name, node.shape, node.type) for node in nodes
        ]
        assert all(row.get("meaning") or row.get("columns") for row in rows)
    assert [row["name"] for row in described["inputs"]] == ["p4", "is_real", "charge", "species"]
    assert [row["unit"] for row in described["inputs"][0]["columns"]] == ["GeV", "", "rad", "GeV"]
    assert described["classes"] == ["background", "signal"]
    assert described["species"]["bjet"] == 4
    assert described["selection"] == selection("l1_j4_b1").to_dict()
    assert described["working_points"] == {"btag_min": 0.2489, "pu_id_bits_min": 1}
    assert described["checkpoint"]["card"] == "# Toy\n\nFor tests."
    weights = found.out.with_suffix("") / "checkpoint" / "model.safetensors"
    assert described["checkpoint"]["weights_sha256"] == file_hash(weights)
    assert described["sha256"] == file_hash(found.out)
    assert described["versions"]["torch"] == torch.__version__


def test_the_file_itself_carries_the_description_and_nothing_private(exported, folder):
    found = exported("transformer")
    graph = onnx.load(found.out, load_external_data=False)
    inside = {row.key: row.value for row in graph.metadata_props}
    for name, value in found.description.items():
        if name not in ("file", "sha256"):  # of the whole, so they cannot be inside
            assert inside[name] == (value if isinstance(value, str) else json.dumps(value))
    assert {row.domain: row.version for row in graph.opset_import} == {"": found.opset}
    assert not any(tensor.external_data for tensor in graph.graph.initializer)
    content = found.out.read_bytes() + Path(f"{found.out}.json").read_bytes()
    for private in (str(folder), "/private/place", "stack_trace", str(Path(torch.__file__).parent)):
        assert private.encode() not in content


def test_only_columns_that_the_model_reads_are_inputs():
    model = tiny("transformer", particles=("eta", "btag"), species="hidden").model()
    assert columns_read(model, toy_batch(2)) == ["btag"]
    with pytest.raises(DataError, match="'btag', which these events do not have"):
        columns_read(model, toy_batch(2).replace(columns={}))


@pytest.fixture
def traced(exported, monkeypatch):
    """Spare the tracing: the exporter finds the finished graph, changed by `traced(change)`."""
    graph = onnx.load(exported("transformer").out)
    del graph.metadata_props[:]

    def give(change=lambda graph: None):
        def copy(*_):
            fresh = onnx.ModelProto()
            fresh.CopyFrom(graph)
            change(fresh)
            return fresh

        monkeypatch.setattr(exporting, "onnx_graph", copy)

    return give


def shift_a_bias(graph):
    """The smallest fault: one number of the head is off by a thousandth."""
    bias = next(t for t in graph.graph.initializer if "head" in t.name and len(t.dims) == 1)
    values = onnx.numpy_helper.to_array(bias) + np.float32([1e-3, 0])
    bias.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), bias.name))


def make_dirty(graph):
    """Let padding through: replace the mask of real particles by all True."""
    for node in graph.graph.node:
        if node.op_type == "Not":
            node.op_type = "Identity"


@pytest.mark.parametrize("fault", [shift_a_bias, make_dirty])
def test_a_graph_that_differs_is_not_written(fault, traced, folder, tmp_path, capsys):
    traced()
    out, beside = tmp_path / "model.onnx", tmp_path / "model.onnx.json"
    words = ["export", "onnx", f"{folder}/transformer", "--embedding"]
    words += ["--events", f"{folder}/events.root", "--out", str(out)]
    assert run(words) == 0
    before = out.read_bytes(), beside.read_bytes()
    traced(fault)
    capsys.readouterr()
    assert run(words) == NumericalError.exit_code
    assert "ONNX Runtime and torch differ on 'real events' by" in capsys.readouterr().err
    assert (out.read_bytes(), beside.read_bytes()) == before
    assert run([*words[:-1], f"{tmp_path}/other.onnx"]) == NumericalError.exit_code
    assert sorted(tmp_path.iterdir()) == [out, beside]


def test_a_graph_that_was_interrupted_has_no_old_description(traced, folder, tmp_path, monkeypatch):
    traced()
    out = tmp_path / "model.onnx"
    events = [folder / "events.root"]
    export = {"place": folder / "transformer", "out": out, "embedding": True, "events": events}
    exporting.export_onnx(**export)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        exporting.export_onnx(**export)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf'{package}: pip install "transferline\[onnx\]"'):
        exporting.export_onnx("shipped", tmp_path / "model.onnx")


def test_wrong_arguments_are_named(tmp_path):
    out = tmp_path / "model.onnx"
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        exporting.export_onnx("shipped", tmp_path / "model")
    with pytest.raises(ConfigError, match="--embedding, or train it on a task first"):
        exporting.export_onnx("shipped", out)
    for opset in (3, 1000):
        with pytest.raises(ConfigError, match=f"--opset {opset}: choose 17 to"):
            exporting.export_onnx("shipped", out, embedding=True, opset=opset)
    assert not list(tmp_path.iterdir())


def selecting(resolved):
    """A model that was trained with this selection."""
    return replace(tiny("transformer"), selection=resolved)


def test_events_come_from_the_package_from_shards_or_from_files(tmp_path):
    assert len(real_events([], selecting(None)).batch) > 5000
    shards = toy_shards(tmp_path / "toys", 30)
    found = real_events([shards], selecting(None))
    assert (len(found.batch), found.source) == (30, "toys")
    assert found.sizes.max() == found.batch.is_real.shape[1]
    file = write_nanoaod(tmp_path / "a.root", 100, seed=2)
    with pytest.raises(ConfigError, match="shards or files, not both"):
        real_events([shards, file], selecting(None))
    with pytest.raises(ConfigError, match="names no selection"):
        real_events([file], selecting(None))
    tight = selection("l1_j4_b1").to_dict()
    tight["cuts"]["jets_min"] = 50
    with pytest.raises(DataError, match=r"a\.root: no event passes the selection 'l1_j4_b1'"):
        real_events([file], selecting(tight))


def test_files_give_the_events_that_prepare_gives(tmp_path):
    file = write_nanoaod(tmp_path / "a.root", 100, seed=2)
    words = ["prepare", str(file), "--selection", "l1_j4_b1", "--out", f"{tmp_path}/shards"]
    assert run(words) == 0
    from_file = real_events([file], tiny("transformer")).batch
    from_shards = real_events([tmp_path / "shards"], tiny("transformer")).batch
    for name in ("p4", "is_real", "weight", "id"):
        torch.testing.assert_close(getattr(from_file, name), getattr(from_shards, name))
    for name, values in from_shards.columns.items():
        torch.testing.assert_close(from_file.columns[name], values)


def test_the_description_holds_no_place_of_the_machine_that_trained(tmp_path):
    resolved = {**selection("l1_j4_b1").to_dict(), "golden_json": "/private/place/golden.json"}
    card = (
        "# Toy\n\n- seed 0\n- command: `transferline pretrain /private/place/a.yaml`\n\n## Data\n"
    )
    made = replace(tiny("transformer"), selection=resolved, card=card).save(tmp_path / "made")
    checkpoint = Checkpoint.load(made)
    module = RawColumns(checkpoint.model(), ["charge", "species"], embedding=False)
    opset = SimpleNamespace(version=18)
    graph = SimpleNamespace(opset_import=[opset], ir_version=8)
    described = describe(checkpoint, made, module, graph)
    assert "/private" not in json.dumps(described) and "command" not in json.dumps(described)
    assert described["selection"] == {**resolved, "golden_json": "golden.json"}
    assert described["checkpoint"]["card"] == "# Toy\n\n- seed 0"
    assert described["working_points"]["btag_min"] == 0.2489


def test_large_samples_are_compared_evenly_with_the_longest_event(tmp_path, monkeypatch):
    resolved = tiny("transformer")
    files = [write_nanoaod(tmp_path / f"{i}.root", 150, seed=i) for i in (1, 2, 3)]
    whole = real_events(files, resolved)
    for most, chunk in ((20, 20_000), (20, 31), (1, 50)):
        monkeypatch.setattr(onnx_events, "MOST_EVENTS", most)
        monkeypatch.setattr(onnx_events, "_CHUNK", chunk)
        part = real_events(files, resolved)
        assert most // 2 <= len(part.batch) <= most + 1
        assert part.sizes.max() == whole.sizes.max()
        if most > 1:
            assert part.batch.id[:, 1].unique().tolist() == [1, 2, 3]  # the luminosity blocks
        every = set(map(tuple, whole.batch.id.tolist()))
        mine = list(map(tuple, part.batch.id.tolist()))
        assert len(set(mine)) == len(mine) and set(mine) <= every
