from __future__ import annotations

import json
import pickle

import pytest
import torch
from torch import nn

from transferline.errors import DataError
from transferline.models.checkpoint import Checkpoint, load_exactly
from transferline.models.heads import Head
from transferline.models.model import ModelRecipe, weight_hash
from transferline.testing.batches import toy_batch

RECIPE = ModelRecipe(
    backbone={"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
    head=Head(hidden=(8,)),
    n_outputs=2,
)


@pytest.fixture
def model():
    torch.manual_seed(3)
    model = RECIPE.build()
    model.features.fit([toy_batch(64)])
    return model.eval()


@pytest.fixture
def saved(model, tmp_path):
    checkpoint = Checkpoint.of(
        model, RECIPE, selection={"name": "any"}, provenance={"seed": 3}, card="# A card\n"
    )
    return checkpoint.save(tmp_path / "checkpoint")


def test_everything_comes_back(model, saved):
    loaded = Checkpoint.load(saved)
    assert loaded.recipe == RECIPE
    assert (loaded.selection, loaded.provenance) == ({"name": "any"}, {"seed": 3})
    assert loaded.card == "# A card\n"
    assert weight_hash(loaded.model()) == weight_hash(model)
    batch = toy_batch()
    assert torch.equal(loaded.model().eval()(batch), model(batch))


def test_the_backbone_comes_without_the_head(model, saved):
    backbone = Checkpoint.load(saved).backbone()
    assert backbone.head is None
    assert weight_hash(backbone.features, backbone.backbone) == weight_hash(
        model.features, model.backbone
    )
    assert Checkpoint.load(saved).backbone_hash() == weight_hash(model.features, model.backbone)


def test_a_redrawn_backbone_shares_architecture_and_constants_only(model, saved):
    loaded = Checkpoint.load(saved)
    one, again, other = loaded.redrawn(1), loaded.redrawn(1), loaded.redrawn(2)
    torch.manual_seed(1)  # as a pre-training of that seed begins
    begun = loaded.recipe.model_copy(update={"head": None, "n_outputs": None}).build()
    assert weight_hash(one.backbone) != weight_hash(begun.backbone)
    assert weight_hash(one.features) == weight_hash(model.features)
    assert weight_hash(one.backbone) == weight_hash(again.backbone)
    hashes = {weight_hash(m.backbone) for m in (model, one, other)}
    assert len(hashes) == 3


def test_redrawing_leaves_the_global_generator_alone(saved):
    loaded = Checkpoint.load(saved)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loaded.redrawn(1)
    assert torch.equal(torch.rand(3), expected)


def test_a_saved_directory_holds_three_files_and_leaves_others_alone(saved):
    (saved / "metrics.jsonl").write_text("{}")
    Checkpoint.load(saved).save(saved)
    assert sorted(path.name for path in saved.iterdir()) == [
        "card.md",
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
    ]


def test_weights_that_do_not_belong_to_the_configuration_do_not_load(saved, tmp_path):
    loaded = Checkpoint.load(saved)
    other = Checkpoint.of(loaded.redrawn(9), loaded.recipe).save(tmp_path / "other")
    (other / "model.safetensors").replace(saved / "model.safetensors")
    with pytest.raises(DataError, match="not those that were saved"):
        Checkpoint.load(saved)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(DataError, match=name):
        Checkpoint.load(saved)


def test_a_directory_that_is_no_checkpoint(tmp_path):
    with pytest.raises(DataError, match="is not a checkpoint"):
        Checkpoint.load(tmp_path)


def test_changed_bytes_are_noticed(saved):
    weights = saved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(DataError, match="not those that were saved"):
        Checkpoint.load(saved)


def test_an_unknown_format_is_refused(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(DataError, match="format 99 is not 1"):
        Checkpoint.load(saved)


def test_a_damaged_configuration_is_named(saved):
    (saved / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json: is damaged"):
        Checkpoint.load(saved)


def test_a_pickle_is_never_executed(saved):
    ran = []

    class Payload:
        def __reduce__(self):
            return ran.append, (1,)

    (saved / "model.safetensors").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(DataError):
        Checkpoint.load(saved)
    assert not ran


def test_tensors_of_another_architecture_raise_and_are_listed(saved):
    loaded = Checkpoint.load(saved)
    tensors = dict(loaded.tensors)
    tensors["backbone.extra"] = torch.zeros(1)
    del tensors["backbone.final_norm.weight"]
    tensors["features.mean"] = torch.zeros(2)
    broken = Checkpoint(recipe=loaded.recipe, tensors=tensors)
    with pytest.raises(DataError) as caught:
        broken.model()
    text = str(caught.value)
    assert "missing: backbone.final_norm.weight" in text
    assert "not part of the model: backbone.extra" in text
    assert "features.mean: shape (2,), the model needs (6,)" in text


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.head = nn.Linear(2, 1)


def test_only_what_is_named_fresh_may_be_missing():
    module, source = Two(), Two()
    tensors = {name: t for name, t in source.state_dict().items() if name.startswith("body")}
    before = module.head.weight.clone()
    with pytest.raises(DataError, match=r"missing: head\.bias"):
        load_exactly(module, tensors)
    load_exactly(module, tensors, fresh=("head.*",))
    assert torch.equal(module.body.weight, source.body.weight)
    assert torch.equal(module.head.weight, before)


def test_only_what_is_named_unused_may_be_left_over():
    module, tensors = nn.Linear(2, 2), {**nn.Linear(2, 2).state_dict(), "old.x": torch.ones(1)}
    with pytest.raises(DataError, match=r"not part of the model: old\.x"):
        load_exactly(module, tensors)
    load_exactly(module, tensors, unused=("old.*",))


def test_the_hash_sees_buffers_names_and_bits():
    norm = nn.BatchNorm1d(2)
    before = weight_hash(norm)
    norm.running_mean += 1e-7
    assert weight_hash(norm) != before
    assert weight_hash(nn.Identity()) != before
