import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferline.data.unweighting import ceiling, lost_above, unweighted

weights = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60).map(np.array)


@given(weights, st.floats(0, 0.5))
def test_no_more_than_allowed_lies_above_the_least_such_ceiling(weight, allowed):
    top = ceiling(weight, allowed)
    assert top in weight
    assert lost_above(weight, top) <= allowed + 1e-9
    below = weight[weight < top]
    if len(below):
        assert lost_above(weight, below.max()) > allowed - 1e-9


def test_equal_weights_all_stay_and_nothing_is_left_out():
    weight = np.full(50, 0.3)
    rows = unweighted(weight, ceiling(weight), np.random.default_rng(1))
    assert rows.tolist() == list(range(50))
    assert lost_above(weight, ceiling(weight)) == 0


def test_one_heavy_event_in_a_thousand_does_not_cost_the_others():
    weight = np.ones(1000)
    weight[3] = 5.0
    top = ceiling(weight)
    assert (top, lost_above(weight, top)) == (1.0, pytest.approx(4 / 1004))
    assert len(unweighted(weight, top, np.random.default_rng(1))) == 1000


def test_events_stay_in_proportion_to_their_weights():
    weight = np.repeat([0.25, 1.0, 2.0], 40_000)
    rows = unweighted(weight, ceiling(weight), np.random.default_rng(2))
    kept = np.bincount(rows // 40_000) / 40_000
    assert ceiling(weight) == 2.0
    assert kept == pytest.approx([0.125, 0.5, 1.0], abs=0.008)
