from __future__ import annotations

import pytest
import torch

from transferline.data.events import SPECIES
from transferline.errors import ConfigError
from transferline.learning.engineered import engineered
from transferline.learning.engineered_jets import engineered_jets
from transferline.learning.objectives.joint import Joint
from transferline.learning.objectives.masked_type import MaskedType
from transferline.learning.objectives.observables import Observables
from transferline.models.augment import Augment
from transferline.models.backbones.transformer import Transformer
from transferline.models.features import Features
from transferline.models.model import ModelRecipe
from transferline.testing import check_objective
from transferline.testing.batches import empty_set_batch, toy_batch


def made(*particles, of="events"):
    """An objective around a model with these features."""
    torch.manual_seed(0)
    features = Features(particles=particles or Features().particles)
    backbone = Transformer(width=16, depth=1, heads=2)
    return Observables(of=of).build(ModelRecipe(features=features, backbone=backbone).build())


def fitted(*batches, **settings):
    objective = made(**settings).eval()
    objective.fit_constants(lambda: iter(batches))
    return objective


@pytest.mark.parametrize("augment", [Augment(), Augment(rotate_phi=True, reflect_eta=True)])
@pytest.mark.parametrize("of", ["events", "jets"])
def test_it_keeps_its_promises(augment, of):
    check_objective(Observables(augment=augment, of=of))


def test_jets_are_not_asked_for_what_events_have():
    jets = toy_batch(8)
    species = jets.columns["species"] + len(SPECIES)
    jets = jets.replace(columns={**jets.columns, "species": species})
    with pytest.raises(ConfigError, match=r"these shards hold jets\. Write `of: jets`"):
        fitted(jets)


def test_it_may_stand_beside_another_task():
    check_objective(Joint(parts=(Observables(), MaskedType())))


def test_a_readout_that_knows_nothing_has_a_loss_of_one():
    batch = toy_batch(500)
    objective = fitted(batch)
    torch.nn.init.zeros_(objective.readout.weight)
    torch.nn.init.zeros_(objective.readout.bias)
    found = objective(batch)
    assert found.total.item() == pytest.approx(1, abs=1e-3)
    assert found.parts["explained"].item() == pytest.approx(1 - found.total.item())


def test_what_never_varied_is_not_asked_for_and_no_answer_is_far_away():
    batch = toy_batch(100)
    objective = fitted(batch)
    photons = objective.names.index("n_photon")
    assert objective.spread[photons].isnan()  # the toy has none, ever
    is_jet = batch.columns["species"] == SPECIES["jet"]
    more = batch.with_column(
        "species", batch.columns["species"].masked_fill(is_jet, SPECIES["photon"])
    )
    before = objective(more).total
    objective.readout.bias.data[photons] = 1e3
    assert torch.equal(objective(more).total, before)
    hard = batch.replace(p4=batch.p4 * torch.tensor([1e6, 1.0, 1.0, 1.0]))
    assert objective(hard).total < 2 * 10**2


def test_answers_are_not_rounded_where_the_network_is():
    batch, objective = toy_batch(20), made()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = objective.observables(batch)
    assert torch.equal(rounded.nan_to_num(), objective.observables(batch).nan_to_num())


@pytest.mark.parametrize(("of", "compute"), [("events", engineered), ("jets", engineered_jets)])
def test_answers_are_signed_logarithms_of_what_trees_get(of, compute):
    batch = toy_batch(20)
    batch = batch.with_column("btag", torch.rand(batch.is_real.shape))
    names, values = compute(batch)
    objective = made("log_pt", "btag", of=of)
    assert set(names) <= set(objective.names)
    places = [objective.names.index(name) for name in names]
    found = objective.observables(batch)[:, places]
    assert torch.allclose(found.sign() * found.abs().expm1(), values, rtol=1e-4, equal_nan=True)
    others = [i for i in range(len(objective.names)) if i not in places]
    assert objective.observables(batch)[:, others].isnan().all()  # the toy has no such columns


@pytest.mark.parametrize("scored", [False, True])
def test_scores_of_b_tagging_are_answers_where_they_are_inputs(scored):
    objective = made("log_pt", *(["btag"] if scored else []))
    batch = toy_batch(20)
    found = [
        objective.observables(batch.with_column("btag", torch.full(batch.is_real.shape, score)))
        for score in (0.2, 0.7)
    ]
    assert torch.equal(*(values.nan_to_num() for values in found)) != scored


def test_what_an_event_has_not_counts_nothing():
    batch = toy_batch(30)
    objective = fitted(batch)
    is_b = batch.columns["species"] == SPECIES["bjet"]
    without = batch.with_column(
        "species", batch.columns["species"].masked_fill(is_b, SPECIES["jet"])
    )
    missing = objective.observables(without).isnan().all(0)
    assert missing.any()
    before = objective(without).total
    objective.mean.masked_fill_(missing, 1e6)
    assert torch.equal(objective(without).total, before)
    assert objective(empty_set_batch()).total.isfinite()


def test_answers_are_those_of_the_augmented_particles():
    batch = toy_batch(50)
    objective = made()
    objective.fit_constants(lambda: iter([batch]))
    objective.recipe = Observables(augment=Augment(boost_z=2.0))
    asked, seen = [], []
    compute, latent = objective.observables, objective.model.latent
    objective.observables = lambda b: asked.append(b) or compute(b)
    objective.model.latent = lambda b: seen.append(b) or latent(b)
    objective.train()(batch)
    assert asked[0] is seen[0]
    assert not torch.equal(seen[0].p4, batch.p4)


def test_particles_of_jets_are_not_boosted_out_of_their_jet():
    with pytest.raises(ValueError, match="own columns are not boosted"):
        Observables(of="jets", augment=Augment(boost_z=0.5))
