"""Whether two files are samples of one distribution, and events of a selection alone."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pytest

from transferline.cli import run
from transferline.data.card import load_card
from transferline.data.selections import selection
from transferline.data.selections.recipe import EventCuts
from transferline.validation.check import Verdict
from transferline.validation.event_file import EventFile
from transferline.validation.file_spectra import NamedFile, read_spectra
from transferline.validation.histogram import Histogram
from transferline.validation.spectra_comparison import Shape, checks, shape
from transferline.validation.spectra_quantities import QUANTITIES

from ..generated_events import BACKGROUND, SIGNAL, root_file, shards

CUTS = selection("l1_j4_b1")


def spectra(*samples, cuts=CUTS):
    files = [NamedFile(sample.process, str(root_file(sample))) for sample in samples]
    return read_spectra(files, truth=True, cuts=cuts)


def filled(values, edges, weight=None):
    histogram = Histogram(edges)
    histogram.add(ak.Array(values[:, None]), np.ones(len(values)) if weight is None else weight)
    return histogram


@pytest.mark.parametrize(
    ("chi2", "degrees", "p"),
    [(18.307, 10, 0.05), (9.342, 10, 0.5), (5.991, 2, 0.05), (124.342, 100, 0.05), (0.0, 4, 1.0)],
)
def test_probabilities_are_those_of_the_tables(chi2, degrees, p):
    assert Shape(chi2, degrees).p == pytest.approx(p, abs=0.003)


def test_samples_of_one_distribution_have_every_probability():
    rng, edges = np.random.default_rng(1), np.linspace(0.0, 5.0, 17)
    found = []
    for _ in range(300):
        weight = rng.choice([1.0, 2.0], 900)
        one = filled(rng.exponential(1.0, 900), edges, weight)
        found.append(shape(one, filled(rng.exponential(1.0, 500), edges)).p)
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)
    assert np.mean(np.array(found) < 0.05) < 0.1
    other = shape(one, filled(rng.exponential(1.6, 500), edges))
    assert other.p < 1e-4


def test_bins_are_joined_until_they_hold_enough():
    edges = np.arange(7.0)
    one = filled(np.repeat([0.5, 1.5, 2.5, 4.5, 5.5], [50, 3, 4, 20, 2]), edges)
    assert shape(one, one) == Shape(0.0, 2)
    few = filled(np.repeat([0.5, 1.5], [50, 2]), edges)
    assert shape(one, few).degrees == 0
    assert np.isnan(shape(one, few).p)


def test_only_events_of_the_selection_are_shown():
    (found,) = spectra(SIGNAL)
    card = load_card(shards(SIGNAL))
    assert found.selected == card.cutflow[-1]["events"]
    passed = card.cutflow[-1]["sum_weight"]
    assert found.rate.value == pytest.approx(passed / found.source.sum_weight)
    every = [name for name, quantity in QUANTITIES.items() if quantity.tagged]
    assert set(every) <= set(found.histograms)
    (whole,) = spectra(SIGNAL, cuts=None)
    assert whole.rate is None
    assert not set(every) & set(whole.histograms)
    assert found.histograms["n_jets"].content[:4].sum() == 0.0
    assert whole.histograms["n_jets"].content[:4].sum() > 0.0


def test_mass_of_lepton_and_tag_is_that_of_brute_force():
    file = EventFile(root_file(SIGNAL))
    masses = []
    for leptons, jets in zip(file.chosen.leptons, file.chosen.b_jets, strict=True):
        if len(leptons) and len(jets):
            one, two = (
                max(objects.to_list(), key=lambda x: x["pt"]) for objects in (leptons, jets)
            )
            turn = np.cos(one["phi"] - two["phi"])
            light = 2 * one["pt"] * two["pt"] * (np.cosh(one["eta"] - two["eta"]) - turn)
            masses.append(light)
    (found,) = spectra(SIGNAL, cuts=CUTS.model_copy(update={"cuts": EventCuts(), "triggers": ()}))
    # Beside the masses of jets, which are small.
    assert found.histograms["m_lb"].mean().value == pytest.approx(
        np.mean(np.sqrt(masses)), rel=0.05
    )


def test_a_process_agrees_with_itself_and_with_no_other():
    one, other = spectra(SIGNAL, BACKGROUND)
    *alike, chi2 = checks([one, one])
    assert {check.verdict for check in alike} == {Verdict.AGREES}
    # Too good: these are the same events, not independent ones.
    assert (chi2.measured.value, chi2.verdict) == (0.0, Verdict.DISAGREES)
    differ = {c.quantity for c in checks([one, other]) if c.verdict == Verdict.DISAGREES}
    assert "ttbar_1l / ttH_bb_1l: mean of True b jets" in differ
    assert "ttbar_1l / ttH_bb_1l: rate" in differ
    assert "ttbar_1l / ttH_bb_1l: chi2 of all spectra per degree of freedom" in differ


def test_the_command_says_so(tmp_path, capsys):
    out = tmp_path / "same.md"
    words = [f"{s.process}={root_file(s)}" for s in (SIGNAL, BACKGROUND)]
    options = ["--selection", "l1_j4_b1", "--same", "--out", str(out)]
    assert run(["validate", "spectra", *words, *options]) == 0
    assert "disagrees: ttbar_1l / ttH_bb_1l: mean of Jets" in capsys.readouterr().out
    text = out.read_text()
    assert "--selection l1_j4_b1 --same --out same.md" in text
    assert "| Events selected |" in text and "**Shapes**" in text
    numbers = json.loads((tmp_path / "validation" / "same.json").read_text())
    assert numbers["verdicts"]["disagrees"] > 3
    assert run(["validate", "spectra", *words, "--selection", "l1_j4_b9"]) == 2
    assert "l1_j4_b9" in capsys.readouterr().err
