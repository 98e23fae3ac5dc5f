from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from transferline.learning.objectives.joint import Joint, _one_by_one
from transferline.learning.objectives.masked_type import MaskedType
from transferline.learning.objectives.supervised import Supervised
from transferline.learning.pretraining import PretrainConfig, pretrain
from transferline.models.checkpoint import Checkpoint
from transferline.testing.batches import toy_batch, toy_replicas
from transferline.testing.objective import tiny_model

from .event_shards import write_shards


def joint(*kinds, **rest):
    return Joint.model_validate({"parts": [{"kind": kind} for kind in kinds], **rest})


def test_the_loss_is_the_weighted_sum_of_its_parts():
    torch.manual_seed(0)
    objective = joint("masked_type", "supervised", weights=[0.5, 2.0]).build(tiny_model()).eval()
    batch = toy_batch(32)
    torch.manual_seed(1)
    loss = objective(batch)
    parts = loss.parts
    expected = 0.5 * parts["masked_type_loss"] + 2 * parts["supervised_loss"]
    torch.testing.assert_close(loss.total, expected)
    assert {"masked_type_accuracy", "supervised_accuracy"} < set(parts)


def test_the_parts_share_one_model_and_own_their_heads():
    model = tiny_model()
    objective = joint("masked_type", "replaced_object").build(model)
    names = list(objective.state_dict())
    assert sum("embedding.0.weight" in name for name in names) == 1
    assert any(name.startswith("parts.0.classifier") for name in names)
    assert all(part.model is model for part in objective.parts)


def test_alone_in_weight_a_part_gives_its_own_gradients():
    """A part of vanishing weight leaves the other what it is alone."""
    batch = toy_batch(32)
    gradients = []
    for recipe in (joint("supervised", "masked_type", weights=[1, 1e-9]), Supervised()):
        torch.manual_seed(0)
        model = tiny_model()
        objective = recipe.build(model).eval()
        objective(batch).total.backward()
        gradients.append([p.grad for p in model.backbone.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-5)


def test_a_backbone_is_pretrained_on_labels_and_without_them_at_once(tmp_path):
    places = [str(write_shards(tmp_path, 200, seed=i, hardness=h)) for i, h in ((1, 1), (2, 3))]
    settings = {
        "data": {"kind": "shards", "files": places},
        "classes": {"soft": places[:1], "hard": places[1:]},
        "backbone": {"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
        "objective": joint("supervised", "masked_type").to_dict(),
        "optim": {"steps": 20, "batch_size": 64, "lr": 1e-2},
    }
    pretrain(PretrainConfig.model_validate(settings), tmp_path / "run", label=None, save_seconds=0)
    assert Checkpoint.load(tmp_path / "run").recipe.head is None
    head = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0]
    assert "val_supervised_accuracy" in head
    assert "val_masked_type_accuracy" in head
    with pytest.raises(ValidationError, match="objective joint needs labels"):
        PretrainConfig.model_validate({**settings, "classes": {}})


def test_beside_replicas_other_parts_get_their_jets_one_by_one():
    batch = toy_replicas(20)
    target = torch.arange(len(batch)) % 2
    batch = batch.replace(target=target)
    recipe = joint("resimulation", "supervised", weights=[1.0, 2.0])
    assert recipe.nested and recipe.mixed_batches and not joint("jepa", "supervised").nested
    torch.manual_seed(0)
    model = tiny_model()
    objective = recipe.build(model).eval()
    torch.manual_seed(1)
    found = objective(batch)
    alone = Supervised().build(model).eval()
    jets = alone(batch.sets.replace(target=target[batch.parent])).total  # weights are all alike
    torch.testing.assert_close(found.parts["supervised_loss"], jets.detach())
    torch.manual_seed(1)
    pairs = objective.parts[0](batch).total
    torch.testing.assert_close(found.total, pairs + 2 * jets)


def test_what_two_parts_see_alike_is_encoded_once():
    """Losses and gradients are those of the parts one after another."""
    batch, gradients, calls = toy_replicas(20), [], []
    for together in (True, False):
        torch.manual_seed(0)
        model = tiny_model()
        recipe = joint("resimulation", "supervised")
        objective = recipe.build(model).eval()
        batch = batch.replace(target=torch.arange(len(batch)) % 2)
        model.backbone.register_forward_hook(lambda *_, mark=together: calls.append(mark))
        torch.manual_seed(1)
        if together:
            objective(batch).total.backward()
        else:
            jets = _one_by_one(batch)
            (objective.parts[0](batch).total + objective.parts[1](jets).total).backward()
        gradients.append([p.grad for p in model.backbone.parameters()])
    assert (calls.count(True), calls.count(False)) == (1, 2)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    inner = {"kind": "joint", "parts": [{"kind": "supervised"}, {"kind": "masked_type"}]}
    nested = Joint.model_validate({"parts": [{"kind": "replaced_object"}, inner]})
    assert nested.build(tiny_model()).eval()(toy_batch(8)).total.isfinite()
    model.backbone.register_module("mask", torch.nn.Dropout(0.5))  # two masks stay two
    calls.clear()
    objective.train()(batch)
    assert len(calls) == 2
    del model.backbone.mask
    hidden = joint("masked_type", "supervised").build(model).eval()
    calls.clear()
    hidden(toy_batch(8))
    assert len(calls) == 2  # one part hides something: nothing is shared
    assert "latent" not in vars(model)


def test_jets_of_events_have_what_single_jets_have():
    """Observables of the jet itself, such as N-subjettiness, are columns of the event's jets."""
    batch = toy_replicas(20)
    events = batch.events.with_column("tau1", torch.rand(batch.events.is_real.shape))
    events = events.replace(weight=torch.arange(float(len(batch))))
    jets = _one_by_one(replace(batch, events=events))
    assert torch.equal(jets.weight, events.weight[batch.parent])
    places = torch.cumsum(batch.events.is_real.flatten(), 0) - 1
    for n in range(len(batch)):
        for j in batch.events.is_real[n].nonzero().flatten().tolist():
            m = int(places[n * batch.events.is_real.shape[1] + j])
            assert jets.context["jet_tau1"][m] == events.columns["tau1"][n, j]
            assert jets.context["jet_pt"][m] == events.p4[n, j, 0]
            assert int(batch.parent[m]) == n


def test_mistakes_are_named():
    with pytest.raises(ValidationError, match="masked_type stands twice"):
        joint("masked_type", "masked_type")
    with pytest.raises(ValidationError, match="3 weights for 2 parts"):
        joint("masked_type", "supervised", weights=[1, 1, 1])
    assert not joint("masked_type", "replaced_object").needs_labels
    assert MaskedType().needs_labels is False
