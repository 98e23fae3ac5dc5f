from __future__ import annotations

import numpy as np

from transferline.data.selections.flat import Flat
from transferline.data.selections.merge import _order, merge


def test_order_is_that_of_lexsort_with_ties():
    rng = np.random.default_rng(0)
    n = 20_000
    event, rank = rng.integers(0, 300, n), rng.integers(0, 4, n)
    pt = rng.choice(rng.exponential(50.0, 500).astype(np.float32), n)
    pt[:50] = 0.0
    np.testing.assert_array_equal(_order(event, rank, pt), np.lexsort((-pt, rank, event)))


def _flat(n: int, event: list[int], pt: list[float], **columns: list[float]) -> Flat:
    given = {"pt": pt, **columns}
    return Flat(n, np.array(event), {k: np.array(v, np.float32) for k, v in given.items()})


def test_a_cap_takes_jets_and_never_met():
    muon = _flat(3, [0, 2], [30, 40], charge=[-1, 1])
    jets = _flat(3, [0, 0, 0, 1], [50, 90, 60, 70], tag=[0.1, 0.2, 0.3, 0.4])
    met = _flat(3, [0, 1, 2], [10, 20, 0])
    is_bjet = np.array([False, True, False, False])
    merged, capped = merge({"muon": muon, "jet": jets}, met, "tag", is_bjet, 4)
    assert merged["pt"].tolist() == [[30, 90, 60, 10], [70, 20], [40, 0]]
    assert merged["species"].tolist() == [[2, 4, 5, 6], [5, 6], [2, 6]]
    assert merged["charge"].tolist() == [[-1, 0, 0, 0], [0, 0], [1, 0]]
    np.testing.assert_allclose(merged["btag"][0].to_numpy(), [0, 0.2, 0.3, 0], rtol=1e-6)
    assert capped.tolist() == [True, False, False]
    assert merge({"muon": muon, "jet": jets}, None, "tag", is_bjet, 4)[1].sum() == 0


def test_flat_cuts_columns_when_asked_and_keeps_their_order():
    flat = _flat(4, [0, 0, 2, 3, 3], [5, 4, 3, 2, 1], eta=[0, 1, 2, 3, 4])
    kept = flat.keep(np.array([True, False, True, True, True]))
    again = kept.keep_events(np.array([True, True, False, True]))
    assert again["eta"].tolist() == [0, 3, 4]
    assert again.event.tolist() == [0, 3, 3]
    assert again.count().tolist() == [1, 0, 0, 2]
    assert "eta" in again and "mass" not in again
