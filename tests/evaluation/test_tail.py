"""Limits on a rejection whose background is nearly all gone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from transferline.evaluation.measurement import Measurement
from transferline.evaluation.tail import over_seeds, rejection, unseen

FEW = np.ones(0)


def limit(passing, every, absent=FEW):
    passing, every = np.asarray(passing, float), np.asarray(every, float)
    found = rejection(passing.sum() / every.sum(), np.ones(3), passing, every, np.asarray(absent))
    assert found.bound == "at least"
    return found.value


def test_equal_weights_give_the_poisson_limit_whatever_they_are():
    for weight in (1.0, 7.0):
        assert limit(FEW, np.full(3000, weight)) == pytest.approx(1000)
        assert limit(np.full(2, weight), np.full(3000, weight)) == pytest.approx(3000 / 6.30)


def test_a_limit_is_never_above_the_estimate():
    every = np.concatenate((np.ones(100_000), np.full(10, 1000.0)))
    heavy = np.full(2, 1000.0)
    assert limit(heavy, every) < every.sum() / heavy.sum()
    assert limit(heavy, every) == pytest.approx(every.sum() / (6.30 * 1000))


def test_an_absent_sample_of_large_weights_could_be_three_of_them():
    every = np.concatenate((np.ones(100_000), np.full(10, 1000.0)))
    found = limit(np.ones(100), every, [1000.0])
    assert found == pytest.approx(every.sum() / (100 + 1.645 * 10 + 3000), rel=1e-3)
    assert limit(FEW, every, [1000.0, 1.0]) == pytest.approx(every.sum() / 3000, rel=1e-3)


@pytest.mark.parametrize("expected", [0.5, 2.0])
def test_the_truth_is_below_the_limit_one_time_in_twenty_at_most(expected):
    """Weights of two kinds: the number that passes is Poisson, the weight of each by chance."""
    rng = np.random.default_rng(1)
    every = np.concatenate((np.ones(5000), np.full(500, 5.0)))
    share = expected / len(every)
    wrong = decided = 0
    for _ in range(2000):
        passing = every[rng.random(len(every)) < share]
        found = rejection(passing.sum() / every.sum(), np.ones(3), passing, every)
        decided += found.bound is not None
        wrong += found.bound is not None and found.value > 1 / share
    assert decided > 500 and wrong / 2000 < 0.07


def test_a_limit_among_estimates_holds_the_errors_of_these():
    found = over_seeds([Measurement(100.0, 5.0), Measurement(5000.0, math.inf, "at least")])
    most = (1 / 100 + 1.645 * 5 / 100**2 + 1 / 5000) / 2
    assert found.bound == "at least" and found.value == pytest.approx(1 / most)


def test_a_sample_without_passing_events_is_unseen():
    weight, stratum = np.array([4.0, 2.0, 1.0]), np.array([0, 0, 1])
    assert unseen(weight, stratum, np.array([False, False, True])).tolist() == [3.0]
    assert unseen(weight, stratum, np.array([True, False, True])).tolist() == []
