"""Decay chains and masses of the heavy particles, event by event, in the hard process."""

from __future__ import annotations

import numpy as np
import pytest

from transferline.generate.catalogue import process
from transferline.generate.hard_filter import hard_filter
from transferline.generate.pythia import HARD_PROCESS_ONLY, PythiaRun

N = 150


def hard_events(name):
    """Lists of (pdg id, mass, daughters' pdg ids) of every event, of all alternatives."""
    entry = process(name)
    events = []
    for part in range(len(entry.alternatives)):
        run = PythiaRun((*entry.settings(part), *HARD_PROCESS_ONLY), 5, hard_filter("none"))
        for _ in range(N):
            assert run._pythia.next()
            events.append([_particle(run._pythia.process, i) for i in range(3, size(run))])
    return events


def size(run):
    return run._pythia.process.size()


def _particle(record, index):
    one = record[index]
    return one.id(), one.m(), sorted(record[i].id() for i in one.daughterList())


def decays(events, code):
    """Absolute ids of the daughters of every particle with this absolute id."""
    return [tuple(sorted(map(abs, d))) for e in events for i, _, d in e if abs(i) == code]


def masses(events, code):
    return np.array([m for event in events for i, m, _ in event if abs(i) == code])


def number_of(event, *codes):
    return sum(abs(i) in codes for i, _, daughters in event if not daughters)


@pytest.mark.parametrize(("name", "mass"), [("Zprime_tt", 1000), ("Zprime_tt_2000", 2000)])
def test_heavy_boson_to_tops_with_one_lepton(name, mass):
    events = hard_events(name)
    assert set(decays(events, 32)) == {(6, 6)}
    found = masses(events, 32)
    assert np.median(found) == pytest.approx(mass, rel=0.01)
    # The width of the sequential standard model: 3 % of the mass.
    half = np.quantile(np.abs(found - np.median(found)), 0.5)
    assert 0.01 < half / mass < 0.025
    assert all(number_of(event, 11, 13, 15) == 1 for event in events)
    assert all(number_of(event, 1, 2, 3, 4, 5) == 4 for event in events)
    charges = [np.sign(i) for event in events for i, _, d in event if abs(i) in (11, 13, 15)]
    assert np.mean(charges) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("name", "mass"), [("gluino_pair", 607), ("gluino_pair_900", 900)])
def test_gluinos_to_two_quarks_and_a_neutralino(name, mass):
    events = hard_events(name)
    assert all(sum(i == 1000021 for i, _, _ in event) == 2 for event in events)
    found = decays(events, 1000021)
    quarks = [(q, q, 1000022) for q in (1, 2, 3, 4)]
    assert set(found) == set(quarks)
    for each in quarks:
        assert found.count(each) / len(found) == pytest.approx(0.25, abs=0.1)
    assert np.median(masses(events, 1000021)) == pytest.approx(mass, abs=1)
    assert np.allclose(masses(events, 1000022), 100)
    assert all(number_of(event, 1, 2, 3, 4) == 4 for event in events)


def test_z_to_neutrinos_with_one_hard_parton():
    events = hard_events("Zjets_nunu")
    assert {d[0] for d in decays(events, 23)} == {12, 14, 16}
    assert all(number_of(event, 12, 14, 16) == 2 for event in events)
    assert all(number_of(event, 1, 2, 3, 4, 5, 21) == 1 for event in events)
    assert np.median(masses(events, 23)) == pytest.approx(91.2, abs=0.5)


@pytest.mark.parametrize(
    ("name", "heavy", "charged"),
    [("H0_HpmW_425_325", 425, 325), ("H0_HpmW_500_400", 500, 400)],
)
def test_cascade_of_the_two_doublet_model(name, heavy, charged):
    events = hard_events(name)
    assert set(decays(events, 35)) == {(24, 37)}
    assert set(decays(events, 37)) == {(24, 25)}
    assert set(decays(events, 25)) == {(5, 5)}
    for code, mass in ((35, heavy), (37, charged), (25, 125)):
        assert np.median(masses(events, code)) == pytest.approx(mass, abs=1.5)
    assert all(number_of(event, 11, 13, 15) == 1 for event in events)


def test_the_spectrum_of_masses_belongs_to_the_settings_and_no_file_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (text,) = (s for s in process("gluino_pair_900").settings(0) if s.startswith("SLHA:text"))
    assert "1000021  900" in text
    run = PythiaRun(process("gluino_pair_900").settings(0), 1, hard_filter("none"))
    assert run.settings == process("gluino_pair_900").settings(0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mass", [300, 700])
def test_a_charged_higgs_to_a_neutral_one_and_a_w(mass):
    events = hard_events(f"Hplus_HW_{mass}")
    assert set(decays(events, 37)) == {(24, 35)}
    assert set(decays(events, 35)) == {(15, 15)}
    assert np.median(masses(events, 37)) == pytest.approx(mass, rel=0.01)
    assert np.median(masses(events, 35)) == pytest.approx(200, abs=1)
    # The charge of the W is that of the Higgs boson, and the top quark balances it.
    for event in events:
        [higgs] = [(i, d) for i, _, d in event if abs(i) == 37]
        assert np.sign(higgs[0]) == np.sign(next(i for i in higgs[1] if abs(i) == 24))
        assert any(i == -6 * np.sign(higgs[0]) for i, _, _ in event)
