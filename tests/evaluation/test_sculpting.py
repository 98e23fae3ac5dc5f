"""Mass sculpting: none where scores do not know the mass, all where they are the mass."""

from __future__ import annotations

import numpy as np
import pytest

from transferline.evaluation.sculpting import PASSING, Sculpting


def sculpted(power, n=20_000, seed=0):
    """Scores that follow the mass (power 1) or not at all (power 0)."""
    rng = np.random.default_rng(seed)
    mass = 200 * rng.random(n) ** -0.3
    scores = power * mass / 1000 + (1 - power) * rng.random(n)
    return Sculpting(scores, mass, rng.uniform(0.5, 1.5, n))


def test_a_score_without_the_mass_is_at_the_floor_and_the_mass_itself_is_far_above():
    blind, sighted = sculpted(0.0), sculpted(1.0)
    assert blind.measurement().value < 2 * blind.floor() < 0.02
    found = sighted.measurement()
    assert found.value > 0.4  # the tenth that passes has masses of its own
    assert 0 < found.error < 0.05 * found.value


def test_events_of_one_score_are_not_cut_by_their_order():
    mass = np.sort(200 * np.random.default_rng(0).random(20_000) ** -0.3)  # sample by sample
    found = Sculpting(np.zeros(len(mass)), mass, np.ones(len(mass)))
    assert found.measurement().value < 2 * found.floor()


def test_slices_hold_all_background_once():
    found = sculpted(0.3)
    details = found.details()
    whole = np.sum([part["sum"] for part in details["slices"]])
    assert whole == pytest.approx(found._weight.sum(), rel=1e-5)
    shares = [sum(part["sum"]) / whole for part in details["slices"]]
    wanted = -np.diff([*PASSING, 0.0])
    assert shares == pytest.approx(wanted, abs=1e-3)
    assert len(details["edges"]) == len(details["slices"][0]["error"]) + 1


def test_slices_hold_all_background_once_where_weights_are_signed():
    """The heaviest scores begin with a negative sum, and the lowest end above the whole."""
    scores = np.arange(1000.0)
    weight = np.where((scores < 20) | (scores >= 990), -1.0, 1.0)
    slices = list(Sculpting(scores, 100 + scores, weight).slices())
    assert np.sum([part["sum"] for part in slices]) == pytest.approx(weight.sum(), rel=1e-9)
    squares = np.sum([np.square(part["error"]) for part in slices])
    assert squares == pytest.approx(1000, rel=1e-4)


def test_a_random_cut_passes_the_same_weight_whatever_its_events_weigh():
    """Two samples of one mass spectrum, few heavy events and many light ones: no sculpting."""
    rng = np.random.default_rng(3)
    mass = 200 * rng.random(6000) ** -0.3
    weight = np.where(np.arange(6000) < 600, 0.45, 0.02)
    cuts = [Sculpting(rng.random(6000), mass, weight) for _ in range(30)]
    found = np.mean([cut.measurement().value for cut in cuts])
    assert np.mean([cut.floor() for cut in cuts]) == pytest.approx(found, rel=0.2)


def test_a_cut_that_nothing_passes_has_no_number():
    scores = np.arange(100.0)
    weight = np.where(scores == 99, 20.0, 1.0)
    found = Sculpting(scores, 100 + scores, weight).measurement()
    assert np.isnan(found.value)
    assert str(found) == "undefined"


def test_few_events_have_an_error_though_some_replicas_let_none_pass():
    for seed in range(10):
        assert np.isfinite(sculpted(0.3, n=30, seed=seed).measurement().error)
