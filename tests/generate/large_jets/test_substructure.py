"""Soft drop and N-subjettiness beside FastJet, beside what can be told by hand, and invariances."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from scipy.optimize import minimize

from transferline.generate.clustering import import_fastjet
from transferline.generate.large_jets.recombination import CAMBRIDGE_AACHEN, KT, recombine
from transferline.generate.large_jets.substructure import (
    n_subjettiness,
    soft_drop,
    soft_drop_mass,
    substructure,
)

# The interface warns of algorithms that it does not know by their definition.
pytestmark = pytest.mark.filterwarnings("ignore:dcut and exclusive jets")

RADIUS = 0.8


def four_momenta(pt, y, phi, mass=0.0):
    pt, y, phi = map(np.asarray, (pt, y, phi))
    mt = np.hypot(pt, mass)
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), mt * np.sinh(y), mt * np.cosh(y)], axis=1)


def random_jet(n, seed, phi=3.1):
    """Particles on both sides of phi = pi."""
    rng = np.random.default_rng(seed)
    pt = rng.exponential(10, n) + 0.5
    return four_momenta(pt, rng.normal(0.3, 0.25, n), rng.normal(phi, 0.25, n), 0.14)


def clustered(p4, algorithm):
    fastjet = import_fastjet()
    axes = ak.zip(dict(zip(("px", "py", "pz", "E"), p4.T, strict=True)), with_name="Momentum4D")
    definition = fastjet.JetDefinition(getattr(fastjet, algorithm), 100.0)
    return fastjet.ClusterSequence(ak.Array([axes]), definition)


@pytest.mark.parametrize("n", [2, 3, 8, 40, 150])
def test_exclusive_kt_jets_are_those_of_fastjet(n):
    p4 = random_jet(n, seed=n)
    merges = recombine(p4, KT)
    for wanted in range(1, min(n, 5)):
        alive = np.ones(2 * n - 1, bool)
        alive[2 * n - wanted :] = False
        alive[merges.parents[: n - wanted]] = False
        expected = clustered(p4, "kt_algorithm").exclusive_jets(wanted)
        found = np.sort(merges.p4[alive][:, 0])
        assert np.allclose(found, np.sort(ak.to_numpy(ak.flatten(expected.px))))


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("n", [2, 3, 8, 40, 150])
def test_soft_drop_is_that_of_fastjet(n, beta):
    p4 = random_jet(n, seed=100 + n)
    groomed = clustered(p4, "cambridge_algorithm").exclusive_jets_softdrop_grooming(
        njets=1, beta=beta, symmetry_cut=0.1, R0=RADIUS
    )
    expected = float(ak.to_numpy(groomed.msoftdrop).ravel()[0])
    assert soft_drop_mass(p4, 0.1, beta, RADIUS) == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_soft_drop_removes_the_soft_wide_branch_only():
    hard = four_momenta([300, 200], [0.0, 0.3], [0.0, 0.1])
    soft = four_momenta([40], [0.0], [0.7])
    everything = np.concatenate([hard, soft])
    assert np.allclose(soft_drop(everything, 0.1, 0.0, RADIUS), hard.sum(axis=0))
    assert np.allclose(soft_drop(everything, 0.05, 0.0, RADIUS), everything.sum(axis=0))
    # Nothing passes: the hardest particle that is left.
    assert np.allclose(soft_drop(everything, 0.6, 0.0, RADIUS), hard[0])
    assert np.allclose(soft_drop(hard[:1], 0.1, 0.0, RADIUS), hard[0])


def test_tau_of_particles_that_can_be_told_by_hand():
    p4 = four_momenta([300, 100, 10], [0.0, 0.4, 0.4], [3.1, 3.1, -3.0831853])
    taus = n_subjettiness(p4, RADIUS)
    # One axis stands on the hardest particle: the point of least sum of pT dR.
    assert taus[0] == pytest.approx(
        (100 * 0.4 + 10 * np.hypot(0.4, 0.1)) / (410 * RADIUS), rel=1e-3
    )
    assert taus[1] == pytest.approx(10 * 0.1 / (410 * RADIUS), rel=1e-2)
    assert taus[2:].tolist() == [0.0, 0.0]
    assert n_subjettiness(p4[:1], RADIUS).tolist() == [0.0] * 4


def least_sum_from(p4, axes):
    """The least sum of pT dR that a general minimiser reaches from these axes."""
    pt = np.hypot(p4[:, 0], p4[:, 1])
    y, phi = np.arctanh(p4[:, 2] / p4[:, 3]), np.arctan2(p4[:, 1], p4[:, 0])

    def total(flat):
        one = flat.reshape(-1, 2)
        dphi = (phi[:, None] - one[None, :, 1] + np.pi) % (2 * np.pi) - np.pi
        return (pt * np.hypot(y[:, None] - one[None, :, 0], dphi).min(axis=1)).sum()

    found = minimize(total, axes.ravel(), method="Nelder-Mead", options={"maxiter": 20_000})
    return total(axes.ravel()) / (pt.sum() * RADIUS), found.fun / (pt.sum() * RADIUS)


@pytest.mark.parametrize("seed", range(4))
def test_tau_is_least_around_the_kt_axes(seed):
    p4 = random_jet(30, seed)
    taus = n_subjettiness(p4, RADIUS)
    assert np.all(np.diff(taus) < 0)
    for wanted in (1, 2):
        jets = clustered(p4, "kt_algorithm").exclusive_jets(wanted)[0]
        y = 0.5 * np.log((jets.E + jets.pz) / (jets.E - jets.pz))
        axes = np.stack([ak.to_numpy(y), ak.to_numpy(np.arctan2(jets.py, jets.px))], axis=1)
        start, least = least_sum_from(p4, axes)
        assert taus[wanted - 1] <= start
        assert taus[wanted - 1] == pytest.approx(least, rel=0.02)


def test_substructure_of_jets_laid_end_to_end_and_turned():
    jets = [random_jet(n, seed=n) for n in (1, 30, 2)]
    offsets = np.concatenate([[0], np.cumsum([len(jet) for jet in jets]), [33]])
    mass, tau = substructure(np.concatenate(jets), offsets, 0.1, 0.0, RADIUS)
    assert mass[3] == 0.0
    assert tau[3].tolist() == [0.0] * 4
    for j, jet in enumerate(jets):
        turn = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        assert mass[j] == pytest.approx(soft_drop_mass(jet @ turn.T, 0.1, 0.0, RADIUS), abs=1e-5)
        assert np.allclose(tau[j], n_subjettiness((jet @ turn.T)[::-1].copy(), RADIUS), rtol=1e-4)


def test_recombination_of_particles_along_the_beam_is_finite():
    p4 = np.array([[0.0, 0.0, 5.0, 5.0], [1.0, 0.0, 3.0, 4.0], [0.0, 0.0, -2.0, 2.0]])
    for power in (KT, CAMBRIDGE_AACHEN):
        assert np.allclose(recombine(p4, power).p4[-1], p4.sum(axis=0))
