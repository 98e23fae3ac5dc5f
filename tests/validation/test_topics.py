"""Sections on a few hundred events: right ones agree, deliberately wrong ones do not."""

from __future__ import annotations

import numpy as np
import pytest

from transferline.generate.card import load_card
from transferline.generate.events import generate_events
from transferline.generate.pythia import leading_order
from transferline.validation import btagging, jet_energy, leptonic, met
from transferline.validation.check import Verdict
from transferline.validation.event_file import EventFile
from transferline.validation.hadronic import matched_w
from transferline.validation.lepton_truth import ELECTRON, MUON, true_leptons
from transferline.validation.leptons import card_checks

from ..generated_events import BACKGROUND, root_file
from .broken_card import broken_card


@pytest.fixture(scope="module")
def ttbar():
    """1600 events without multi-parton interactions, made with the shipped card."""
    return EventFile(root_file(BACKGROUND))


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    out = folder / "broken.root"
    generate_events("ttbar_1l", out, n=400, seed=1, mpi=False, detector=broken_card(folder))
    return EventFile(out)


def verdicts(checks):
    return {check.quantity: check.verdict for check in checks}


def test_b_tagging_agrees_with_the_card_it_was_made_with(ttbar, broken):
    for file, card in ((ttbar, "cms"), (broken, broken_card(broken.path.parent))):
        found = btagging.card_checks(btagging.tagged_jets(file), load_card(card).btag)
        assert Verdict.DISAGREES not in verdicts(found).values()
        assert verdicts(found)["b-tag, b jets, medium: share"] == Verdict.AGREES


def test_half_of_the_b_tag_efficiency_disagrees(broken):
    jets = btagging.tagged_jets(broken)
    against_card = verdicts(btagging.card_checks(jets, load_card("cms").btag))
    for what in (": share", ", by pT: chi2 / bins", ", by |eta|: chi2 / bins"):
        assert against_card[f"b-tag, b jets, medium{what}"] == Verdict.DISAGREES
    assert against_card["b-tag, light jets, loose: share"] == Verdict.AGREES
    published = verdicts(btagging.published_checks(jets))
    assert published["b-tag, b jets above 30 GeV, medium: share"] == Verdict.DISAGREES


def test_jets_that_are_too_hard_disagree(ttbar, broken):
    name = "Jet response, barrel, 50 to 100 GeV: median"
    assert verdicts(jet_energy._checks(jet_energy.responses(ttbar)))[name] == Verdict.AGREES
    assert verdicts(jet_energy._checks(jet_energy.responses(broken)))[name] == Verdict.DISAGREES


def test_leptons_agree_with_their_card_and_with_no_other(ttbar):
    card = load_card("cms")
    for kind in (ELECTRON, MUON):
        assert Verdict.DISAGREES not in verdicts(card_checks(ttbar, kind, card)).values()
    points = card.electrons.working_points.model_copy(update={"tight": (0.99,) * 5})
    electrons = card.electrons.model_copy(update={"working_points": points})
    other = card.model_copy(update={"electrons": electrons})
    found = verdicts(card_checks(ttbar, ELECTRON, other))
    assert found["Electrons: tight, of those isolated: share"] == Verdict.DISAGREES
    assert found["Electrons: reconstructed: share"] == Verdict.AGREES


def test_electrons_and_muons_are_found_where_they_are(ttbar):
    for kind in (ELECTRON, MUON):
        leptons = true_leptons(ttbar, kind, load_card("cms"))
        ratio = leptons.reco_pt[leptons.found] / leptons.pt[leptons.found]
        assert np.median(ratio) == pytest.approx(1.0, abs=0.01)
        assert len(leptons.weight) == len(leptons.pt) == len(leptons.tight)


def test_missing_momentum_is_not_pulled_by_leptons(ttbar):
    """The correction of jets once counted isolated leptons: 6 to 8 % of their momentum."""
    for name, code in (("electron", 11), ("muon", 13)):
        bias = met.lepton_bias(ttbar, code)
        assert abs(bias.value) < 0.03 + 2 * bias.error, name
        assert bias.error < 0.02


def test_a_scaled_missing_momentum_is_noticed(ttbar):
    right = met.deviations(ttbar)
    wrong = met.Deviations(0.85 * (right.shift + right.true) - right.true, *_rest(right))
    checks = {name: met._checks(ttbar, d) for name, d in (("right", right), ("wrong", wrong))}
    name = "Missing momentum, scale, 80 to 200 GeV"
    assert verdicts(checks["right"])[name] == Verdict.AGREES
    assert verdicts(checks["wrong"])[name] == Verdict.DISAGREES


def _rest(events):
    return events.true, events.sum_et, events.weight


def test_the_w_peaks_at_its_mass_and_moves_with_the_jets(ttbar, broken):
    right, wrong = matched_w(ttbar).peak(), matched_w(broken).peak()
    assert right.position.value == pytest.approx(78.5, abs=3.0)
    assert 0.08 < right.width.value / right.position.value < 0.16
    assert wrong.position.value / right.position.value == pytest.approx(1.15, abs=0.05)


def test_the_neutrino_gives_the_lepton_the_mass_of_the_w(ttbar):
    _, lepton, neutrino = leptonic._leptonic_events(ttbar)
    p = {k: np.asarray(getattr(lepton, k), float) for k in ("pt", "eta", "phi")}
    nu = np.asarray(neutrino.pt, float), np.asarray(neutrino.phi, float)
    met = np.stack([nu[0] * np.cos(nu[1]), nu[0] * np.sin(nu[1])], axis=1)
    pz = leptonic.neutrino_pz(lepton, met)
    solved = leptonic.transverse_mass(p["pt"], p["phi"], *nu) < 80.0
    delta = np.arcsinh(pz / nu[0]) - p["eta"]
    mass2 = 2 * p["pt"] * nu[0] * (np.cosh(delta) - np.cos(p["phi"] - nu[1]))
    assert solved.mean() > 0.6
    assert np.sqrt(mass2[solved]) == pytest.approx(80.377, abs=0.01)


def test_transverse_mass_of_two_momenta_back_to_back():
    found = leptonic.transverse_mass(*(np.array([x]) for x in (40.0, 0.0, 40.0, np.pi)))
    assert found[0] == pytest.approx(80.0)


def test_leading_order_is_quick_and_right():
    pb, error = leading_order(("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"), n=400, seed=3)
    assert pb == pytest.approx(505.0, abs=4 * error + 20.0)
    assert 0.0 < error < 40.0
