"""Errors made with few seeds decide as often by chance as they say, and no oftener."""

from __future__ import annotations

import math

import numpy as np
import pytest

from transferline.evaluation.comparison import beyond_share, gap_closed
from transferline.evaluation.estimate import Estimate
from transferline.evaluation.learning_curve import estimate_of, learning_curve, scratch_for

from .synthetic import curve, log_line, record


def by_chance(seeds: int, test_error: float, n: int) -> list[Estimate]:
    """Means over seeds of standard deviation one and of one test set, where nothing is there."""
    rng = np.random.default_rng(seeds)
    values = rng.standard_normal((n, seeds)) + test_error * rng.standard_normal((n, 1))
    spread = values.std(axis=1, ddof=1) / math.sqrt(seeds)
    return [
        Estimate(float(mean), ((float(error), seeds - 1), (test_error, math.inf)))
        for mean, error in zip(values.mean(axis=1), spread, strict=True)
    ]


@pytest.mark.parametrize(
    ("seeds", "test_error"),
    [(2, 0.0), (3, 0.0), (2, 0.15), (2, 0.3), (2, 1.0), (2, 5.0), (3, 0.2), (3, 0.5), (5, 0.5)],
)
def test_where_nothing_is_there_no_more_than_one_verdict_in_twenty_is_wrong(seeds, test_error):
    """A Gaussian would be wrong in 0.29 and 0.18 of two and three seeds."""
    wrong = [found.departs(2.0) for found in by_chance(seeds, test_error, 2000)]
    # Few where both errors are of one size: that is the price of not knowing which is larger.
    assert 0.005 < np.mean(wrong) < 0.057


@pytest.mark.parametrize(("seeds", "test_error"), [(2, 0.15), (2, 0.3), (3, 0.2)])
def test_nothing_is_all_but_certain_by_chance(seeds, test_error):
    """A spread of two seeds that is small by accident makes no number sure."""
    p = np.array([found.p_value() for found in by_chance(seeds, test_error, 4000)])
    assert np.mean(p < 0.001) < 0.0025


@pytest.mark.parametrize("freedom", [1, 2, 4, 9])
def test_the_tail_of_two_errors_is_that_of_their_sum(freedom):
    rng = np.random.default_rng(freedom)
    drawn = 0.7 * rng.standard_normal(400_000) + 1.3 * rng.standard_t(freedom, 400_000)
    for away in (0.5, 2.0, 5.0):
        expected = float(np.mean(np.abs(drawn) > away))
        found = Estimate(away, ((1.3, freedom), (0.7, math.inf))).p_value()
        assert found == pytest.approx(expected, abs=5 * math.sqrt(expected / len(drawn)))
    for away in (1.0, 4.0, 30.0):  # either alone is what tables have
        student = Estimate(away, ((1.0, freedom),)).p_value()
        assert Estimate(away, ((1.0, freedom), (1e-7, math.inf))).p_value() == pytest.approx(
            student, rel=1e-5
        )


def test_a_well_known_error_is_a_gaussian_and_an_unknown_one_decides_nothing():
    known = Estimate(2.1, ((1.0, math.inf),))
    assert known.p_value() == pytest.approx(0.0357, abs=1e-4)
    assert known.departs(2.0) and not known.departs(2.2) and known.departs(2.0, null=4.3)
    alone = Estimate(2.1, ((0.0, 0), (1.0, math.inf)))
    assert not alone.known and not alone.departs(0.0) and not alone.within(100.0)
    assert not Estimate(1.0, ((math.inf, math.inf),)).departs(0.0)


def test_without_an_error_only_equal_values_are_equal():
    sure = Estimate(0.1, ((0.0, 2), (0.0, math.inf)))
    assert sure.departs(5.0) and not sure.within(5.0)
    assert sure.within(0.0, null=0.1) and not sure.departs(0.0, null=0.1)


def test_the_freedom_is_that_of_the_spread_that_dominates():
    assert Estimate(0.0, ((1.0, 2), (0.0, math.inf))).degrees_of_freedom == pytest.approx(2)
    assert Estimate(0.0, ((1.0, 2), (1.0, 2))).degrees_of_freedom == pytest.approx(4)
    assert Estimate(0.0, ((1e-3, 1), (1.0, math.inf))).degrees_of_freedom == pytest.approx(1)
    assert Estimate(0.0, ((1e-3, 1), (1.0, 2))).degrees_of_freedom == pytest.approx(2, rel=1e-3)
    assert math.isinf(Estimate(0.0, ((1.0, math.inf),)).degrees_of_freedom)
    difference = Estimate(3.0, ((3.0, 2),)).minus(Estimate(1.0, ((4.0, 2),))).scaled(-2.0)
    assert (difference.value, difference.error) == (-4.0, 10.0)
    assert str(difference) == "-4 ± 10"


def test_the_seeds_of_a_combination_are_the_fewest():
    lines = learning_curve(
        [*curve("scratch", [100], range(3), log_line), *curve("trees", [100], range(2), log_line)]
    )
    one, other = (line.points[0] for line in lines)
    assert estimate_of([(1.0, one), (-1.0, other)]).parts[0][1] == 1
    assert estimate_of([(0.0, one), (1.0, other)]).parts[0][1] == 2


def test_the_gap_counts_with_its_error_though_nothing_of_it_is_closed():
    values = {100: (0.70, 0.70, 0.70), 1000: (0.69, 0.71, 0.73)}
    made = [record("scratch", n, s, auc=v) for n in values for s, v in enumerate(values[n])]
    made += [record("finetuned", 100, s, auc=0.70) for s in range(3)]
    scratch, tuned = learning_curve(made)
    assert gap_closed(tuned, scratch, 100, 1000).value == pytest.approx(0.0, abs=1e-9)
    excess = beyond_share(tuned.at(100), scratch.at(100), scratch.at(1000), 0.5)
    assert excess.value == pytest.approx(-0.005)
    assert excess.error > 0.005 and not excess.departs(1.0)


def test_another_network_is_not_taken_for_the_scratch_that_is_named():
    made = [record("scratch", pretraining="other"), record("trees")]
    named = record("finetuned", pretraining="p", extra={"scratch": "q"})
    lines = learning_curve([*made, named])
    assert scratch_for(lines[-1], lines) is None
    lines = learning_curve([*made, named, record("scratch", pretraining="q")])
    assert scratch_for(lines[-1], lines).pretraining == "q"


def test_test_errors_of_two_sizes_do_not_cancel_without_replicas():
    [line] = learning_curve(curve("scratch", [100, 1000], [0], log_line, error=0.01))
    low, high = line.points
    assert estimate_of([(1.0, high), (-1.0, low)]).error == pytest.approx(0.01 * math.sqrt(2))
