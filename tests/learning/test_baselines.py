from __future__ import annotations

import numpy as np
import pytest
import torch

from transferline.data.batch import Batch, cartesian
from transferline.data.events import SPECIES
from transferline.learning import baselines
from transferline.learning.adaptation import transfer
from transferline.learning.baselines import Labelled, Trees, boosted_trees
from transferline.learning.engineered import engineered
from transferline.learning.tasks.event_classification import EventClassification

from ..generated_events import BACKGROUND, SIGNAL, shards

# pt, eta, phi, mass, charge, species: one event that can be checked by hand
OBJECTS = [
    (40.0, 0.5, 0.0, 0.1, -1, "muon"),
    (60.0, 0.0, np.pi, 0.0, 0, "met"),
    (100.0, 0.0, 0.0, 10.0, 0, "bjet"),
    (80.0, 0.0, np.pi / 2, 8.0, 0, "bjet"),
    (50.0, 1.0, 2.0, 5.0, 0, "jet"),
]


def batch(*events, width=8) -> Batch:
    n = len(events)
    p4, charge = torch.zeros(n, width, 4), torch.zeros(n, width)
    species = torch.zeros(n, width, dtype=torch.int64)
    for i, objects in enumerate(events):
        for j, (*four, q, name) in enumerate(objects):
            p4[i, j], charge[i, j] = torch.tensor(four), q
            species[i, j] = SPECIES[name]
    return Batch(
        p4=p4,
        is_real=species > 0,
        weight=torch.ones(n),
        id=torch.zeros(n, 3, dtype=torch.int64),
        columns={"charge": charge, "species": species},
    )


def named(one: Batch) -> dict[str, float]:
    names, values = engineered(one)
    return dict(zip(names, values[0].tolist(), strict=True))


def test_features_of_an_event_computed_by_hand():
    found = named(batch(OBJECTS))
    assert (found["n_lepton"], found["n_bjet"], found["n_jet"], found["n_hadronic"]) == (1, 2, 1, 3)
    assert found["ht"] == pytest.approx(230.0)
    assert found["ht_bjets"] == pytest.approx(180.0)
    assert found["met"] == 60.0
    assert found["lepton_charge"] == -1.0
    assert found["bjet1_pt"] == 100.0 and found["bjet2_pt"] == 80.0 and found["jet1_pt"] == 50.0
    assert found["mt_lepton_met"] == pytest.approx(np.sqrt(2 * 40 * 60 * 2))
    assert found["dr_bb_min"] == pytest.approx(np.pi / 2)
    e = np.hypot(100, 10) + np.hypot(80, 8)
    assert found["m_bb_higgs"] == pytest.approx(np.sqrt(e**2 - 100**2 - 80**2), rel=1e-5)
    assert found["pt_bb_closest"] == pytest.approx(np.hypot(100, 80), rel=1e-5)
    assert np.isnan(found["bjet3_pt"]) and np.isnan(found["m_jj_w"]) and np.isnan(found["tau1_pt"])


def test_what_a_search_with_taus_or_two_leptons_looks_at():
    taus = [(50.0, 0.0, 0.0, 0.9, 1, "tau"), (30.0, 0.0, np.pi / 2, 0.9, -1, "tau")]
    found = named(batch([*OBJECTS, *taus]))
    assert (found["tau2_pt"], found["tau_charge"]) == (30.0, 0.0)
    assert found["mt_tau_met"] == pytest.approx(np.sqrt(2 * 50 * 60 * 2))
    e = np.hypot(50, 0.9) + np.hypot(40, 0.1) * np.cosh(0.5)  # tau and muon: 0.5 in eta apart
    assert found["dr_ll_min"] == pytest.approx(0.5)
    pz = 40 * np.sinh(0.5)
    assert found["m_ll_closest"] == pytest.approx(np.sqrt(e**2 - 90**2 - pz**2), rel=1e-2)
    assert np.isnan(named(batch(OBJECTS))["m_ll_closest"])


def test_features_do_not_depend_on_order_or_padding():
    straight = engineered(batch(OBJECTS))[1]
    mixed = engineered(batch(OBJECTS[::-1], width=16))[1]
    torch.testing.assert_close(straight, mixed, equal_nan=True, rtol=1e-4, atol=1e-4)


def test_features_do_not_depend_on_the_azimuth():
    turned = [(pt, eta, phi + 1.0, *rest) for pt, eta, phi, *rest in OBJECTS]
    torch.testing.assert_close(
        engineered(batch(OBJECTS))[1],
        engineered(batch(turned))[1],
        equal_nan=True,
        rtol=1e-3,
        atol=1e-3,
    )


