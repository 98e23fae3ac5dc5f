"""The masses of the cascade, in events whose decays are known."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferline.validation.cascade_masses import MASSES, W_MASS, Decays


def mass(*objects):
    """Of massless objects, each (pt, eta, phi)."""
    pt, eta, phi = np.transpose(objects)
    x, y, z = (pt * np.cos(phi)).sum(), (pt * np.sin(phi)).sum(), (pt * np.sinh(eta)).sum()
    return np.sqrt((pt * np.cosh(eta)).sum() ** 2 - x**2 - y**2 - z**2)


def event(lepton, met, light, tagged):
    """One event; jets are (pt, eta, phi), `met` is (pt, phi)."""
    jets = sorted([(*j, False) for j in light] + [(*j, True) for j in tagged], reverse=True)
    columns = dict(zip(("pt", "eta", "phi", "is_b"), zip(*jets, strict=True), strict=True))
    return Decays(
        lepton=ak.Array([dict(zip(("pt", "eta", "phi"), lepton, strict=True))]),
        met=ak.Array([dict(zip(("pt", "phi"), met, strict=True))]),
        jets=ak.zip({name: ak.Array([list(values)]) for name, values in columns.items()}),
        weight=np.ones(1),
    )


def one(masses):
    return {name: float(values[0]) for name, values in masses.items()}


# Back to back in the transverse plane, a pair of 40.2 GeV each has the mass of the W.
W_PAIR = [(40.2, 0.0, 0.0), (40.2, 0.0, np.pi)]
SOFT = (20.0, 1.0, 1.0)
B = [(90.0, 0.4, 1.8), (60.0, -0.6, -1.3)]
LEPTON, MET = (45.0, 0.3, 2.4), (35.0, -0.4)


def test_jj_is_the_pair_nearest_to_the_w_and_b_jets_are_not_in_it():
    found = one(event(LEPTON, MET, [*W_PAIR, SOFT], B).masses())
    assert found["m_jj"] == pytest.approx(80.4)
    assert found["m_bb"] == pytest.approx(mass(*B))


def test_the_b_jet_that_fits_better_belongs_to_the_hadronic_top():
    found = one(event(LEPTON, MET, W_PAIR, B).masses())
    tops = [mass(*W_PAIR, b) for b in B]
    first = abs(tops[0] - 175) < abs(tops[1] - 175)
    assert found["m_jjj"] == pytest.approx(tops[0] if first else tops[1])
    neutrino = neutrino_of(event(LEPTON, MET, W_PAIR, B))
    assert found["m_jlv"] == pytest.approx(mass(LEPTON, neutrino, B[1] if first else B[0]))
    assert found["m_wbb"] == pytest.approx(max(mass(*W_PAIR, *B), mass(LEPTON, neutrino, *B)))
    assert found["m_wwbb"] == pytest.approx(mass(*W_PAIR, LEPTON, neutrino, *B))


def neutrino_of(decays):
    x, y, z, _ = decays.neutrino()[0]
    pt = np.hypot(x, y)
    return pt, np.arcsinh(z / pt), np.arctan2(y, x)


momentum = st.tuples(st.floats(15, 200), st.floats(-2.5, 2.5), st.floats(-3.1, 3.1))


@settings(max_examples=30)
@given(lepton=momentum, met=st.tuples(st.floats(5, 200), st.floats(-3.1, 3.1)))
def test_lepton_and_neutrino_have_the_mass_of_the_w_or_their_transverse_mass(lepton, met):
    decays = event(lepton, met, W_PAIR, B)
    found = one(decays.masses())["m_lv"]
    transverse = np.sqrt(2 * lepton[0] * met[0] * (1 - np.cos(lepton[2] - met[1])))
    assert found == pytest.approx(max(transverse, W_MASS), rel=1e-4)
    pt, _, phi = neutrino_of(decays)
    assert (pt, np.cos(phi)) == pytest.approx((met[0], np.cos(met[1])))


def test_columns_are_those_of_the_four_hardest_jets():
    found = one(event(LEPTON, MET, [*W_PAIR, SOFT], B).columns())
    assert [found[f"jet{i}_pt"] for i in (1, 2, 3, 4)] == [90.0, 60.0, 40.2, 40.2]
    assert [found[f"b{i}"] for i in (1, 2, 3, 4)] == [1.0, 1.0, 0.0, 0.0]
    assert (found["lepton_pT"], found["missing_energy_magnitude"]) == (45.0, 35.0)
    assert set(MASSES) < set(found)


def test_the_four_hardest_jets_alone_leave_one_pair():
    events = event(LEPTON, MET, [(40.2, 0.5, 0.0), *W_PAIR], B)
    alone = one(events.leading().masses())
    # Of equally hard jets the first two are kept, and they are not the pair of the W.
    kept = [tuple(jet[n] for n in ("pt", "eta", "phi")) for jet in events.jets[0, 2:4].to_list()]
    assert alone["m_jj"] == pytest.approx(mass(*kept))
    assert one(events.masses())["m_jj"] == pytest.approx(80.4)


def test_events_are_central_if_both_b_jets_are():
    events = event(LEPTON, MET, [*W_PAIR, (20.0, 2.9, 1.0)], B)
    assert [len(events.central(limit).weight) for limit in (0.7, 0.5, 0.3)] == [1, 0, 0]


def test_events_with_a_softer_b_jet_have_no_four_jets_alone():
    soft_b = [B[0], (16.0, 0.1, 0.2)]
    events = event(LEPTON, MET, [*W_PAIR, SOFT], soft_b)
    assert len(events.leading().weight) == 0
