from __future__ import annotations

import pytest
import torch

from transferline.data.events import SPECIES
from transferline.learning.engineered import engineered
from transferline.learning.objectives.observables import Observables, observables
from transferline.models.augment import Augment
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Features
from transferline.models.model import ModelRecipe
from transferline.testing import check_objective
from transferline.testing.batches import empty_set_batch, toy_batch
from transferline.testing.objective import tiny_model


def fitted(*batches):
    torch.manual_seed(0)
    objective = Observables().build(tiny_model()).eval()
    objective.fit_constants(lambda: iter(batches))
    return objective


@pytest.mark.parametrize("augment", [Augment(), Augment(rotate_phi=True, boost_z=0.5)])
def test_it_keeps_its_promises(augment):
    check_objective(Observables(augment=augment))


def test_a_readout_that_knows_nothing_has_a_loss_of_one():
    batch = toy_batch(500)
    objective = fitted(batch)
    torch.nn.init.zeros_(objective.readout.weight)
    torch.nn.init.zeros_(objective.readout.bias)
    exists = observables(batch, False).isfinite()
    vary = exists & (objective.spread > 0.01)  # the toy has no photon, ever
    found = objective(batch)
    assert found.total.item() == pytest.approx((vary.sum() / exists.sum()).item(), abs=1e-3)
    assert found.parts["explained"].item() == pytest.approx(1 - found.total.item())


def test_answers_are_signed_logarithms():
    batch = toy_batch(20)
    batch = batch.with_column("btag", torch.rand(batch.is_real.shape))
    names, values = engineered(batch)
    found = observables(batch, True)
    assert len(names) == found.shape[1]
    for name in ("ht", "btag1"):
        place = names.index(name)
        assert torch.allclose(found[:, place], values[:, place].log1p())
    charge = names.index("lepton_charge")
    assert (found[:, charge].sign() == values[:, charge].sign()).all()


@pytest.mark.parametrize("scored", [False, True])
def test_scores_of_b_tagging_are_answers_where_they_are_inputs(scored):
    batch = toy_batch(20)
    one, other = (
        batch.with_column("btag", torch.full(batch.is_real.shape, score)) for score in (0.2, 0.7)
    )
    same = torch.equal(*(observables(b, scored).nan_to_num() for b in (one, other)))
    assert same != scored
    particles = ("log_pt", *(["btag"] if scored else []))
    model = ModelRecipe(
        features=Features(particles=particles), backbone=Transformer(width=16, depth=1, heads=2)
    ).build()
    objective = Observables().build(model)
    assert objective.readout.out_features == observables(one, scored).shape[1]
    objective.fit_constants(lambda: iter([one]))
    assert objective(one).total.isfinite()


def test_what_an_event_has_not_counts_nothing():
    batch = toy_batch(30)
    objective = fitted(batch)
    jets = torch.where(batch.columns["species"] == SPECIES["bjet"], SPECIES["jet"], 0)
    without = batch.with_column("species", torch.where(jets > 0, jets, batch.columns["species"]))
    missing = observables(without, False).isnan()
    assert missing.any()
    wrong = objective.mean.clone()
    wrong[missing.all(0)] = 1e6  # of observables that no event has
    before = objective(without).total
    objective.mean.copy_(wrong)
    assert torch.equal(objective(without).total, before)
    assert objective(empty_set_batch()).total.isfinite()


def test_augmentation_turns_objects_and_answers_together():
    batch = toy_batch(50)
    turned = Augment(rotate_phi=True)(batch)
    assert torch.allclose(
        observables(batch, False), observables(turned, False), atol=1e-4, equal_nan=True
    )