def test_an_event_without_jets_is_finite_where_something_exists():
    found = named(batch(OBJECTS[:2]))
    assert found["ht"] == 0.0
    assert found["mt_lepton_met"] > 0
    assert np.isnan(found["dr_bb_min"]) and np.isnan(found["m_lb_min"])


def test_masses_are_those_of_the_four_vectors():
    found = named(batch(OBJECTS))
    total = cartesian(batch(OBJECTS).p4)[0, [0, 2, 3, 4]].sum(0)
    mass = torch.sqrt(total[0] ** 2 - (total[1:] ** 2).sum())
    assert found["visible_mass"] == pytest.approx(float(mass), rel=1e-5)


def toy(n: int, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 4)).astype(np.float32)
    x[:, 0] += y
    x[:, 3] = np.nan  # a feature that exists in no event
    return Labelled(x, y.astype(np.int64), np.ones(n))


def test_events_of_one_class_alone_are_fitted_too():
    """A small `natural` subset may hold no other; seeds may be any, as those of networks."""
    fit, select = toy(40, 0), toy(20, 1)
    for label in (0, 1):
        parts = [Labelled(part.x, np.full(len(part.y), label), part.w) for part in (fit, select)]
        found = boosted_trees(Trees(leaves=(2,), rounds=3), *parts, seed=2**32 + label)
        assert (found.scores(select.x)[:, label] == 1).all()
        assert found.scores(select.x).shape == (20, 2)
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        Trees(leaves=(1,))


def test_trees_grow_on_where_they_are_best_at_their_end():
    fit, select = toy(400, 0), toy(100, 1)
    few = boosted_trees(Trees(leaves=(2,), rounds=5), fit, select, seed=0)
    enough = boosted_trees(Trees(leaves=(2,), rounds=40), fit, select, seed=0)
    assert (few.rounds, few.trees) == (40, 5 + 10 + 20 + 40 + 40)  # eight times five, no more
    assert 72 < enough.rounds < 144
    assert enough.trees == 40 + 80 + 160 + enough.rounds


def test_trees_choose_on_the_held_out_events_and_use_all_labels():
    recipe = Trees(leaves=(2, 8), rounds=40)
    fit, select = toy(400, 0), toy(100, 1)
    found = boosted_trees(recipe, fit, select, seed=0)
    assert [point["leaves"] for point in found.grid] == [2, 8]
    best = min(found.grid, key=lambda point: point["loss"])
    assert (found.model.max_leaf_nodes, found.rounds) == (best["leaves"], best["rounds"])
    grown = {2: 40 + 80 + 160, 8: 40 + 80}  # as long as the best round was among the last tenth
    assert found.trees == sum(grown.values()) + found.rounds
    assert found.examples_seen == sum(grown.values()) * 400 + found.rounds * 500
    scores = found.scores(toy(200, 2).x)[:, 1]
    assert scores[1::2].mean() > scores[::2].mean() + 0.1
    alone = boosted_trees(recipe.model_copy(update={"refit": False}), fit, select, seed=0)
    assert alone.examples_seen == sum(grown.values()) * 400


def test_without_held_out_events_nothing_is_chosen():
    none = toy(0, 0)
    found = boosted_trees(Trees(leaves=(4, 8), rounds=7), toy(100, 0), none, seed=0)
    assert (found.rounds, found.model.max_leaf_nodes) == (7, 4)


def test_trees_separate_real_collisions(tmp_path):
    task = EventClassification(
        name="ttH(bb) vs ttbar",
        signal=[str(shards(SIGNAL))],
        background=[str(shards(BACKGROUND))],
    )
    record = transfer(None, task, "trees", n_train=300, seed=0, how=Trees(rounds=100), out=tmp_path)
    auc = record.metrics["auc"]
    assert auc.value > 0.6 and auc.value - 0.5 > 5 * auc.error
    assert record.backbone == record.objective == record.pretraining == "none"


def test_bins_keep_the_order_and_what_is_missing():
    x = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1])  # few numbers: they stay as they are
    x[5] = np.nan
    cuts = baselines._cuts(x)
    assert cuts[1] is None
    binned = baselines._binned(x, cuts)
    assert np.isnan(binned[5]).all()
    assert np.array_equal(binned[6:, 1], x[6:, 1])
    found = binned[6:, 0][np.argsort(x[6:, 0])]
    assert (np.diff(found) >= 0).all()
    assert (found.min(), found.max()) == (0, 254)
    assert np.bincount(found.astype(int)).min() > 0
