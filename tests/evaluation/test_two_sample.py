from __future__ import annotations

import numpy as np
import pytest

from transferline.errors import DataError
from transferline.evaluation.two_sample import kolmogorov_smirnov


def test_p_value_is_uniform_under_the_null_and_tiny_for_a_shift():
    rng = np.random.default_rng(0)
    p = [kolmogorov_smirnov(rng.normal(size=300), rng.normal(size=400)) for _ in range(300)]
    assert abs(np.mean(p) - 0.5) < 0.06
    assert abs(np.mean(np.array(p) < 0.1) - 0.1) < 0.06
    assert kolmogorov_smirnov(rng.normal(size=500), rng.normal(0.5, 1, 500)) < 1e-6


def test_agrees_with_scipy():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(1)
    a, b = rng.normal(size=400), rng.normal(0.1, 1, 300)
    assert kolmogorov_smirnov(a, b) == pytest.approx(ks_2samp(a, b).pvalue, rel=0.1)


def test_weights_count_as_effective_events_and_may_be_negative():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=500), rng.normal(0.2, 1, 500)
    assert kolmogorov_smirnov(a, b, np.full(500, 7.0)) == pytest.approx(kolmogorov_smirnov(a, b))
    signs = np.where(rng.random(500) < 0.3, -1.0, 1.0)
    assert kolmogorov_smirnov(a, b, signs) > kolmogorov_smirnov(a, b)


def test_identical_samples_agree_and_empty_ones_are_refused():
    assert kolmogorov_smirnov([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
    with pytest.raises(DataError, match="empty"):
        kolmogorov_smirnov([], [1.0])
