from __future__ import annotations

import pytest
import torch

from transferline.models.heads import Head
from transferline.models.model import ModelRecipe
from transferline.testing.batches import toy_batch

BACKBONE = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}


def test_a_head_is_a_linear_map_unless_asked():
    assert [tuple(p.shape) for p in Head().build(16, 2).parameters()] == [(2, 16), (2,)]
    deep = Head(hidden=(8, 4), dropout=0.1).build(16, 3)
    assert [len(p) for p in deep.parameters()] == [8, 8, 4, 4, 3, 3]


def test_outputs_have_the_size_of_the_task():
    model = ModelRecipe(backbone=BACKBONE, head=Head(), n_outputs=3).build()
    assert model(toy_batch(5)).shape == (5, 3)


def test_dimensions_are_derived_from_the_features():
    recipe = ModelRecipe(
        features={"particles": ["log_pt", "eta"], "species": "hidden"}, backbone=BACKBONE
    )
    assert recipe.build().backbone.embedding[0].in_features == 2


def test_without_a_head_there_are_no_outputs():
    with pytest.raises(RuntimeError, match="no head"):
        ModelRecipe(backbone=BACKBONE).build()(toy_batch(2))


def test_the_seed_fixes_the_weights():
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(ModelRecipe(backbone=BACKBONE).build().backbone.embedding[0].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
