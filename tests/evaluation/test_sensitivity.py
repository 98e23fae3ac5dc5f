"""Expected sensitivity: pyhf and the Asimov formula agree, and bins are never empty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transferline.evaluation import sensitivity
from transferline.evaluation.sensitivity import Binned, asimov_significance, binned, fit


def toy(n=20_000, luminosity=1.0):
    rng = np.random.default_rng(0)
    target = np.repeat([1, 0], [n, n])
    scores = np.where(target == 1, rng.beta(4, 1, 2 * n), rng.beta(1, 4, 2 * n))
    weight = np.where(target == 1, 20.0 / n, 2000.0 / n) * luminosity
    return scores, target, weight


def test_bins_hold_all_events_and_enough_background():
    scores, target, weight = toy()
    found = binned(scores, target, weight, bins=20, least=50)
    assert found.signal.sum() == pytest.approx(20)
    assert found.background.sum() == pytest.approx(2000)
    assert (found.background**2 / found.error**2 >= 50 * (1 - 1e-9)).all()
    halves = found.background[1:] / found.background[:-1]
    assert np.allclose(halves[:-1], 0.5, atol=0.01)


def test_equal_scores_of_most_events_leave_no_bin_without_background():
    scores, target, weight = toy()
    coarse = np.maximum(np.floor(scores * 4), 2.0)  # as of trees of a hundred events
    assert np.mean(coarse[target == 0] == 2.0) > 0.5
    found = binned(coarse, target, weight, bins=20)
    assert (found.background > 0).all()
    assert found.background.sum() == pytest.approx(2000)


def test_the_formula_knows_its_limits():
    sure = Binned(np.array([5.0]), np.array([10_000.0]), np.array([1e-2]), np.zeros(2))
    assert asimov_significance(sure) == pytest.approx(5 / 100, rel=1e-3)
    unsure = Binned(np.array([50.0]), np.array([10_000.0]), np.array([500.0]), np.zeros(2))
    assert asimov_significance(unsure) == pytest.approx(50 / np.hypot(100, 500), rel=0.01)


@pytest.mark.parametrize(("signal", "background"), [(1.0, 1e8), (10.0, 1e10)])
def test_a_signal_in_very_much_background_is_not_lost_to_rounding(signal, background):
    s, b = np.array([signal]), np.array([background])
    found = asimov_significance(Binned(s, b, 1e-3 * np.sqrt(b), np.zeros(2)))
    assert found == pytest.approx(signal / np.sqrt(background * (1 + 1e-6)), rel=1e-3)


def test_signed_weights_leave_no_replica_without_a_number(monkeypatch):
    monkeypatch.setattr(sensitivity, "can_fit", lambda: False)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        target = np.repeat([1, 0], [1000, 3000])
        weight = np.where(target == 1, 0.05, np.where(rng.random(4000) < 0.25, -1.0, 1.0))
        scores = np.where(target == 1, rng.beta(4, 1, 4000), rng.beta(1, 4, 4000))
        found = sensitivity.expected(scores, target, weight, seed)["asimov_significance"]
        assert np.isfinite(found.error), seed


def test_pyhf_and_the_formula_agree():
    pytest.importorskip("pyhf", reason="extra stats")
    found = binned(*toy(), bins=5)
    result = fit(found)
    assert result.significance == pytest.approx(result.asimov, rel=0.01)
    assert result.limit == pytest.approx(1.64 / result.asimov, rel=0.25)
    more = fit(binned(*toy(luminosity=4.0), bins=5))
    assert more.significance > 1.5 * result.significance
    assert more.limit < result.limit / 1.5


@pytest.mark.parametrize("luminosity", [1e-3, 1.0, 1e3, 1e6])
def test_the_fit_is_as_exact_with_millions_of_events(luminosity):
    pytest.importorskip("pyhf", reason="extra stats")
    found = binned(*toy(luminosity=luminosity), bins=8)
    result = fit(found)
    assert result.significance == pytest.approx(result.asimov, rel=1e-3)


def test_a_signal_far_above_the_background():
    pytest.importorskip("pyhf", reason="extra stats")
    one = Binned(np.array([150.0]), np.array([1.0]), np.array([0.3]), np.zeros(2))
    result = fit(one)
    assert result.significance == pytest.approx(result.asimov, rel=1e-3)
    assert 0.01 < result.limit < 0.04


def test_the_limit_ends_at_what_simulation_knows():
    pytest.importorskip("pyhf", reason="extra stats")
    much, more = (fit(binned(*toy(luminosity=x), bins=8)).limit for x in (1e4, 1e7))
    assert more == pytest.approx(much, rel=0.02)


def test_the_limit_is_where_cls_is_a_twentieth():
    pyhf = pytest.importorskip("pyhf", reason="extra stats")
    for luminosity in (1.0, 1e-4):  # the second expects less than an event in every bin
        found = binned(*toy(luminosity=luminosity), bins=4)
        model = sensitivity._model(pyhf, replace(found, signal=found.signal * fit(found).limit))
        nothing = sensitivity._Asimov.of(pyhf, found, 0.0).data
        cls = float(pyhf.infer.hypotest(1.0, nothing, model, test_stat="qtilde"))
        assert cls == pytest.approx(0.05, rel=0.02)


def test_no_signal_has_no_limit():
    pytest.importorskip("pyhf", reason="extra stats")
    scores, target, weight = toy()
    nothing = replace(binned(scores, target, weight, bins=3), signal=np.zeros(3))
    assert fit(nothing).significance == 0.0
    assert fit(nothing).limit == np.inf


def test_bins_that_signed_weights_make_negative_are_joined_with_the_one_below():
    """Of a finished training no such bin may cost the result."""
    scores, target, weight = toy()
    usual = binned(scores, target, weight, bins=8)
    third = (scores >= usual.edges[3]) & (scores < usual.edges[4])
    for label in (0, 1):  # a bin without positive background, and one with negative signal
        found = binned(scores, target, np.where(third & (target == label), -weight, weight), bins=8)
        assert (found.signal >= 0).all() and (found.background > 0).all()
        assert len(found.signal) < len(usual.signal) + label
    lowest = scores < usual.edges[1]
    found = binned(scores, target, np.where(lowest & (target == 1), -weight, weight), bins=8)
    assert found.edges[0] == -np.inf and (found.signal >= 0).all()
    assert found.signal.sum() == pytest.approx(
        weight[(target == 1) & ~lowest].sum() - weight[(target == 1) & lowest].sum()
    )


def test_a_sample_that_is_absent_from_a_bin_is_not_known_to_be_absent():
    """Fifty heavy events of low scores: one more or less above them would be as likely."""
    rng = np.random.default_rng(0)
    scores = np.concatenate((rng.uniform(0, 0.9, 50), rng.uniform(0.9, 1, 2000), np.ones(100)))
    target = np.repeat([0, 1], [2050, 100])
    weight = np.concatenate((np.full(50, 100.0), np.full(2100, 1.0)))
    sample = np.repeat([0, 1, 2], [50, 2000, 100])
    blind, told = (binned(scores, target, weight, stratum=one) for one in (None, sample))
    assert blind.error[-1] < 10
    assert told.error[-1] >= 100
    assert asimov_significance(told) < asimov_significance(blind)
