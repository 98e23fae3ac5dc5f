"""The mode `fixed`: weights stand still, BatchNorm follows the new events."""

from __future__ import annotations

import pytest
import torch

from transferline.errors import ConfigError
from transferline.learning import network_run
from transferline.learning.adaptation import transfer
from transferline.learning.modes import BrokenTransferError
from transferline.learning.network_run import Adaptation
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.tasks.event_classification import EventClassification
from transferline.models.checkpoint import Checkpoint

from .event_shards import write_shards

GNN = {"kind": "gnn", "width": 16, "depth": 2}
TRANSFORMER = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fixed")
    return [str(write_shards(folder, 500, seed=i, hardness=h)) for i, h in ((1, 1.6), (2, 1.0))]


def pretrained(shards, out, backbone):
    config = PretrainConfig.model_validate(
        {
            "data": {"kind": "shards", "files": shards},
            "classes": {"hard": shards[:1], "soft": shards[1:]},
            "backbone": backbone,
            "objective": {"kind": "supervised"},
            "optim": {"steps": 20, "batch_size": 64},
        }
    )
    return Checkpoint.load(pretrain(config, out, label=None))


def run(checkpoint, shards, mode, out):
    task = EventClassification(name="toy", signal=shards[:1], background=shards[1:])
    how = Adaptation.model_validate({"optim": {"steps": 20, "batch_size": 64}, "lr": [1e-2]})
    return transfer(
        checkpoint, task, mode, n_train=200, seed=0, how=how, out=out, keep_checkpoint=True,
        allow_overlap=True,
    )  # fmt: skip


def test_weights_stay_and_running_values_follow(shards, tmp_path):
    start = pretrained(shards, tmp_path / "pre", GNN)
    record = run(start, shards, "fixed", tmp_path / "run")
    found = record.hashes
    assert found.loaded == found.start != found.end
    assert found.weights_start == found.weights_end
    before = start.backbone().backbone.state_dict()
    after = Checkpoint.load(tmp_path / "run" / "checkpoint").model().backbone.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    parameters = dict(start.backbone().backbone.named_parameters())
    assert moved
    assert moved.isdisjoint(parameters)
    assert all("running" in name or "num_batches" in name for name in moved)


def test_frozen_moves_not_even_those(shards, tmp_path):
    start = pretrained(shards, tmp_path / "pre", GNN)
    found = run(start, shards, "frozen", tmp_path / "run").hashes
    assert found.loaded == found.start == found.end


def test_a_weight_that_moves_raises(shards, tmp_path, monkeypatch):
    start = pretrained(shards, tmp_path / "pre", GNN)
    genuine = network_run.fit

    def leaking(objective, *rest, **named):
        result = genuine(objective, *rest, **named)
        with torch.no_grad():
            next(objective.model.backbone.parameters()).add_(1e-6)
        return result

    monkeypatch.setattr(network_run, "fit", leaking)
    with pytest.raises(BrokenTransferError, match="fixed: weights moved"):
        run(start, shards, "fixed", tmp_path / "run")


def test_a_backbone_without_batch_norm_has_no_such_mode(shards, tmp_path):
    start = pretrained(shards, tmp_path / "pre", TRANSFORMER)
    with pytest.raises(ConfigError, match="mode fixed: this backbone has no BatchNorm"):
        run(start, shards, "fixed", tmp_path / "run")
