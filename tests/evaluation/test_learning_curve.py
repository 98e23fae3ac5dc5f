from __future__ import annotations

import math

import numpy as np
import pytest

from transferline.errors import DataError, NumericalError
from transferline.evaluation.bootstrap import Replicas
from transferline.evaluation.comparison import error_reduction, gap_closed, paired_difference
from transferline.evaluation.data_efficiency import data_efficiency, isotonic
from transferline.evaluation.learning_curve import learning_curve, scratch_for
from transferline.evaluation.metrics import Measurement, compare
from transferline.evaluation.records import Hashes
from transferline.evaluation.tail import over_seeds

from .synthetic import BACKBONE_HASHES, curve, log_line, record, scored, separated_scores

SIZES = (100, 1000, 10000)


def lines_of(*groups, metric="auc"):
    found = learning_curve([r for group in groups for r in group], metric)
    return {line.mode: line for line in found}


def test_a_point_has_the_mean_spread_and_both_errors():
    values = [0.80, 0.82, 0.81, 0.79, 0.83]
    records = [record(seed=s, auc=v, error=0.004) for s, v in enumerate(values)]
    point = learning_curve(records)[0].points[0]
    assert point.value == pytest.approx(0.81)
    assert point.spread == pytest.approx(np.std(values, ddof=1))
    assert point.test_error == pytest.approx(0.004)  # common to all seeds: not 0.004 / sqrt(5)
    assert point.error == pytest.approx(math.hypot(point.spread / math.sqrt(5), 0.004))


def test_a_single_seed_has_only_the_error_of_the_test_set():
    point = learning_curve([record(auc=0.8, error=0.004)])[0].points[0]
    assert math.isnan(point.spread)
    assert point.error == pytest.approx(0.004)


def test_replicas_give_the_error_of_the_test_set():
    rng = np.random.default_rng(0)
    target = np.arange(4000) % 2
    records = [
        scored("scratch", 300, seed, (separated_scores(rng, target, 1.0), target, np.ones(4000)))
        for seed in range(3)
    ]
    point = learning_curve(records)[0].points[0]
    single = records[0].metrics["auc"].error
    assert 0.4 * single < point.test_error < single  # the scores' own noise averages, partly


def test_paired_differences_lose_what_seeds_share():
    rng = np.random.default_rng(1)
    shared = 0.01 * rng.standard_normal((5, 3))
    lines = lines_of(
        curve("scratch", SIZES, range(5), log_line, shared=shared, error=0.0),
        curve("finetuned", SIZES, range(5), lambda n: log_line(n) + 0.02, shared=shared, error=0.0),
    )
    for found in paired_difference(lines["finetuned"], lines["scratch"]):
        assert found.measurement.value == pytest.approx(0.02)
        assert found.measurement.error < 1e-12
        assert found.seeds == (0, 1, 2, 3, 4)
    assert lines["scratch"].at(100).error > 0.001


def test_paired_error_is_the_one_of_the_differences():
    rng = np.random.default_rng(2)
    a, b = 0.8 + 0.01 * rng.standard_normal((2, 5))
    lines = lines_of(
        [record("scratch", 300, s, auc=v, error=0.0) for s, v in enumerate(a)],
        [record("finetuned", 300, s, auc=v, error=0.0) for s, v in enumerate(b)],
    )
    (found,) = paired_difference(lines["finetuned"], lines["scratch"])
    assert found.measurement.error == pytest.approx(np.std(b - a, ddof=1) / math.sqrt(5))
    assert found.significance == pytest.approx(found.measurement.value / found.measurement.error)


def test_only_common_seeds_are_paired():
    lines = lines_of(
        [record("scratch", 300, s, auc=0.8 + 0.01 * s) for s in range(5)],
        [record("finetuned", 300, s, auc=0.9 + 0.01 * s) for s in (3, 4, 9)],
        [record("trees", 300, s) for s in (7, 8)],
    )
    (found,) = paired_difference(lines["finetuned"], lines["scratch"])
    assert found.seeds == (3, 4)
    assert found.measurement.value == pytest.approx(0.1)
    assert paired_difference(lines["trees"], lines["scratch"]) == []


