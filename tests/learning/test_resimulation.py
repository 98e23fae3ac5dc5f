"""Resimulation: pairs are jets of one event, and a pre-training on them is one of jets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from transferline.data.prepare import prepare
from transferline.data.readers.hbb import Hbb
from transferline.data.selections.kinds import load_selection
from transferline.errors import DataError
from transferline.learning.objectives.resimulation import Resimulation, two_of_each
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.models.checkpoint import Checkpoint
from transferline.testing.batches import toy_batch, toy_replicas
from transferline.testing.objective import tiny_model

from ..data import jet_files
from .jet_shards import write_jet_shards

CONFIG = {
    "features": {"particles": ["log_pt", "delta_eta", "delta_phi"], "species": "hidden"},
    "backbone": {"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
    "objective": {"kind": "resimulation", "hidden": 32, "projection": 16},
    "optim": {"steps": 6, "batch_size": 32},
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Sixty events of two jets."""
    folder = tmp_path_factory.mktemp("pairs")
    counts = np.random.default_rng(0).integers(3, 16, 120)
    jets = jet_files.random_jets(120, seed=0, counts=counts)
    file = jet_files.write_hbb_jagged(folder / "p.root", jets, np.full(60, 2), scalars=False)
    prepare(Hbb(files=[str(file)], sets="events"), load_selection("replicas"), folder / "shards")
    return folder / "shards"


def test_two_different_jets_of_one_event_are_drawn_and_others_left_out():
    batch = toy_replicas(20)
    seen = set()
    for _ in range(10):
        first, second = two_of_each(batch)
        assert torch.equal(batch.parent[first], torch.arange(20))
        assert torch.equal(batch.parent[second], torch.arange(20))
        assert (first != second).all()
        seen |= set(first.tolist())
    assert seen == set(range(40))  # each of both comes first


def test_the_loss_knows_the_partner():
    torch.manual_seed(0)
    objective = Resimulation.example().build(tiny_model()).eval()
    batch = toy_replicas(20)
    sets = batch.sets.replace(p4=batch.sets.p4[batch.parent * 2])  # both replicas are one
    same = type(batch)(sets, batch.parent, batch.events)
    assert objective(same).parts["accuracy"] == 1.0
    turned = sets.replace(p4=torch.cat([sets.p4[1:], sets.p4[:1]]))
    assert objective(type(batch)(turned, batch.parent, batch.events)).parts["accuracy"] < 0.3


def test_a_pretraining_on_replicas_gives_a_backbone_of_jets(pairs, tmp_path):
    config = PretrainConfig.model_validate({"data": {"files": [str(pairs)]}, **CONFIG})
    checkpoint = Checkpoint.load(pretrain(config, tmp_path / "out", label=None))
    assert checkpoint.provenance["n_train"] < 60  # pairs, not jets
    latent = checkpoint.model().eval().latent(toy_batch(8))
    assert latent.pooled.isfinite().all()


def test_single_jets_are_refused(tmp_path):
    place = write_jet_shards(tmp_path, "Hbb", 20, seed=1)
    config = PretrainConfig.model_validate({"data": {"files": [str(place)]}, **CONFIG})
    with pytest.raises(DataError, match="jet_events"):
        pretrain(config, tmp_path / "out", label=None)
    with pytest.raises(DataError, match="replicas"):
        Resimulation.example().build(tiny_model())(toy_batch(4))
