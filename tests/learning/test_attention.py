from __future__ import annotations

import numpy as np
import pytest
import torch

from transferline.data.events import SPECIES
from transferline.data.readers.shards import ShardSet
from transferline.learning.attention import attention_by_kind
from transferline.models.backbones.gat import GAT, AttentionConvolution
from transferline.models.model import ModelRecipe
from transferline.testing.batches import toy_batch

from .event_shards import write_shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return ShardSet([write_shards(tmp_path_factory.mktemp("attention"), 300, seed=1)])


def gat(width=16, depth=2):
    torch.manual_seed(0)
    model = ModelRecipe(backbone=GAT(width=width, depth=depth, heads=2)).build()
    model.features.fit([toy_batch(100)])
    return model.eval()


def test_rows_of_real_particles_sum_to_one_and_padding_gets_nothing():
    model, batch = gat(), toy_batch(20)
    for alpha in model.backbone.attention(model.features(batch)):
        real = batch.is_real
        torch.testing.assert_close(alpha.sum(-1)[real], torch.ones(int(real.sum())))
        assert not alpha.masked_select(real[:, :, None] & ~real[:, None, :]).any()


def test_attention_is_that_of_the_fast_kernel():
    model, batch = gat(), toy_batch(20)
    inputs = model.features(batch)
    seen = []
    for module in model.backbone.modules():
        if isinstance(module, AttentionConvolution):
            module.register_forward_hook(lambda m, args, out: seen.append(m.attend(*args)[1]))
    model.backbone(inputs)
    for alpha, fast in zip(model.backbone.attention(inputs), seen, strict=True):
        n, at = len(alpha), 0
        for k in range(n):
            size = int(batch.is_real[k].sum())
            table = fast[:, at : at + size * size].view(-1, size, size).mean(0)
            chosen = alpha[k][batch.is_real[k]][:, batch.is_real[k]]
            torch.testing.assert_close(chosen, table, atol=1e-5, rtol=1e-4)
            at += size * size


def test_where_nothing_says_what_particles_are_there_is_no_table(shards, monkeypatch):
    model, rows = gat(), np.arange(len(shards))
    assert attention_by_kind(model, shards, rows)
    monkeypatch.setattr(shards, "columns", [n for n in shards.columns if n != "species"])
    assert attention_by_kind(model, shards, rows) is None


def test_without_preference_all_kinds_count_one(shards):
    model = gat()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, AttentionConvolution):
                module.attention.zero_()
    found = attention_by_kind(model, shards, np.arange(len(shards)))
    assert found["kinds"] == ["lepton", "b jet", "jet", "MET"]
    assert np.allclose(found["blocks"], 1)


@pytest.mark.parametrize("kind", ["b jet", "MET"])
def test_a_preference_for_one_kind_shows_where_it_is(shards, kind):
    """One block that looks at a single input: the bit of one species."""
    model = gat(depth=1)
    [convolution] = [m for m in model.modules() if isinstance(m, AttentionConvolution)]
    species = {"b jet": "bjet", "MET": "met"}[kind]
    bit = len(model.features.recipe.particles) + SPECIES[species] - 1
    with torch.no_grad():
        convolution.linear.weight.zero_()
        convolution.linear.weight[:, bit] = 1.0
        convolution.attention.fill_(0.2)
    found = attention_by_kind(model, shards, np.arange(len(shards)))
    place = found["kinds"].index(kind)
    everyone = found["blocks"][0][-1]
    assert everyone[place] > 1.3
    others = [value for i, value in enumerate(everyone) if i != place]
    assert max(others) < 1
    rows = np.array(found["blocks"][0])
    assert np.allclose(rows[:, place], everyone[place], atol=0.4)


def test_backbones_without_attention_show_none(shards):
    model = ModelRecipe.model_validate({"backbone": {"kind": "gnn", "width": 16, "depth": 1}})
    assert attention_by_kind(model.build().eval(), shards, np.arange(10)) is None
