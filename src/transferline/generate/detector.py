"""From generated particles to energy-flow candidates: tracker, then ECAL, then HCAL."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferline.generate.calorimeter import Deposits, Layer, energy_flow
from transferline.generate.card import BySpecies, Calorimeter, Detector, Tracker
from transferline.generate.compiled import Array
from transferline.generate.propagation import Cylinder, reach_calorimeter
from transferline.generate.tracking import ChargedParticles, TrackTables, reconstruct_tracks
from transferline.generate.truth import Truth, is_invisible

HADRON, ELECTRON, MUON, PHOTON, NEUTRAL_HADRON = range(5)
"""Kinds of candidates; the first three have a track."""

MASS = np.array([0.13957, 0.000511, 0.10566, 0.0, 0.0])
"""Mass in GeV by kind; charged hadrons count as pions."""
_SHARED = (310, 3122)  # K_S and Lambda that decay in the calorimeter
_SHARED_ECAL = 0.3


@dataclass(frozen=True)
class Candidates:
    """Energy-flow candidates of a batch of events, laid end to end.

    `offsets [n + 1]` bounds each event; `p4 [N, 4]` is (px, py, pz, E) in GeV; `charge`, `kind`
    (see above); `impact [N, 4]` is d0, its error, dz, its error in mm (zero for neutral
    candidates); `eta_calorimeter` is the pseudorapidity of the impact point; `source` is the
    entry of the Truth that made the track, -1 for neutral candidates.
    """

    offsets: Array
    p4: Array
    charge: Array
    kind: Array
    impact: Array
    eta_calorimeter: Array
    source: Array

    @property
    def event(self) -> Array:
        """Event number of every candidate."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def pt(self) -> Array:
        """Transverse momentum in GeV."""
        return np.hypot(self.p4[:, 0], self.p4[:, 1])

    @property
    def eta(self) -> Array:
        """Pseudorapidity."""
        return np.arcsinh(self.p4[:, 2] / np.maximum(self.pt, 1e-12))

    @property
    def phi(self) -> Array:
        """Azimuth in rad."""
        return np.arctan2(self.p4[:, 1], self.p4[:, 0])


@dataclass(frozen=True)
class _Particles:
    """Particles at the calorimeter, with their tracks."""

    event: Array
    source: Array
    code: Array
    species: Array
    charge: Array
    energy: Array
    direction: Array  # [n, 2]: eta, phi of the track
    impact_point: Array  # [n, 2]: eta, phi at the calorimeter
    has_track: Array
    track_pt: Array
    track_sigma: Array
    track_mass: Array
    impact: Array

    @property
    def track_energy(self) -> Array:
        """Energy of the track under the mass that it is given."""
        momentum = self.track_pt * np.cosh(self.direction[:, 0])
        return np.asarray(np.hypot(momentum, self.track_mass))


