from __future__ import annotations

import pytest
import torch

from transferline.data.events import SPECIES
from transferline.learning.engineered import engineered
from transferline.learning.objectives.observables import Observables, observables
from transferline.models.augment import Augment
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
    exists = observables(batch).isfinite()
    vary = exists & (objective.spread > 0.01)  # the toy has no photon, ever
    found = objective(batch)
    assert found.total.item() == pytest.approx((vary.sum() / exists.sum()).item(), abs=1e-3)
    assert found.parts["explained"].item() == pytest.approx(1 - found.total.item())


def test_answers_are_signed_logarithms_without_scores_of_b_tagging():
    batch = toy_batch(20)
    batch = batch.replace(columns={name: batch.columns[name] for name in ("charge", "species")})
    scored = batch.with_column("btag", torch.rand(batch.is_real.shape))
    assert torch.equal(observables(batch).nan_to_num(), observables(scored).nan_to_num())
    names, values = engineered(batch)
    ht, charge = names.index("ht"), names.index("lepton_charge")
    found = observables(batch)
    assert torch.allclose(found[:, ht], values[:, ht].log1p())
    assert (found[:, charge].sign() == values[:, charge].sign()).all()


def test_what_an_event_has_not_counts_nothing():
    batch = toy_batch(30)
    objective = fitted(batch)
    jets = torch.where(batch.columns["species"] == SPECIES["bjet"], SPECIES["jet"], 0)
    without = batch.with_column("species", torch.where(jets > 0, jets, batch.columns["species"]))
    missing = observables(without).isnan()
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
    assert torch.allclose(observables(batch), observables(turned), atol=1e-4, equal_nan=True)
