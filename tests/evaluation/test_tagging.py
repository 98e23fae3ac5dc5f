"""Metrics of many classes against formulas, a second implementation, and known numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from transferline.errors import DataError, NumericalError
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.one_against_one import OneAgainstOne
from transferline.evaluation.records import Record
from transferline.evaluation.tagging import (
    Question,
    class_details,
    discriminant,
    measure_classes,
)
from transferline.evaluation.tail import over_seeds

from .synthetic import scored, separated_scores

ASKED = Question(("QCD", "A", "B"), "QCD", {"A": 50, "B": 90})


def drawn(n, seed, strength=1.5, classes=3, digits=None):
    """Probabilities `[n, c]`, targets and weights; rounded ones have many ties."""
    rng = np.random.default_rng(seed)
    target = np.arange(n) % classes
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), target] += strength
    p = np.exp(logits)
    p /= p.sum(1, keepdims=True)
    return (p if digits is None else p.round(digits)), target, np.ones(n)


@given(st.integers(0, 1000), st.sampled_from([None, 1]), st.integers(2, 5))
def test_the_auc_is_that_of_scikit_learn(seed, digits, classes):
    p, target, weight = drawn(60, seed, classes=classes)
    if digits is not None:  # ties within a column; rows must still sum to one
        p = np.exp(np.log(p).round(digits - 1))
        p /= p.sum(1, keepdims=True)
    ours = OneAgainstOne(p, target).auc(weight)
    if classes > 2:
        expected = roc_auc_score(target, p, multi_class="ovo")
    else:
        expected = roc_auc_score(target, p[:, 1])
    assert ours == pytest.approx(expected, abs=1e-12)


def test_weights_are_numbers_of_events_and_negative_ones_take_away():
    p, target, weight = drawn(600, 1, digits=2)
    counts = np.random.default_rng(2).integers(1, 4, 600)
    repeated = [np.repeat(values, counts, axis=0) for values in (p, target, weight)]
    extra = np.arange(60)  # these stand there twice more, once with each sign
    more = [np.concatenate([values, values[extra], values[extra]]) for values in (p, target)]
    signed = np.concatenate([counts, np.ones(60), -np.ones(60)]).astype(float)
    plain, _ = measure_classes(*repeated, ASKED)
    for given_p, given_t, w in ((p, target, counts.astype(float)), (*more, signed)):
        found, _ = measure_classes(given_p, given_t, w, ASKED)
        for name, value in plain.items():
            assert found[name].value == pytest.approx(value.value), name


def test_perfect_scores_leave_only_limits_and_chance_gives_chance():
    target = np.arange(3000) % 3
    perfect, _ = measure_classes(np.eye(3)[target], target, np.ones(3000), ASKED)
    assert perfect["auc"].value == perfect["accuracy"].value == 1.0
    # None of 1000 background events passes: at 95 % confidence fewer than 3 in 1000 do.
    assert perfect["rejection_50_A"] == Measurement(1000 / 3, math.inf, "at least")
    assert str(perfect["rejection_50_A"]) == "> 333"
    p, target, weight = drawn(3000, 0, strength=0.0)
    chance, _ = measure_classes(p, target, weight, ASKED)
    for name, known in (("auc", 1 / 2), ("accuracy", 1 / 3), ("rejection_50_A", 2)):
        assert abs(chance[name].value - known) < 4 * chance[name].error, name


@pytest.mark.parametrize(("passing", "bound"), [(2, 1000 / 6.30), (10, None)])
def test_the_rejection_and_its_error_by_hand(passing, bound):
    """Of 1000 QCD jets so many lie above all A; half of the A above the rest."""
    target = np.repeat([0, 1, 2], 1000)
    score = np.concatenate(
        [np.where(np.arange(1000) < passing, 0.9, 0.1), np.full(500, 0.8), np.full(500, 0.05)]
    )
    p = np.zeros((3000, 3))
    p[:2000, 1], p[:2000, 0] = score, 1 - score
    p[2000:, 2] = 1.0
    found = measure_classes(p, target, np.ones(3000), ASKED)[0]["rejection_50_A"]
    if bound is not None:
        assert found.bound == "at least" and found.value == pytest.approx(bound)
        return
    assert found.value == pytest.approx(1000 / passing)
    # At least the Poisson error of those that pass; more, as the threshold moves with the replicas.
    assert found.error > 0.8 * found.value / math.sqrt(passing)


def test_errors_are_the_spread_over_test_sets():
    errors, values = {}, {}
    for seed in range(40):
        found, _ = measure_classes(*drawn(900, seed), ASKED, replicas=30)
        for name, measured in found.items():
            errors.setdefault(name, []).append(measured.error)
            values.setdefault(name, []).append(measured.value)
    for name, spread in values.items():
        if np.isfinite(errors[name]).all():
            assert np.mean(errors[name]) == pytest.approx(np.std(spread), rel=0.4), name


def test_the_discriminant_ignores_other_classes_and_survives_zeros():
    p = np.array([[0.1, 0.3, 0.6], [0.0, 0.0, 1.0], [0.2, 0.0, 0.8]])
    assert discriminant(p, 1, 0).tolist() == pytest.approx([0.75, 0.5, 0.0])


def test_details_are_plain_numbers_that_fit_the_metrics():
    p, target, weight = drawn(3000, 3)
    metrics, _ = measure_classes(p, target, weight, ASKED)
    details = class_details(p, target, weight, ASKED)
    table = np.array(details["confusion"])
    assert table.sum(1) == pytest.approx(1.0, abs=1e-4)
    assert table.diagonal().mean() == pytest.approx(metrics["accuracy"].value, abs=1e-5)
    at_half = details["roc"]["signal"].index(0.5)
    background = details["roc"]["A"][at_half]
    assert 1 / background == pytest.approx(metrics["rejection_50_A"].value, rel=1e-3)


def test_seeds_are_combined_through_their_efficiencies():
    whole = over_seeds([Measurement(100.0, 10.0), Measurement(300.0, 90.0)])
    assert whole.value == pytest.approx(150.0)
    limit = over_seeds([Measurement(100.0, 10.0), Measurement(300.0, math.inf, "at least")])
    assert limit.bound == "at least"
    assert limit.value == pytest.approx(2 / (1 / 100 + 1.645 * 10 / 100**2 + 1 / 300))


def test_limits_survive_a_record_and_old_records_are_what_they_were():
    target = np.arange(400) % 2
    sample = separated_scores(np.random.default_rng(0), target, 1.0), target, np.ones(400)
    record = scored("scratch", 10, 0, sample)
    text = record.model_dump_json(exclude_none=True)
    assert "bound" not in text
    limit = Measurement(500.0, math.inf, "at least")
    changed = record.model_copy(update={"metrics": {**record.metrics, "rejection_50_Hbb": limit}})
    again = Record.model_validate_json(changed.model_dump_json(exclude_none=True))
    assert again.metrics["rejection_50_Hbb"] == limit


def test_what_cannot_be_measured_is_said():
    p, target, weight = drawn(30, 0)
    with pytest.raises(DataError, match="one table of 3 columns"):
        measure_classes(p[:, :2], target, weight, ASKED)
    with pytest.raises(NumericalError, match="class B"):
        measure_classes(p, target % 2, weight, ASKED)
    with pytest.raises(NumericalError, match="1 scores are not finite"):
        broken = p.copy()
        broken[3, 1] = np.nan
        measure_classes(broken, target, weight, ASKED)
    with pytest.raises(DataError, match="targets must be 0 to 2"):
        measure_classes(p, target + 1, weight, ASKED)
