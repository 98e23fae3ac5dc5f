from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from transferline.errors import DataError, NumericalError
from transferline.evaluation.metrics import METRICS, compare, evaluate, format_measurement, measure
from transferline.evaluation.roc import Ranking, efficiency, roc_curve

from .synthetic import separated_scores


def brute_force_auc(scores, target, weight):
    s, t, w = np.asarray(scores), np.asarray(target), np.asarray(weight, dtype=float)
    above = np.subtract.outer(s[t == 1], s[t == 0])
    wins = (above > 0) + 0.5 * (above == 0)
    pairs = np.multiply.outer(w[t == 1], w[t == 0])
    return np.sum(wins * pairs) / np.sum(pairs)


def sample(seed, n=400, negative=0.0, distance=1.0, ties=False):
    rng = np.random.default_rng(seed)
    target = np.arange(n) % 2
    scores = separated_scores(rng, target, distance)
    weight = rng.uniform(0.5, 2.0, n) * np.where(rng.random(n) < negative, -1.0, 1.0)
    return np.round(scores, 1) if ties else scores, target, weight


@pytest.mark.parametrize("negative", [0.0, 0.2])
@pytest.mark.parametrize("ties", [False, True])
def test_auc_agrees_with_all_pairs(negative, ties):
    args = sample(1, negative=negative, ties=ties)
    assert roc_curve(*args).auc() == pytest.approx(brute_force_auc(*args), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_metrics_agree_with_scikit_learn_for_positive_weights(ties):
    scores, target, weight = sample(2, ties=ties)
    found = evaluate(scores, target, weight)
    auc = reference.roc_auc_score(target, scores, sample_weight=weight)
    assert found["auc"].value == pytest.approx(auc, abs=1e-12)
    right = reference.balanced_accuracy_score(target, scores >= 0.5, sample_weight=weight)
    assert found["accuracy"].value == pytest.approx(right, abs=1e-12)
    background, signal, _ = reference.roc_curve(
        target, scores, sample_weight=weight, drop_intermediate=False
    )
    expected = 1 / np.interp(0.5, signal, background)
    assert found["rejection_50"].value == pytest.approx(expected, rel=1e-9)


def test_accuracy_is_the_usual_one_on_a_balanced_test_set():
    scores, target, _ = sample(3)
    found = evaluate(scores, target, np.ones(target.size))
    assert found["accuracy"].value == pytest.approx(np.mean((scores >= 0.5) == target))


def test_signed_weights_agree_with_a_hand_calculation():
    # Signal: 0.9 (+2), 0.3 (-1); background: 0.6 (+3), 0.3 (-1).  W_S = 1, W_B = 2.
    # AUC = [2*3 + 2*(-1) + (-1)*(-1)/2 + (-1)*3*0] / 2 = 4.5 / 2.
    scores, target, weight = [0.9, 0.3, 0.6, 0.3], [1, 1, 0, 0], [2.0, -1.0, 3.0, -1.0]
    roc = roc_curve(scores, target, weight)
    assert roc.auc() == pytest.approx(2.25)
    assert roc.signal.tolist() == [0.0, 2.0, 2.0, 1.0]
    assert roc.background.tolist() == [0.0, 0.0, 1.5, 1.0]
    found = efficiency([True, False, True], [2.0, 1.0, -1.0])
    # e = (2 - 1) / 2; variance = (1/4 * (4 + 1) + 1/4 * 1) / 4.
    assert found.value == pytest.approx(0.5)
    assert found.error == pytest.approx(math.sqrt((0.25 * 5 + 0.25) / 4))


def test_an_event_and_its_negative_twin_cancel():
    scores, target, weight = sample(4)
    doubled = [np.append(scores, [0.99, 0.99]), np.append(target, [0, 0])]
    with_pair = roc_curve(*doubled, np.append(weight, [5.0, -5.0]))
    assert with_pair.auc() == pytest.approx(roc_curve(scores, target, weight).auc(), abs=1e-12)


def test_perfect_random_and_inverted_scores_give_the_known_values():
    target = np.arange(20000) % 2
    ones = np.ones(target.size)
    perfect = evaluate(target.astype(float), target, ones)
    assert (perfect["auc"].value, perfect["auc"].error) == (1.0, 0.0)
    assert perfect["accuracy"].value == 1.0
    assert (perfect["rejection_50"].bound, perfect["rejection_50"].error) == ("at least", math.inf)
    assert perfect["rejection_50"].value == pytest.approx(10_000 / 3.0)  # three may be expected
    assert evaluate(1.0 - target, target, ones)["auc"].value == 0.0
    constant = evaluate(np.full(target.size, 0.5), target, ones)
    assert constant["auc"].value == 0.5
    assert constant["rejection_50"].value == pytest.approx(2.0)
    random = evaluate(np.random.default_rng(0).random(target.size), target, ones)
    for name, value in zip(METRICS, (0.5, 0.5, 1 / 0.3, 2.0, 1 / 0.7), strict=True):
        assert random[name].value == pytest.approx(value, abs=4 * random[name].error), name
        assert 0 < random[name].error < 0.03 * value


def test_a_negative_sum_of_background_that_passes_gives_a_limit():
    target = np.repeat([1, 0], [10, 40])
    scores = np.r_[np.full(10, 0.9), np.full(5, 0.95), np.full(35, 0.1)]
    weight = np.r_[np.ones(10), np.full(5, -1.0), np.ones(35)]
    found = evaluate(scores, target, weight)["rejection_50"]
    assert math.isfinite(found.value)
    assert (found.bound, found.error) == ("at least", math.inf)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    negative=st.sampled_from([0.0, 0.1]),
    scale=st.floats(1e-3, 1e3),
    power=st.sampled_from([0.2, 3.0]),
)
def test_auc_keeps_its_symmetries(seed, negative, scale, power):
    scores, target, weight = sample(seed, n=200, negative=negative, ties=seed % 2 == 0)
    auc = roc_curve(scores, target, weight).auc()
    assert roc_curve(scores**power, target, weight).auc() == pytest.approx(auc, abs=1e-12)
    assert roc_curve(-scores, target, weight).auc() == pytest.approx(1 - auc, abs=1e-9)
    assert roc_curve(scores, 1 - target, weight).auc() == pytest.approx(1 - auc, abs=1e-9)
    by_class = weight * np.where(target == 1, scale, 1.0)
    assert roc_curve(scores, target, by_class).auc() == pytest.approx(auc, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
def test_every_metric_and_error_ignores_the_scale_of_the_weights(seed, scale):
    scores, target, weight = sample(seed, negative=0.05)
    one = evaluate(scores, target, weight, replicas=10)
    other = evaluate(scores, target, weight * scale, replicas=10)
    for name in METRICS:
        assert other[name].value == pytest.approx(one[name].value, rel=1e-6)
        assert other[name].error == pytest.approx(one[name].error, rel=1e-6)


def test_errors_shrink_with_the_root_of_the_number_of_events():
    small = evaluate(*sample(5, n=2500), replicas=300)
    large = evaluate(*sample(6, n=40000), replicas=300)
    for name in METRICS:
        relative = [found[name].error / found[name].value for found in (small, large)]
        assert relative[0] / relative[1] == pytest.approx(4.0, rel=0.35), name


@pytest.mark.parametrize("negative", [0.0, 0.15])
def test_quoted_errors_cover_the_spread_of_new_test_sets(negative):
    found = [evaluate(*sample(seed, n=4000, negative=negative)) for seed in range(80)]
    truth = evaluate(*sample(999, n=400_000, negative=negative), replicas=2)
    for name in METRICS:
        pulls = [(f[name].value - truth[name].value) / f[name].error for f in found]
        inside = np.mean(np.abs(pulls) < 1)
        assert 0.53 < inside < 0.83, (name, inside)  # 0.68 with three sigma of 80 trials


def test_the_same_seed_gives_the_same_error_whatever_the_scores():
    args = sample(7)
    assert evaluate(*args, seed=3) == evaluate(*args, seed=3)
    assert evaluate(*args, seed=3)["auc"].error != evaluate(*args, seed=4)["auc"].error
    one, other = measure(*args)[1], measure(-args[0], *args[1:])[1]
    assert one.paired_with(other)
    assert not one.paired_with(measure(args[0], args[1], 2 * args[2])[1])


def test_compare_pairs_the_replicas():
    scores, target, weight = sample(8, n=4000)
    noisy = scores + np.random.default_rng(1).normal(0, 0.02, scores.size)
    difference = compare(noisy, scores, target, weight)["auc"]
    single = evaluate(scores, target, weight)["auc"]
    assert difference.value == pytest.approx(
        evaluate(noisy, target, weight)["auc"].value - single.value
    )
    assert difference.error < 0.3 * single.error
    equal = compare(scores, scores, target, weight)
    assert all((m.value, m.error) == (0.0, 0.0) for m in equal.values())


def test_kept_replicas_give_the_paired_error():
    scores, target, weight = sample(9, n=4000)
    noisy = scores + np.random.default_rng(1).normal(0, 0.1, scores.size)
    a, b = measure(noisy, target, weight)[1], measure(scores, target, weight)[1]
    spread = np.std(np.subtract(a.values["auc"], b.values["auc"]), ddof=1)
    expected = compare(noisy, scores, target, weight)["auc"].error
    assert spread == pytest.approx(expected, rel=1e-3)


def test_difference_of_infinite_rejections_is_undefined_not_a_warning():
    target = np.arange(100) % 2
    found = compare(target * 1.0, target * 2.0, target, np.ones(100))["rejection_30"]
    assert math.isnan(found.value)
    assert found.error == math.inf


def test_a_hundred_thousand_events_cost_about_a_second():
    args = sample(10, n=100_000)
    start = time.process_time()
    evaluate(*args)
    assert time.process_time() - start < 4.0  # typically 0.6 s


@pytest.mark.parametrize(
    ("scores", "target", "weight", "error", "text"),
    [
        ([], [], [], DataError, "0 events"),
        ([0.5, 0.6], [1, 1], [1, 1], DataError, r"only the target values \[1\]"),
        ([0.5, 0.6], [0, 2], [1, 1], DataError, "must hold 0"),
        ([0.5], [0, 1], [1, 1], DataError, "one length"),
        ([[0.5, 0.6]], [[0, 1]], [[1, 1]], DataError, "one length"),
        ([0.5, math.nan], [0, 1], [1, 1], NumericalError, "1 of 2 scores are not finite"),
        ([0.5, 0.6], [0, 1], [1, math.inf], NumericalError, "weights are not finite"),
        ([0.5, 0.6], [0, 1], [-1, 1], NumericalError, "background weights sum to -1"),
        ([0.5, 0.6], [0, 1], [1, 0], NumericalError, "signal weights sum to 0"),
    ],
)
def test_unusable_input_is_refused(scores, target, weight, error, text):
    with pytest.raises(error, match=text):
        evaluate(scores, target, weight)


def test_a_tiny_test_set_with_barely_positive_sums_still_has_errors():
    scores, target = np.linspace(0, 1, 60), np.arange(60) % 2
    weight = np.where(np.arange(60) % 4 < 2, 1.0, -1.0)
    weight[:2] += 1e-9
    assert evaluate(scores, target, weight)["auc"].error > 0
    assert evaluate([0.2, 0.8], [0, 1], [1, 1])["auc"].error == 0
    with pytest.raises(DataError, match="at least two"):
        evaluate(scores, target, np.ones(60), replicas=1)


def test_efficiency_is_binomial_for_unit_weights():
    found = efficiency(np.arange(100) < 30, np.ones(100))
    assert found.error == pytest.approx(math.sqrt(0.3 * 0.7 / 100))
    with pytest.raises(NumericalError, match="positive sum"):
        efficiency([True], [-1.0])


def test_ranking_reuses_its_order_for_new_weights():
    scores, target, weight = sample(11)
    ranking = Ranking(scores, target == 1)
    assert ranking.roc(weight).auc() == roc_curve(scores, target, weight).auc()


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.8213, 0.00099, "0.82130 ± 0.00099"),
        (0.8213, 0.000999, "0.8213 ± 0.0010"),
        (0.8213, 0.012, "0.821 ± 0.012"),
        (-0.00041, 0.0012, "-0.0004 ± 0.0012"),
        (5.0, 12.4, "5 ± 12"),
        (99999.0, 1234.0, "100000 ± 1200"),
        (1.0, 0.0, "1 ± 0"),
        (3.0, math.inf, "3 ± ?"),
        (math.nan, 1.0, "undefined"),
        (-math.inf, 1.0, "-∞"),
    ],
)
def test_format_measurement_prints_what_the_error_supports(value, error, text):
    assert format_measurement(value, error) == text
