from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferline.evaluation.measurement import Measurement
from transferline.validation.statistics import (
    chi2_per_degree,
    gaussian_core,
    half_width,
    maximum,
    mean,
    median,
    rms,
    share,
)


def pull(found: Measurement, truth: float) -> float:
    return abs(found.value - truth) / found.error


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_a_gaussian_is_recognised_whatever_estimator(seed):
    x = np.random.default_rng(seed).normal(80.0, 10.0, 4000)
    peak = gaussian_core(x)
    assert pull(peak.position, 80.0) < 5
    assert pull(peak.width, 10.0) < 5
    assert pull(median(x), 80.0) < 5
    assert pull(half_width(x), 10.0) < 5
    assert pull(rms(x), 10.0) < 5
    assert pull(mean(x), 80.0) < 5


def test_tails_do_not_move_the_core():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(80.0, 8.0, 6000), rng.uniform(80.0, 400.0, 600)])
    peak = gaussian_core(x)
    assert peak.position.value == pytest.approx(80.0, abs=0.6)
    assert peak.width.value == pytest.approx(8.0, abs=0.6)
    assert rms(x).value > 30.0


def test_errors_are_those_of_repetition():
    rng = np.random.default_rng(2)
    samples = rng.normal(0.0, 1.0, (200, 500))
    spread = np.std([np.median(x) for x in samples])
    errors = [median(x).error for x in samples[:15]]
    assert np.mean(errors) == pytest.approx(spread, rel=0.2)
    assert mean(samples[0]).error == pytest.approx(1 / math.sqrt(500), rel=0.1)


def test_a_peak_on_a_background_is_found():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(80.0, 9.0, 2000), rng.exponential(100.0, 4000)])
    found = maximum(x, np.ones(len(x)), np.arange(50.0, 115.0, 0.5), 5.0)
    assert found.value == pytest.approx(79.5, abs=3.0)
    assert 0.1 < found.error < 3.0


@pytest.mark.parametrize("end", [110.0, 110.5])
def test_a_peak_stays_where_it_is_on_any_grid(end):
    """A smoothing of an even number of points would move it by a step."""
    found = maximum(np.full(100, 80.0), np.ones(100), np.arange(50.0, end, 0.5), 4.0)
    assert found.value == 80.0


def test_weights_count_and_signs_too():
    passed = np.array([True, True, False, False])
    weight = np.array([2.0, -1.0, 2.0, 1.0])
    assert share(passed, weight).value == pytest.approx(0.25)
    assert mean(np.array([1.0, 2.0]), np.array([3.0, 1.0])).value == pytest.approx(1.25)


@given(st.integers(1, 400), st.integers(0, 400))
@settings(max_examples=40)
def test_a_share_is_never_exact(n, k):
    found = share(np.arange(n) < min(k, n))
    assert 0.0 <= found.value <= 1.0
    assert found.error >= 1.0 / n - 1e-12
    assert found.error <= max(0.5 / math.sqrt(n), 1.0 / n) + 1e-9


def test_too_few_values_give_no_number():
    for found in (share(np.zeros(0, bool)), mean(np.ones(1)), median(np.ones(3))):
        assert math.isnan(found.value)
    assert math.isnan(chi2_per_degree([Measurement(math.nan, math.nan)], [1.0]).value)


def test_chi2_tells_a_shift_from_a_fluctuation():
    right = [Measurement(1.0 + s, 0.1) for s in (0.1, -0.1, 0.1, -0.1)]
    wrong = [Measurement(1.5, 0.1)] * 4
    assert chi2_per_degree(right, [1.0] * 4).value == pytest.approx(1.0)
    assert chi2_per_degree(wrong, [1.0] * 4).value == pytest.approx(25.0)
