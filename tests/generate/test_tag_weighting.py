"""Tags drawn on the condition that there is one are those of plain tagging where there is one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferline.generate.btag import tag_probability
from transferline.generate.card import load_card
from transferline.generate.tables import Collection, EventTable
from transferline.generate.tag_weighting import TagCut, keep_tagged

CARD = load_card("cms").btag
CUT = TagCut()


def leptons(n, **columns):
    """One muon per event, or none at all."""
    count = n if columns else 0
    every = {
        "pt": np.full(count, 40.0),
        "eta": np.zeros(count),
        "phi": np.zeros(count),
        "isolation": np.zeros(count),
        "loose": np.ones(count, bool),
        "loose_isolated": np.ones(count, bool),
    } | columns
    return Collection(np.full(n, count // max(n, 1)), every)


def events(jets, n=1, **muon):
    """`n` events with the same jets (pT, eta, phi, flavour) and one muon at the origin."""
    pt, eta, phi, flavour = np.tile(np.array(jets, float).reshape(-1, 4), (n, 1)).T
    columns = {"pt": pt, "eta": eta, "phi": phi, "hadronFlavour": flavour.astype(int)}
    columns["btagDeepFlavB"] = np.full(len(pt), -1.0)
    muons = leptons(n, pt=np.full(n, 40.0)).add(**{k: np.full(n, v) for k, v in muon.items()})
    collections = {
        "Jet": Collection(np.full(n, len(jets)), columns),
        "Muon": muons,
        "Electron": leptons(n),
    }
    return EventTable({"genWeight": np.full(n, 2.0)}, collections)


def probabilities(jets):
    pt, eta, _, flavour = np.array(jets, float).T
    return tag_probability(CARD, CUT.score, flavour.astype(int), pt, eta)


def patterns(table, n_jets):
    """How often each set of jets is tagged."""
    tagged = table.collections["Jet"]["btagDeepFlavB"].reshape(-1, n_jets) > CUT.score
    return np.bincount(tagged @ (2 ** np.arange(n_jets)), minlength=2**n_jets)


JETS = [(60.0, 1.0, 2.0, 4), (45.0, -2.0, 1.5, 0), (80.0, 0.0, -2.0, 5), (35.0, 2.0, 3.0, 4)]


def test_every_set_of_tags_is_as_frequent_as_in_plain_tagging():
    n = 40_000
    kept = keep_tagged(events(JETS, n), np.ones(n), CARD, CUT, np.random.default_rng(1))
    p = probabilities(JETS)
    found = patterns(kept.table, 4)
    assert found[0] == 0
    for number, tags in enumerate(itertools.product((0, 1), repeat=4)):
        tagged = np.array(tags[::-1], bool)
        expected = n * np.prod(np.where(tagged, p, 1.0 - p)) if number else 0.0
        assert found[number] == pytest.approx(expected, abs=4.5 * np.sqrt(expected) + 1e-9)
    assert (kept.factor == 1.0).all()
    assert (kept.table.scalars["genWeight"] == 2.0).all()


def test_the_discriminant_has_the_shape_of_plain_tagging():
    n = 60_000
    kept = keep_tagged(events(JETS, n), np.ones(n), CARD, CUT, np.random.default_rng(2))
    score = kept.table.collections["Jet"]["btagDeepFlavB"].reshape(-1, 4)
    pt, eta, _, flavour = np.array(JETS, float).T
    at_least_one = 1.0 - np.prod(1.0 - probabilities(JETS))
    for cut in (0.3, 0.6377, 0.9):
        # Above the working point an event has its tag already.
        expected = tag_probability(CARD, cut, flavour.astype(int), pt, eta) / at_least_one
        error = np.sqrt(expected / len(score))
        assert np.all(np.abs((score > cut).mean(axis=0) - expected) < 4.5 * error)


jet = st.tuples(
    st.floats(31.0, 900.0), st.floats(-2.3, 2.3), st.floats(0.8, 3.1), st.sampled_from([0, 4, 5])
)


@settings(max_examples=25, deadline=None)
@given(st.lists(jet, min_size=2, max_size=6), st.integers(1, 10), st.integers(0, 2**32 - 1))
def test_the_sum_of_weights_is_that_of_what_was_not_simulated_too(jets, one_in, seed):
    n = 2000
    table, rng = events(jets, n), np.random.default_rng(seed)
    kept = keep_tagged(table, np.full(n, one_in), CARD, CUT, rng)
    wanted = one_in * (1.0 - np.prod(1.0 - probabilities(jets)))
    assert kept.factor == pytest.approx(max(wanted, 1.0))
    assert kept.factor.sum() == pytest.approx(n * wanted, abs=5.0 * np.sqrt(n * wanted) + 5.0)
    assert patterns(kept.table, len(jets))[0] == 0


@pytest.mark.parametrize(
    ("jets", "muon", "passes"),
    [
        (JETS, {}, True),
        (JETS, {"pt": 20.0}, False),
        (JETS, {"isolation": 0.5}, False),
        (JETS, {"loose": False}, False),
        (JETS[:2], {}, True),
        (JETS[:1], {}, False),
        ([*JETS[:1], (29.0, 1.0, 1.0, 5)], {}, False),
        ([*JETS[:1], (60.0, 2.5, 1.0, 5)], {}, False),
        # A jet at the muon is the muon.
        ([*JETS[:1], (60.0, 0.2, 0.2, 5)], {}, False),
        ([*JETS[:1], (60.0, 0.2, 6.2, 5)], {}, False),
    ],
)
def test_an_event_needs_a_lepton_and_two_jets_beside_it(jets, muon, passes):
    n = 400
    rng = np.random.default_rng(3)
    assert (keep_tagged(events(jets, n, **muon), np.full(n, 99), CARD, CUT, rng).rows.size > 0) == (
        passes
    )


def test_jets_that_do_not_count_are_left_as_they_are():
    jets = [*JETS, (60.0, 0.1, 0.1, 5), (25.0, 1.0, 1.0, 5)]
    kept = keep_tagged(events(jets, 500), np.ones(500), CARD, CUT, np.random.default_rng(4))
    score = kept.table.collections["Jet"]["btagDeepFlavB"].reshape(-1, 6)
    assert (score[:, 4:] == -1.0).all()
    assert ((score[:, :4] > 0.0) & (score[:, :4] < 1.0)).all()


def test_either_of_two_leptons_may_be_the_one_that_is_selected():
    """What one lepton takes from the jets, the other leaves: both jets may be the tagged one."""
    jets = [JETS[0], JETS[2], (60.0, 0.1, 0.1, 5)]
    table = events(jets, 2000)
    # The muon sits on the third jet, the electron on the second.
    electrons = leptons(2000, pt=np.full(2000, 40.0), phi=np.full(2000, -2.0))
    both = EventTable(table.scalars, {**table.collections, "Electron": electrons})
    rng = np.random.default_rng(5)
    found = patterns(keep_tagged(both, np.ones(2000), CARD, CUT, rng).table, 3)
    assert (found[1:] > 0).all()
    alone = patterns(keep_tagged(table, np.ones(2000), CARD, CUT, rng).table, 3)
    assert alone[4:].sum() == 0


def test_an_empty_table_stays_empty():
    kept = keep_tagged(events([], 5), np.ones(5), CARD, CUT, np.random.default_rng(6))
    assert kept.table.n == 0
    assert len(kept.table.collections["Jet"]) == 0
