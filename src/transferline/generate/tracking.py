"""Tracks: efficiency, momentum resolution and impact parameters, by species, pT and eta."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferline.generate.compiled import Array, compiled, log_normal


class TrackTables(NamedTuple):
    """Efficiencies and resolutions.

    `efficiency` is `[species, eta, pt]`, where the n-th pT bin starts at the n-th of `pt_edges`
    (below the first there is no track). Resolutions: sigma(pT)/pT = a (+) b pT, `[species, eta,
    (a, b)]`; sigma(d0) and sigma(dz) in mm are a (+) b / pT, `[eta, (a, b)]`, or numbers above
    each of `impact_pt_edges`, `[eta, pt]`, zero below the first. With `exact_momentum` the smeared
    pT only chooses the errors of the impact parameters: the track itself has the true one.
    """

    eta_edges: Array
    pt_edges: Array
    efficiency: Array
    resolution: Array
    impact_edges: Array
    impact_d0: Array
    impact_dz: Array
    impact_pt_edges: Array
    exact_momentum: bool


class ChargedParticles(NamedTuple):
    """Particles as the tracker sees them; `species` is 0 hadron, 1 electron, 2 muon.

    Momenta in GeV, true impact parameters in mm; neutral ones may be among them. `region_eta`
    chooses the bins of efficiency and momentum resolution.
    """

    pt: Array
    eta: Array
    region_eta: Array
    charge: Array
    species: Array
    reached: Array
    d0: Array
    dz: Array


@compiled
def _bin(value: float, edges: Array) -> int:
    """Index of the first upper edge not below `value`; -1 above the last."""
    for i in range(len(edges)):
        if value <= edges[i]:
            return i
    return -1


@compiled
def _resolution(terms: Array, pt: float) -> float:
    return float(np.hypot(terms[0], terms[1] * pt))


@compiled
def _impact_error(terms: Array, pt_edges: Array, pt: float) -> float:
    if len(pt_edges) == 0:
        return _resolution(terms, 1.0 / pt)
    above = int(np.searchsorted(pt_edges, pt))
    return float(terms[above - 1]) if above > 0 else 0.0


@compiled
def reconstruct_tracks(
    particles: ChargedParticles, tables: TrackTables, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Decide which charged particles that reach the calorimeter have a track, and smear it.

    Returns: has_track, smeared pT, relative pT resolution, and impact parameters
    `[n, 4]` (d0, its error, dz, its error; mm), all `[n]`.
    """
    pt, eta, species = particles.pt, particles.eta, particles.species
    n = len(pt)
    has_track = np.zeros(n, np.bool_)
    smeared, sigma = np.zeros(n), np.zeros(n)
    impact = np.zeros((n, 4))
    for i in range(n):
        region = _bin(abs(particles.region_eta[i]), tables.eta_edges)
        if particles.charge[i] == 0 or not particles.reached[i]:
            continue
        if region < 0 or pt[i] <= tables.pt_edges[0]:
            continue
        pt_bin = np.searchsorted(tables.pt_edges, pt[i]) - 1
        if rng.random() >= tables.efficiency[species[i], region, pt_bin]:
            continue
        has_track[i] = True
        sigma[i] = _resolution(tables.resolution[species[i], region], pt[i])
        smeared[i] = log_normal(pt[i], sigma[i] * pt[i], rng)
        near = _bin(abs(eta[i]), tables.impact_edges)
        measured = smeared[i] if tables.exact_momentum else pt[i]
        error_d0 = _impact_error(tables.impact_d0[near], tables.impact_pt_edges, measured)
        error_dz = _impact_error(tables.impact_dz[near], tables.impact_pt_edges, measured)
        impact[i, 0] = particles.d0[i] + error_d0 * rng.standard_normal()
        impact[i, 1] = error_d0
        impact[i, 2] = particles.dz[i] + error_dz * rng.standard_normal()
        impact[i, 3] = error_dz
        if tables.exact_momentum:
            smeared[i], sigma[i] = pt[i], 0.0
    return has_track, smeared, sigma, impact