def test_a_replica_without_a_number_leaves_the_error_of_the_record():
    drawn = (100.0, math.inf, 120.0)
    one = record(
        metrics={"rejection": Measurement(110.0, 20.0)},
        replicas=Replicas("test", 0, {"rejection": drawn}),
    )
    [line] = learning_curve([one], "rejection")
    assert line.points[0].measurement.error == pytest.approx(20.0)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_of_rejections_the_efficiencies_are_averaged(seeds):
    """One seed that lets next to nothing pass does not rule the mean; `over_seeds` agrees."""
    rng = np.random.default_rng(seeds)
    found = [Measurement(v, 0.3 * v) for v in [500.0, *rng.uniform(20, 40, 4)][:seeds]]
    records = [record(seed=s, metrics={"rejection_50": m}) for s, m in enumerate(found)]
    [line] = learning_curve(records, "rejection_50")
    point, known = line.points[0], over_seeds(found)
    assert point.value == pytest.approx(known.value)
    assert point.error == pytest.approx(known.error)


def test_replicas_of_a_rejection_give_the_error_of_its_mean_efficiency():
    rng = np.random.default_rng(4)
    passing = 0.01 + 0.001 * rng.standard_normal((2, 400))
    records = [
        record(
            seed=seed,
            metrics={"rejection_50": Measurement(100.0, 10.0)},
            replicas=Replicas("test", 0, {"rejection_50": tuple(1.0 / row)}),
        )
        for seed, row in enumerate(passing)
    ]
    [line] = learning_curve(records, "rejection_50")
    expected = 100.0**2 * np.std(passing.mean(0), ddof=1)
    assert line.points[0].test_error == pytest.approx(expected, rel=0.02)


def test_the_test_set_is_paired_through_replicas_and_bounded_without():
    rng = np.random.default_rng(3)
    target, ones = np.arange(6000) % 2, np.ones(6000)
    base = separated_scores(rng, target, 1.0)
    better = base + 0.1 * (target - 0.5)
    pair = [
        scored("scratch", 300, 0, (base, target, ones)),
        scored("finetuned", 300, 0, (better, target, ones)),
    ]
    lines = lines_of(pair)
    (found,) = paired_difference(lines["finetuned"], lines["scratch"])
    expected = compare(better, base, target, ones)["auc"]
    assert found.paired_test
    assert found.measurement.value == pytest.approx(expected.value)
    assert found.measurement.error == pytest.approx(expected.error, rel=1e-3)
    bare = lines_of([r.model_copy(update={"replicas": None}) for r in pair])
    (bound,) = paired_difference(bare["finetuned"], bare["scratch"])
    assert not bound.paired_test
    assert bound.measurement.error > 2 * expected.error


def test_error_reduction_and_gap_closed_have_the_true_values():
    lines = lines_of(
        curve("scratch", SIZES, range(5), log_line, error=0.0),
        curve("finetuned", SIZES, range(5), lambda n: log_line(n) + 0.01, error=0.0),
    )
    reduction = error_reduction(lines["finetuned"], lines["scratch"])
    assert reduction[100].value == pytest.approx(0.01 / (1 - log_line(100)))
    share = gap_closed(lines["finetuned"], lines["scratch"], 100, 10000)
    assert share.value == pytest.approx(0.01 / 0.04)
    assert share.error == pytest.approx(0.0, abs=1e-12)


def test_gap_closed_error_covers():
    rng = np.random.default_rng(4)
    pulls = []
    for _ in range(150):
        lines = lines_of(
            curve("scratch", SIZES, range(5), log_line, rng, 0.004, error=0.0),
            curve("finetuned", SIZES, range(5), lambda n: log_line(n, 10), rng, 0.004, error=0.0),
        )
        share = gap_closed(lines["finetuned"], lines["scratch"], 100, 10000)
        pulls.append((share.value - 0.5) / share.error)
    # Student's t of four degrees of freedom and more: a little wider than one.
    assert 0.8 < np.std(pulls) < 1.5


