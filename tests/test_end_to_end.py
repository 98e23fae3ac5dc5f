"""From nothing to a report, with real collisions: once command by command, once as the demo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import transferline.demo as demonstration
from transferline.cli import run
from transferline.config import load_config
from transferline.errors import ConfigError
from transferline.evaluation import records
from transferline.learning.study_config import StudyConfig
from transferline.models.checkpoint import Checkpoint

pytest.importorskip("pythia8mc")

PRETRAIN = """
data: {{kind: shards, files: [{0}/ttbar]}}
backbone: {{kind: transformer, width: 16, depth: 1, heads: 2}}
objective: {{kind: {1}}}
optim: {{steps: 20, batch_size: 32, validate_every: 10}}
"""

TASK = """
task: {{kind: event_classification, name: ttH_bb, signal: [{0}/ttH], background: [{0}/ttbar]}}
scratch: &network {{optim: {{steps: 10, batch_size: 16}}}}
frozen: *network
finetuned: *network
trees: {{leaves: [3], rounds: 10}}
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two processes, generated and prepared by the commands."""
    folder = tmp_path_factory.mktemp("chain")
    for seed, (name, process, n) in enumerate(
        (("ttH", "ttH_bb_1l", 250), ("ttbar", "ttbar_1l", 450))
    ):
        root = f"{folder}/{name}.root"
        generate = ["generate", "events", process, "--no-mpi", "--filter", "emu_jets", "-o", root]
        assert run([*generate, "-n", str(n), "--seed", str(seed)]) == 0
        assert run(["inspect", root]) == 0
        prepare = ["prepare", root, "--selection", "l1_j4_b1", "-o", f"{folder}/{name}"]
        assert run([*prepare, "--sample", name]) == 0
    return folder


@pytest.fixture(scope="module", params=["masked_type", "replaced_object"])
def checkpoint(request, shards):
    config = shards / f"pretrain_{request.param}.yaml"
    config.write_text(PRETRAIN.format(shards, request.param))
    place = shards / request.param
    assert run(["pretrain", str(config), "--out", str(place)]) == 0
    return place


def test_generated_events_carry_their_provenance(shards):
    card = json.loads((shards / "ttH" / "card.json").read_text())
    assert card["cross_section_pb"] == pytest.approx(0.1297)
    assert card["sum_weight"] > card["cutflow"][0]["events"]  # before the process-level filter
    assert card["provenance"][0]["process"] == "ttH_bb_1l"
    assert [step["events"] for step in card["cutflow"]] == sorted(
        (step["events"] for step in card["cutflow"]), reverse=True
    )


def test_one_transfer_in_every_mode(shards, checkpoint, tmp_path, capsys):
    (tmp_path / "task.yaml").write_text(TASK.format(shards))
    found = []
    for mode in ("scratch", "frozen", "finetuned", "trees"):
        out = tmp_path / mode
        words = ["transfer", str(checkpoint), f"{tmp_path}/task.yaml", "--mode", mode]
        words += ["--allow-overlap"]  # its background is what the backbone was pre-trained on
        assert run([*words, "--n-train", "40", "--out", str(out)]) == 0
        found += records.read(out / "records.jsonl")
    by_mode = {record.mode: record for record in found}
    loaded = Checkpoint.load(checkpoint).backbone_hash()
    assert by_mode["frozen"].hashes.end == by_mode["finetuned"].hashes.start == loaded
    assert by_mode["scratch"].hashes.start != loaded
    assert by_mode["finetuned"].hashes.end != loaded
    assert {record.n_train for record in found} == {40}
    assert all(0 < record.metrics["auc"].value < 1 for record in found)
    assert "next:  transferline report" in capsys.readouterr().out


SMALL = [
    "samples.ttH.n=250",
    "samples.ttbar.n=700",
    "samples.unlabelled.n=250",
    "grid.n_train=[20, 40]",
    "grid.seeds=2",
    "pretrain.backbone.backbone={kind: transformer, width: 16, depth: 1, heads: 2}",
    "pretrain.backbone.optim={steps: 10, batch_size: 32}",
    *(f"{mode}.optim.steps=8" for mode in ("scratch", "frozen", "finetuned")),
    *(f"{mode}.lr=[1e-3]" for mode in ("scratch", "frozen", "finetuned")),
    *(f"{mode}.min_steps=4" for mode in ("scratch", "frozen", "finetuned")),
    "finetuned.head_first.steps=4",
    "trees={leaves: [3], rounds: 10}",
]


@pytest.fixture
def small_demo(monkeypatch):
    """The demonstration from scratch, with everything small."""
    shipped = Path(demonstration.__file__).parent / "shipped"
    config = load_config(shipped / "demo_from_scratch.yaml", StudyConfig, SMALL)
    monkeypatch.setattr(demonstration, "demo_config", lambda from_scratch: config)


def test_the_demonstration_goes_from_collisions_to_the_report(
    small_demo, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "demo"
    words = ["demo", "--from-scratch", "--out", str(out), "--jobs", "1"]
    assert run(words) == 0
    text = capsys.readouterr().out
    for mode in ("trees", "scratch", "frozen", "finetuned"):
        assert any(line.startswith(mode) and line.count("±") == 2 for line in text.splitlines())
    page = out / "report" / "report.html"
    assert f"wrote report, open it in a browser: {page}" in text
    assert "<script src" not in page.read_text()
    done = records.read(out / "records.jsonl")
    assert len(done) == 4 * 2 * 2
    monkeypatch.setattr(demonstration, "write_report", lambda *_: page)  # drawn once is enough
    assert run(words) == 0  # nothing is done twice
    assert len(records.read(out / "records.jsonl")) == len(done)


def test_without_a_generator_the_demonstration_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(demonstration, "find_spec", lambda name: None)
    monkeypatch.setattr(demonstration, "_SHIPPED", tmp_path)
    (tmp_path / "demo.yaml").write_text(
        (Path(demonstration.__file__).parent / "shipped" / "demo.yaml").read_text()
    )
    with pytest.raises(ConfigError, match=r"pip install 'transferline\[generate\]'"):
        demonstration.demo_config()
