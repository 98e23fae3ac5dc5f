"""What the energy correction does to jets and to missing momentum, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from transferline.generate.card import load_card
from transferline.generate.detector import ELECTRON, HADRON, MUON, PHOTON, simulate
from transferline.generate.isolation import relative_isolation
from transferline.generate.jets import _Members, _met_shift, extra_smearing
from transferline.generate.truth import Truth


def along_x(energies):
    energies = np.asarray(energies, float)
    zero = np.zeros(len(energies))
    return np.stack([energies, zero, zero, energies], axis=1)


def shift(kinds, energies, factor=1.1, pt_min=15.0):
    """Change of px of one jet made of these particles, all along x."""
    p4 = along_x(energies)
    members = _Members(np.zeros(len(kinds), int), np.array(kinds), p4)
    raw = p4.sum(axis=0, keepdims=True)
    return float(_met_shift(np.array([factor]), raw, members, pt_min)[0, 0])


def test_hadrons_are_corrected_in_missing_momentum():
    assert shift([HADRON, PHOTON], [40.0, 20.0]) == pytest.approx(6.0)


def test_isolated_leptons_are_not():
    assert shift([ELECTRON], [60.0]) == 0.0
    assert shift([ELECTRON, HADRON], [60.0, 3.0]) == 0.0
    assert shift([MUON], [60.0]) == 0.0


def test_of_a_jet_with_a_muon_only_the_rest_is():
    assert shift([MUON, HADRON], [30.0, 40.0]) == pytest.approx(4.0)
    assert shift([MUON, HADRON], [30.0, 10.0]) == 0.0  # the rest is below threshold


def test_extra_resolution_widens_without_bias():
    jets = load_card("cms").jets
    n = 20_000
    pt, eta = np.full(n, 84.0), np.zeros(n)
    factor = extra_smearing(jets, pt, eta, np.random.default_rng(1))
    assert factor.mean() == pytest.approx(1.0, abs=0.003)
    assert factor.std() == pytest.approx(jets.extra_resolution[0][4], rel=0.03)


def gun(code, charge, pt, n=4000):
    """One particle per event, |eta| < 1.4."""
    rng = np.random.default_rng(3)
    eta, phi = rng.uniform(-1.4, 1.4, n), rng.uniform(-np.pi, np.pi, n)
    momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    energy = np.linalg.norm(momentum, axis=1, keepdims=True)
    zero = np.zeros(n, int)
    return Truth(
        offsets=np.arange(n + 1),
        pdg_id=np.full(n, code),
        status=np.ones(n, int),
        mother=zero,
        daughter1=zero,
        daughter2=zero,
        p4=np.concatenate([momentum, energy], axis=1),
        vertex=np.zeros((n, 3)),
        charge=np.full(n, charge, np.int8),
        weight=np.ones(n),
    )


@pytest.mark.parametrize(
    ("code", "kind", "bounds"),
    [(11, ELECTRON, (0.016, 0.03)), (13, MUON, (0.008, 0.018))],
)
def test_leptons_are_measured_as_well_as_by_cms(code, kind, bounds):
    found = simulate(gun(code, -1, 45.0), load_card("cms"), np.random.default_rng(1))
    ratio = found.pt[found.kind == kind] / 45.0
    low, high = np.quantile(ratio, [0.1585, 0.8415])
    assert bounds[0] < 0.5 * (high - low) < bounds[1]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.003)


def test_photons_of_an_electron_do_not_spoil_its_isolation():
    """A photon in the veto cone and one outside, beside a 50 GeV electron at eta = phi = 0."""
    found = simulate(gun(11, -1, 50.0, n=20), load_card("cms"), np.random.default_rng(1))
    electron = np.flatnonzero(found.kind == ELECTRON)[:1]
    eta, phi = found.eta[electron][0], found.phi[electron][0]

    def isolation(distance, veto):
        extra = 10.0 * np.array([np.cos(phi), np.sin(phi), np.sinh(eta + distance)])
        photon = np.append(extra, np.linalg.norm(extra))
        here = electron[0]
        event = type(found)(
            offsets=np.array([0, 2]),
            p4=np.stack([found.p4[here], photon]),
            charge=np.array([-1, 0], np.int8),
            kind=np.array([ELECTRON, PHOTON], np.int8),
            impact=np.zeros((2, 4)),
            eta_calorimeter=np.zeros(2),
            source=np.array([0, -1]),
        )
        return relative_isolation(event, np.array([0]), 0.3, veto)[0]

    assert isolation(0.05, 0.08) == 0.0
    assert isolation(0.05, 0.0) == pytest.approx(0.2, rel=0.1)
    assert isolation(0.15, 0.08) == pytest.approx(0.2, rel=0.1)
