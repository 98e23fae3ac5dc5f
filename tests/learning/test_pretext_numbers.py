"""Where a user sees what a pre-training learnt, beside what counting gets, and what it looks at."""

from __future__ import annotations

import json

import numpy as np
import pytest

from transferline.cli import run
from transferline.evaluation.records import read
from transferline.learning.source_facts import source_facts
from transferline.learning.training_log import TrainingLog, history
from transferline.models.checkpoint import Checkpoint
from transferline.reporting.attention_plot import received, with_attention
from transferline.reporting.pretext_table import (
    cost_of_checkpoint,
    costs_of_records,
    of_checkpoint,
    of_records,
    pretext_table,
)

from .event_shards import write_shards

NUMBERS = ("loss", "accuracy", "counting_types", "counting_objects")
PRETRAINING = """
data: {{kind: shards, files: [{shards}]}}
backbone: {{kind: transformer, width: 16, depth: 2, heads: 2}}
objective: {{kind: replaced_object}}
optim: {{steps: 4, batch_size: 64}}
valid_share: 0.2
"""
TASK = """
task: {{kind: event_classification, name: toy, signal: [{signal}], background: [{background}]}}
finetuned: {{optim: {{steps: 4, batch_size: 16}}}}
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A pre-training and a fine-tuning of it, by the commands."""
    folder = tmp_path_factory.mktemp("pretext")
    names = {name: write_shards(folder, 400, seed=i) for i, name in enumerate("abc")}
    (folder / "pre.yaml").write_text(PRETRAINING.format(shards=names["a"]))
    task = TASK.format(signal=names["b"], background=names["c"])
    (folder / "task.yaml").write_text(task)
    return folder


@pytest.fixture(scope="module")
def pretrained(places):
    assert run(["pretrain", f"{places}/pre.yaml", "--out", f"{places}/pre"]) == 0
    return places / "pre"


@pytest.fixture(scope="module")
def tuned(pretrained, places):
    words = ["transfer", str(pretrained), f"{places}/task.yaml", "--mode", "finetuned"]
    assert run([*words, "--n-train", "60", "--out", f"{places}/tuned"]) == 0
    return read(places / "tuned" / "records.jsonl")


def test_the_command_prints_counting_beside_the_accuracy(places, capsys):
    words = ["pretrain", f"{places}/pre.yaml", "--out", f"{places}/again"]
    assert run([*words, "--set", "optim.steps=2"]) == 0
    [line] = [row for row in capsys.readouterr().out.splitlines() if "validation" in row]
    assert all(f"{name} " in line for name in NUMBERS)
    card = (places / "again" / "card.md").read_text()
    assert line.partition("validation")[2].strip() in card


def test_the_record_of_a_transfer_holds_both(pretrained, tuned):
    made = Checkpoint.load(pretrained).provenance
    logged = [json.loads(row) for row in (pretrained / "metrics.jsonl").read_text().splitlines()]
    found = tuned[0].extra["pretext"]
    assert tuple(found) == NUMBERS
    assert found["counting_types"] == made["validation"]["counting_types"]
    assert found["accuracy"] in [row["val_accuracy"] for row in logged]


def test_the_record_tells_events_and_losses_of_the_pretraining(pretrained, tuned):
    made = Checkpoint.load(pretrained).provenance
    found = tuned[0].extra["pretraining"]
    assert found["events"] == made["n_train"]
    assert found["losses"] == history(pretrained / "metrics.jsonl")
    changes = ({"n_train": 7}, {"seed": 7})
    others = [{**made, "config": {**made["config"], **change}} for change in changes]
    families = [source_facts(other)["pretraining"]["family"] for other in others]
    assert [family == found["family"] for family in families] == [True, False]


def test_a_long_loss_curve_is_thinned_and_keeps_its_end(tmp_path):
    log = TrainingLog(tmp_path)
    for step in range(1, 101):
        log.add({"step": step, "train_loss": 1 / step, "val_loss": 2 / step})
    kept = history(tmp_path / "metrics.jsonl", most=40)["step"]
    assert (kept[0], kept[-1]) == (1, 100)
    assert len(kept) <= 41
    assert len(set(np.diff(kept[:-1]))) == 1


def test_a_results_page_shows_both(tuned, places):
    scratch = tuned[0].model_copy(update={"extra": {}})  # it bears the name, too, and comes last
    table = pretext_table(of_records([*tuned, scratch]))
    assert table.header == ("Pre-training", *(name.replace("_", " ") for name in NUMBERS))
    shown = tuned[0].extra["pretext"]
    assert table.rows == (("pre", *(f"{shown[name]:.4f}" for name in NUMBERS)),)
    out = places / "results.md"
    assert run(["report", f"{places}/tuned/records.jsonl", "--markdown", str(out)]) == 0
    assert table.markdown() in out.read_text()


def test_the_report_reads_the_same_from_the_checkpoint(pretrained, tuned):
    config = json.loads((pretrained / "config.json").read_text())
    assert of_checkpoint(config) == tuned[0].extra["pretext"]
    scratch = tuned[0].model_copy(update={"mode": "scratch", "extra": {}})  # named after it
    [cost] = costs_of_records([tuned[0], scratch]).values()
    assert cost_of_checkpoint(config).items() <= cost.items()
    assert cost["passes"] > 0


@pytest.mark.parametrize("config", [None, [], {"provenance": None}, {"provenance": {"result": 1}}])
def test_older_or_damaged_checkpoints_have_no_row(config):
    assert of_checkpoint(config) == {}
    assert not pretext_table({"old": of_checkpoint(config)}).rows


def test_a_transformer_shows_what_it_attends_to(pretrained, tuned):
    """In the source, before and after tuning: the table and the plot that the GAT has."""
    source = Checkpoint.load(pretrained).provenance["attention"]
    assert source["kinds"] == ["lepton", "b jet", "jet", "MET"]
    assert len(source["blocks"]) == 2
    assert with_attention(tuned) == tuned
    for stage in ("source", "start", "end"):
        shares = received(tuned[0], stage)
        assert all(0.5 < share < 2 for share in shares.values())
    assert received(tuned[0], "source") == {
        kind: pytest.approx(sum(block[-1][i] for block in source["blocks"]) / 2)
        for i, kind in enumerate(source["kinds"])
    }
