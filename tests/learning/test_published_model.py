"""The published network by its parts: where a user finds embedding, feature and classifier."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from transferline.config import load_config
from transferline.errors import ConfigError
from transferline.learning.objectives.joint import Joint
from transferline.learning.objectives.replaced_object import ReplacedObject
from transferline.learning.optim import Optim
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.learning.study_config import StudyConfig
from transferline.models.backbones.gat import GAT
from transferline.models.checkpoint import Checkpoint
from transferline.models.features import Features
from transferline.models.heads import Head
from transferline.models.model import Model, ModelRecipe, parameter_counts
from transferline.models.shipped import (
    resolve_checkpoint,
    shipped_checkpoint,
    shipped_checkpoints,
)
from transferline.testing.objective import tiny_model

from .event_shards import write_shards

STUDIES = Path(__file__).parents[2] / "studies"
TRANSFORMER = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}


def test_the_paper_configuration_has_the_counted_size():
    """10,525,445 with eleven inputs; ours are thirteen, and a dummy of its own is learnt."""
    variant = load_config(STUDIES / "spine" / "paper.yaml", StudyConfig).pretrain["replaced_object"]
    model = ModelRecipe(features=variant.features, backbone=variant.backbone).build()
    assert model.features.spec.n_features == 13
    counts = parameter_counts(variant.objective.build(model))
    assert counts == {
        "embedding": 3_584 + 2 * 256,
        "feature": 10_520_576,
        "classifier": 1_285,
        "other": 256,
    }
    padding = variant.objective.model_copy(update={"dummy": "removed"})
    own = parameter_counts(padding.build(model))
    assert sum(own.values()) == 10_525_445 + 2 * 256


def test_every_parameter_belongs_to_one_part():
    model = tiny_model()
    for recipe in (ReplacedObject(), Joint.example()):
        objective = recipe.build(model)
        counts = parameter_counts(objective)
        assert sum(counts.values()) == sum(p.numel() for p in objective.parameters())
        backbone = sum(p.numel() for p in model.backbone.parameters())
        assert counts["embedding"] + counts["feature"] == backbone
        assert counts["embedding"] == sum(p.numel() for p in model.backbone.embedding.parameters())


def test_the_graph_network_of_the_earlier_paper_is_all_feature_module():
    features = Features(particles=("log10_pt", "eta", "phi", "log10_mass"), species="integer")
    backbone = GAT().build(features.build().spec)
    counts = parameter_counts(Model(features.build(), backbone, Head().build(256, 2)))
    assert counts == {"embedding": 0, "feature": 334_848, "classifier": 514, "other": 0}


def test_the_model_card_names_the_parts(tmp_path):
    data = {"kind": "shards", "files": [str(write_shards(tmp_path, 200, seed=1))]}
    settings = {"data": data, "backbone": TRANSFORMER, "objective": {"kind": "replaced_object"}}
    optim = {"steps": 1, "batch_size": 32}
    config = PretrainConfig.model_validate({**settings, "optim": optim})
    made = Checkpoint.load(pretrain(config, tmp_path / "run", label=None))
    counts = made.provenance["parameters"]
    assert counts["classifier"] == 17 * 5
    assert counts["other"] == 16
    kept = sum(tensor.numel() for name, tensor in made.tensors.items() if "backbone" in name)
    assert counts["embedding"] + counts["feature"] == kept
    assert f"embedding {counts['embedding']:,}, feature {counts['feature']:,}" in made.card


def test_shipped_alone_means_the_backbone_of_events():
    assert shipped_checkpoints() == ["events", "jets"]
    assert resolve_checkpoint("shipped") == resolve_checkpoint("shipped/events")
    assert resolve_checkpoint("shipped/jets") == shipped_checkpoint("jets")
    with pytest.raises(ConfigError, match=r"called 'jet'\. Did you mean 'jets'"):
        resolve_checkpoint("shipped/jet")


def test_the_shipped_backbone_of_jets_knows_no_label_and_no_machine():
    checkpoint = Checkpoint.load(shipped_checkpoint("jets"))
    assert checkpoint.backbone_hash() == checkpoint.provenance["backbone_sha256"]
    config = checkpoint.provenance["config"]
    assert not config.get("classes") and "data" not in config
    assert not re.search(r"/(home|root|work|tmp)/", json.dumps(checkpoint.provenance))


def test_the_shipped_backbone_is_what_it_was():
    """Options that came later leave its weights, its recipe and their hashes alone."""
    checkpoint = Checkpoint.load(shipped_checkpoint("events"))
    assert checkpoint.backbone_hash() == checkpoint.provenance["backbone_sha256"]
    assert checkpoint.recipe.backbone.padding == "masked"
    stored = {"kind", "width", "depth", "heads", "hidden", "dropout", "norm", "activation"}
    assert set(checkpoint.recipe.to_dict()["backbone"]) == stored


def test_both_recipes_of_optimisation_can_be_spelt():
    """The deck's: SGD in a cosine from 1e-2 to 1e-4, everything decayed. Ours: AdamW, warm-up."""
    deck = load_config(STUDIES / "spine" / "paper.yaml", StudyConfig).pretrain["masked_type"].optim
    rates = [deck.lr * deck.factor(step) for step in (0, deck.steps // 2, deck.steps - 1)]
    assert rates == pytest.approx([1e-2, 5.05e-3, 1e-4], rel=1e-3)
    assert (deck.kind, deck.warmup_steps, deck.momentum) == ("sgd", 0, 0.9)
    groups = deck.optimizer(ReplacedObject().build(tiny_model())).param_groups
    assert {group["weight_decay"] for group in groups} == {5e-5}
    ours = Optim(steps=1000)
    assert (ours.kind, ours.warmup_steps) == ("adamw", 50)
    groups = ours.optimizer(ReplacedObject().build(tiny_model())).param_groups
    assert {group["weight_decay"] for group in groups} == {0.0, 0.01}