def test_a_gap_that_is_not_there_is_refused():
    lines = lines_of(
        curve("scratch", SIZES, range(2), lambda n: 0.8),
        curve("finetuned", SIZES, range(2), log_line),
    )
    with pytest.raises(NumericalError, match="no gap"):
        gap_closed(lines["finetuned"], lines["scratch"], 100, 1000)
    with pytest.raises(DataError, match="no point at 55"):
        gap_closed(lines["finetuned"], lines["scratch"], 55, 1000)


def test_factor_is_the_true_shift_of_the_curve():
    lines = lines_of(
        curve("scratch", SIZES, range(5), log_line, error=0.0),
        curve("finetuned", (100, 1000), range(5), lambda n: log_line(n, 5), error=0.0),
    )
    for found in data_efficiency(lines["finetuned"], lines["scratch"]):
        assert found.value == pytest.approx(5.0)
        assert (found.low, found.high) == pytest.approx((5.0, 5.0))
        assert found.limit == ""


def test_factor_of_the_same_curve_is_one():
    lines = lines_of(curve("scratch", SIZES, range(5), log_line))
    found = data_efficiency(lines["scratch"], lines["scratch"])
    assert [factor.value for factor in found] == pytest.approx([1.0, 1.0, 1.0])


def test_factor_interval_covers():
    rng = np.random.default_rng(5)
    inside = 0
    for trial in range(120):
        lines = lines_of(
            curve("scratch", (100, 1000, 10000, 100000), range(5), log_line, rng, 0.004, error=0.0),
            curve("finetuned", (1000,), range(5), lambda n: log_line(n, 5), rng, 0.004, error=0.0),
        )
        (found,) = data_efficiency(lines["finetuned"], lines["scratch"], seed=trial)
        inside += found.low <= 5.0 <= found.high
    assert 0.53 < inside / 120 < 0.80


def test_factor_beyond_the_curve_is_a_limit():
    lines = lines_of(
        curve("scratch", SIZES, range(5), log_line, error=0.0005),
        curve("finetuned", (100, 10000), range(5), lambda n: log_line(n, 5), error=0.0005),
        curve("frozen", (100, 10000), range(5), lambda n: log_line(n, 0.1), error=0.0005),
    )
    inside, above = data_efficiency(lines["finetuned"], lines["scratch"])
    assert inside.limit == ""
    assert above.limit == "at least"
    assert above.value == pytest.approx(1.0)
    assert str(above).startswith("≥ 1")
    below, inner = data_efficiency(lines["frozen"], lines["scratch"])
    assert below.limit == "at most"
    assert below.value == pytest.approx(1.0)
    assert str(below).startswith("≤ 1")
    assert inner.value == pytest.approx(0.1)


def test_an_interval_that_leaves_the_curve_is_open():
    lines = lines_of(
        curve("scratch", SIZES, range(5), log_line, error=0.0),
        curve("finetuned", (1000,), range(5), lambda n: log_line(n, 9.9), error=0.02),
    )
    (found,) = data_efficiency(lines["finetuned"], lines["scratch"])
    assert found.limit == ""
    assert found.high == math.inf
    assert "beyond the curve" in str(found)


def test_no_factor_is_read_between_sizes_far_apart():
    rising = {1000: 0.80, 100_000: 0.90}
    lines = lines_of(
        [record("scratch", n, s, auc=v, error=0.001) for n, v in rising.items() for s in (0, 1)],
        [record("finetuned", 1000, s, auc=0.85, error=0.001) for s in (0, 1)],
    )
    (found,) = data_efficiency(lines["finetuned"], lines["scratch"])
    assert found.between == pytest.approx((1.0, 100.0))
    assert str(found) == "1 to 100, no size between"
    more = [record("scratch", 10_000, s, auc=0.88, error=0.001) for s in (0, 1)]
    lines = lines_of(
        [record("scratch", n, s, auc=v, error=0.001) for n, v in rising.items() for s in (0, 1)],
        [record("finetuned", 1000, s, auc=0.85, error=0.001) for s in (0, 1)],
        more,
    )
    (found,) = data_efficiency(lines["finetuned"], lines["scratch"])
    assert found.between is None
    assert 1 < found.value < 10