def _mass(p4: Array) -> Array:
    squared = p4[:, 3] ** 2 - np.sum(p4[:, :3] ** 2, axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _species(code: Array) -> Array:
    absolute = np.abs(code)
    return np.where(absolute == 11, ELECTRON, np.where(absolute == 13, MUON, HADRON))


def _cylinder(tracker: Tracker) -> Cylinder:
    return Cylinder(tracker.field, tracker.radius, tracker.half_length, tracker.as_delphes)


def _track_tables(tracker: Tracker) -> TrackTables:
    def by_species(tables: BySpecies) -> Array:
        return np.array([tables.hadron, tables.electron, tables.muon])

    return TrackTables(
        eta_edges=np.array(tracker.eta_edges),
        pt_edges=np.array(tracker.pt_edges),
        efficiency=by_species(tracker.efficiency),
        resolution=by_species(tracker.resolution),
        impact_edges=np.array(tracker.impact_eta_edges),
        impact_d0=np.array(tracker.impact_d0),
        impact_dz=np.array(tracker.impact_dz),
        impact_pt_edges=np.array(tracker.impact_pt_edges, np.float64),
        exact_momentum=tracker.as_delphes,
    )


def _track(truth: Truth, tracker: Tracker, rng: np.random.Generator) -> _Particles:
    source = np.flatnonzero(truth.final & ~is_invisible(truth.pdg_id))
    p4, charge = truth.p4[source], truth.charge[source]
    pt = np.hypot(p4[:, 0], p4[:, 1])
    eta = np.arcsinh(p4[:, 2] / np.maximum(pt, 1e-9))
    species = _species(truth.pdg_id[source])
    reached, cal_eta, cal_phi, d0, dz, phi_closest = reach_calorimeter(
        p4[:, :3].copy(), charge, truth.vertex[source] * 1e-3, _cylinder(tracker)
    )
    region_eta, phi, mass = eta, np.arctan2(p4[:, 1], p4[:, 0]), MASS[species]
    if tracker.as_delphes:
        region_eta, phi, mass = cal_eta, phi_closest, _mass(p4)
    charged = ChargedParticles(pt, eta, region_eta, charge, species, reached, d0 * 1e3, dz * 1e3)
    has_track, track_pt, sigma, impact = reconstruct_tracks(charged, _track_tables(tracker), rng)
    columns = {
        "event": truth.event[source],
        "source": source,
        "code": truth.pdg_id[source],
        "species": species,
        "charge": charge,
        "energy": p4[:, 3],
        "direction": np.stack([eta, phi], axis=1),
        "impact_point": np.stack([cal_eta, cal_phi], axis=1),
        "has_track": has_track,
        "track_pt": track_pt,
        "track_sigma": sigma,
        "track_mass": mass,
        "impact": impact,
    }
    return _Particles(**{name: column[reached] for name, column in columns.items()})


def _bremsstrahlung(particles: _Particles, tracker: Tracker, rng: np.random.Generator) -> Array:
    """Factor by which an electron's energy is mismeasured for what it radiates in the tracker."""
    region = np.searchsorted(tracker.eta_edges, np.abs(particles.direction[:, 0]))
    sigma = np.append(tracker.bremsstrahlung, 0.0)[region] * (particles.species == ELECTRON)
    return np.asarray(np.exp(sigma * rng.standard_normal(len(sigma)) - 0.5 * sigma**2))


def _ecal_fraction(code: Array) -> Array:
    absolute = np.abs(code)
    electromagnetic = np.isin(absolute, (11, 22))
    return np.where(electromagnetic, 1.0, np.where(np.isin(absolute, _SHARED), _SHARED_ECAL, 0.0))


def _deposit(
    particles: _Particles, fraction: Array, card: Calorimeter, n: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    deposits = Deposits(
        offsets=np.searchsorted(particles.event, np.arange(n + 1)),
        point=particles.impact_point,
        energy=fraction * particles.energy,
        has_track=particles.has_track,
        track_energy=particles.track_energy,
        track_sigma=particles.track_sigma,
    )
    layer = Layer(
        np.array(card.bands),
        np.array(card.regions),
        card.threshold,
        card.significance,
        card.overrules_tracks,
    )
    return energy_flow(deposits, layer, rng)


def _four_momenta(pt: Array, eta: Array, phi: Array, energy: Array) -> Array:
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy], axis=1)


def _neutral_p4(cells: Array) -> Array:
    energy, eta, phi = cells.T
    return _four_momenta(energy / np.cosh(eta), eta, phi, energy)


def simulate(truth: Truth, card: Detector, rng: np.random.Generator) -> Candidates:
    """Simulate the detector for a batch of events and return its energy-flow candidates."""
    particles = _track(truth, card.tracker, rng)
    in_ecal = _ecal_fraction(particles.code)
    in_hcal = np.where(np.abs(particles.code) == 13, 0.0, 1.0 - in_ecal)
    photon_event, photons, ecal_scale = _deposit(particles, in_ecal, card.ecal, truth.n, rng)
    hadron_event, hadrons, hcal_scale = _deposit(particles, in_hcal, card.hcal, truth.n, rng)
    scale = ecal_scale * hcal_scale * _bremsstrahlung(particles, card.tracker, rng)
    keep = particles.has_track & (scale > 0.0)
    eta, phi = particles.direction.T
    tracks = _four_momenta(particles.track_pt, eta, phi, particles.track_energy) * scale[:, None]
    if card.tracker.as_delphes:
        # What rescales the momentum leaves the mass.
        momentum = scale * particles.track_pt * np.cosh(eta)
        tracks[:, 3] = np.hypot(momentum, particles.track_mass)
    tracks = tracks[keep]
    event = np.concatenate([particles.event[keep], photon_event, hadron_event])
    order = np.argsort(event, kind="stable")
    neutral = len(photons) + len(hadrons)

    def column(charged: Array, fill: float) -> Array:
        padding = np.full((neutral, *charged.shape[1:]), fill, charged.dtype)
        return np.concatenate([charged[keep], padding])[order]

    kinds = [
        particles.species[keep],
        np.full(len(photons), PHOTON),
        np.full(len(hadrons), NEUTRAL_HADRON),
    ]
    p4 = np.concatenate([tracks, _neutral_p4(photons), _neutral_p4(hadrons)])[order]
    return Candidates(
        offsets=np.searchsorted(event[order], np.arange(truth.n + 1)),
        p4=p4,
        charge=column(particles.charge, 0),
        kind=np.concatenate(kinds)[order].astype(np.int8),
        impact=column(particles.impact, 0.0),
        eta_calorimeter=column(particles.impact_point[:, 0], 0.0),
        source=column(particles.source, -1),
    )
