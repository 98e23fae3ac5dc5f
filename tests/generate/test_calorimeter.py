from __future__ import annotations

import numpy as np
import pytest

from transferline.generate.calorimeter import Deposits, Layer, cell_of, energy_flow
from transferline.generate.card import card_names, load_card
from transferline.generate.compiled import log_normal


def layer(name="ecal"):
    card = getattr(load_card("cms"), name)
    return Layer(np.array(card.bands), np.array(card.regions), card.threshold, card.significance)


def deposits(energy, has_track, track_energy, track_sigma=0.01):
    """One particle per event at the same place."""
    n = len(energy)
    return Deposits(
        np.arange(n + 1),
        np.tile([0.3, 1.0], (n, 1)),
        np.asarray(energy, float),
        np.full(n, has_track),
        np.asarray(track_energy, float),
        np.full(n, track_sigma),
    )


@pytest.mark.parametrize(("name", "resolution"), [("ecal", 0.02), ("hcal", 0.17)])
def test_neutral_energy_is_unbiased(name, resolution):
    n = 4000
    energy = np.full(n, 80.0)
    found = deposits(energy, False, np.zeros(n))
    event, neutral, _ = energy_flow(found, layer(name), np.random.default_rng(1))
    assert len(event) == n
    assert neutral[:, 0].mean() == pytest.approx(80.0, rel=0.01)
    assert neutral[:, 0].std() / 80.0 == pytest.approx(resolution, rel=0.25)


def test_track_energy_is_subtracted():
    n = 2000
    found = deposits(np.full(n, 50.0), True, np.full(n, 50.0))
    event, _, scale = energy_flow(found, layer("hcal"), np.random.default_rng(2))
    assert len(event) < 0.05 * n  # only fluctuations above two standard deviations
    assert scale.mean() == pytest.approx(1.0, abs=0.01)


def test_a_good_cell_corrects_a_bad_track():
    n = 1000
    rng = np.random.default_rng(3)
    measured = 60.0 * (1.0 + 0.15 * rng.standard_normal(n))
    found = deposits(np.full(n, 60.0), True, measured, track_sigma=0.15)
    _, _, scale = energy_flow(found, layer(), rng)
    assert (scale * measured).std() < 0.3 * measured.std()


def test_a_cell_that_overrules_tracks_replaces_their_energy_or_loses_them():
    n = 2000
    overruling = layer("hcal")._replace(overrules_tracks=True, significance=1.0)
    found = deposits(np.full(n, 3.0), True, np.full(n, 3.0), track_sigma=0.0)
    event, _, scale = energy_flow(found, overruling, np.random.default_rng(6))
    alone = np.setdiff1d(np.arange(n), event)
    lost = scale[alone] == 0.0
    assert 0.3 < lost.mean() < 0.8
    # E > sqrt(0.05^2 E^2 + 1.5^2 E) and E > 1
    assert 3.0 * scale[alone][~lost].min() == pytest.approx(1.5**2 / (1 - 0.05**2), rel=0.02)
    assert (scale[event] == 1.0).all()  # a neutral excess leaves the track alone


def test_noise_is_suppressed():
    n = 2000
    faint = deposits(np.full(n, 0.1), False, np.zeros(n))
    event, neutral, _ = energy_flow(faint, layer(), np.random.default_rng(4))
    assert len(event) < 0.05 * n
    assert (neutral[:, 0] > layer().threshold).all()


def test_cells_wrap_in_phi_and_end_in_eta():
    bands = layer().bands
    assert cell_of(0.1, np.pi, bands) == cell_of(0.1, -np.pi, bands)
    assert cell_of(0.1, 0.1, bands) != cell_of(-0.1, 0.1, bands)
    assert cell_of(5.1, 0.0, bands) == -1


def test_log_normal_has_the_mean_and_width_it_is_asked_for():
    rng = np.random.default_rng(5)
    drawn = np.array([log_normal(10.0, 4.0, rng) for _ in range(20_000)])
    assert drawn.min() > 0.0
    assert drawn.mean() == pytest.approx(10.0, rel=0.02)
    assert drawn.std() == pytest.approx(4.0, rel=0.04)


@pytest.mark.parametrize("name", card_names())
def test_cards_are_complete(name):
    card = load_card(name)
    assert card.name == name
    assert len(card.jets.correction) == len(card.jets.correction_eta)
    for table in (card.btag.b, card.btag.c, card.btag.light):
        survival = np.array(table)
        assert survival.shape == (len(card.btag.scores), len(card.btag.pt))
        assert (np.diff(survival, axis=0) < 0.0).all()