def test_few_seeds_widen_the_interval_of_a_factor():
    """Two seeds: of Student's t with one degree of freedom 68 % lie within 1.84 errors."""
    values = {100: 0.70, 1000: 0.80, 10000: 0.90}

    def widths(seeds):
        away = [0.01 * (2 * s / (seeds - 1) - 1) for s in range(seeds)]
        scale = math.sqrt(seeds) / np.std(away, ddof=1) * 0.005  # equal errors of the mean
        lines = lines_of(
            [record("scratch", n, s, auc=v, error=0.0) for n, v in values.items()
             for s in range(seeds)],
            [record("finetuned", 1000, s, auc=0.8 + scale * a, error=0.0)
             for s, a in enumerate(away)],
        )  # fmt: skip
        (found,) = data_efficiency(lines["finetuned"], lines["scratch"])
        return math.log(found.high / found.low)

    assert widths(2) / widths(30) == pytest.approx(1.84, rel=0.15)


def test_factor_needs_a_curve():
    lines = lines_of(curve("scratch", (100,), range(2), log_line))
    with pytest.raises(DataError, match="two or more sizes"):
        data_efficiency(lines["scratch"], lines["scratch"])


def test_isotonic_agrees_with_scikit_learn():
    from sklearn.isotonic import isotonic_regression

    values = np.random.default_rng(6).normal(size=(20, 7))
    for row, found in zip(values, isotonic(values), strict=True):
        assert found == pytest.approx(isotonic_regression(row))


def test_repeats_count_once_and_other_configurations_are_refused():
    twice = [record(seed=1, auc=0.7, time="1"), record(seed=1, auc=0.8, time="2"), record(seed=2)]
    point = learning_curve(twice)[0].points[0]
    assert point.values[1] == 0.8
    other = record(seed=1, hashes=record().hashes.model_copy(update={"config": "beef"}))
    with pytest.raises(DataError, match=r"beef, c0ffee"):
        learning_curve([record(seed=1), other])


def test_a_curve_needs_one_task_and_a_finite_known_metric():
    with pytest.raises(DataError, match="of none"):
        learning_curve([])
    with pytest.raises(DataError, match="toy/a, toy/b"):
        learning_curve([record(task="a"), record(task="b")])
    with pytest.raises(DataError, match="no metric 'aux'; it has auc"):
        learning_curve([record()], "aux")
    infinite = record(metrics={"rejection_30": Measurement(math.inf, math.inf)})
    with pytest.raises(NumericalError, match="∞"):
        learning_curve([infinite], "rejection_30")


def test_scratch_is_found_for_each_line():
    lines = learning_curve(
        [
            record("finetuned", pretraining="a"),
            record("finetuned", pretraining="b"),
            record("scratch", pretraining="a"),
            record("scratch", pretraining="b"),
            record("trees"),
        ]
    )
    assert [line.name for line in lines][:2] == ["trees", "scratch (a)"]
    found = {line.name: scratch_for(line, lines) for line in lines}
    assert found["finetuned (b)"].name == "scratch (b)"
    assert found["trees"] is None
    only = learning_curve([record("scratch", pretraining="a"), record("trees")])
    assert scratch_for(only[0], only).name == "scratch (a)"


def test_seeds_of_different_settings_have_no_mean():
    """As where a study's settings changed between two of its runs."""
    other = Hashes(config="0ther", data="da7a", **BACKBONE_HASHES["scratch"])
    made = [record(seed=0), record(seed=1, hashes=other)]
    with pytest.raises(DataError, match=r"seeds 0, 1 .* different settings"):
        learning_curve(made)
