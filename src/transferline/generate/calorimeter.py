"""One calorimeter layer with energy flow, after Delphes' `SimpleCalorimeter` (arXiv:1307.6346).

Energies are summed per cell and smeared once per cell. Where the cell's energy exceeds that of
its tracks significantly, the excess becomes a neutral candidate; else the tracks are rescaled to
the weighted mean of track and cell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferline.generate.compiled import Array, compiled, log_normal


class Layer(NamedTuple):
    """One calorimeter layer.

    `bands` rows hold (largest |eta|, cell width in eta, cells in phi); `regions` rows those of
    `cell_resolution`. Cells below `threshold` (GeV) or `significance` standard deviations are
    noise. With `overrules_tracks` the energy of a cell replaces that of its tracks wherever there
    is no neutral excess, even if that energy is zero.
    """

    bands: Array
    regions: Array
    threshold: float
    significance: float
    overrules_tracks: bool = False


class Deposits(NamedTuple):
    """What particles leave in a layer, with their tracks, laid out by event (`offsets`).

    `point [n, 2]` is (eta, phi) of the impact, `energy` the deposit in GeV, `track_sigma` the
    relative error of the track's energy.
    """

    offsets: Array
    point: Array
    energy: Array
    has_track: Array
    track_energy: Array
    track_sigma: Array


@compiled
def cell_resolution(eta: float, energy: float, regions: Array) -> float:
    """Energy resolution in GeV of a cell.

    sigma = (s0 + s1 (|eta| - s2)^2) sqrt((c E)^2 + a^2 E + b^2); `regions` rows hold
    (largest |eta|, c, a, b, s0, s1, s2).
    """
    for row in regions:
        if abs(eta) <= row[0]:
            shape = row[4] + row[5] * (abs(eta) - row[6]) ** 2
            variance = (row[1] * energy) ** 2 + row[2] * row[2] * energy + row[3] * row[3]
            return float(shape * np.sqrt(variance))
    return 0.0


@compiled
def cell_of(eta: float, phi: float, bands: Array) -> int:
    """Number of the cell at (eta, phi), or -1 outside."""
    for band in range(len(bands)):
        if abs(eta) <= bands[band, 0]:
            column = int(np.floor(eta / bands[band, 1])) + 500
            row = int(np.floor((phi + np.pi) / (2.0 * np.pi) * bands[band, 2]))
            return (band * 1000 + column) * 1000 + row % int(bands[band, 2])
    return -1


@compiled
def _cell_corner(cell: int, bands: Array) -> tuple[float, float, float, float]:
    """Lower eta, eta width, lower phi, phi width of a cell."""
    band, column, row = cell // 1000000, cell // 1000 % 1000 - 500, cell % 1000
    width = 2.0 * np.pi / bands[band, 2]
    return column * bands[band, 1], bands[band, 1], -np.pi + row * width, width


@compiled
def _measure(
    deposit: float, eta: float, layer: Layer, rng: np.random.Generator
) -> tuple[float, float]:
    """Smeared energy (zero if it is not above noise) and its resolution."""
    energy = log_normal(deposit, cell_resolution(eta, deposit, layer.regions), rng)
    sigma = cell_resolution(eta, energy, layer.regions)
    if energy < layer.threshold or energy < layer.significance * sigma:
        return 0.0, sigma
    return energy, sigma


@compiled
def _weighted_mean(tracks: float, track_variance: float, energy: float, sigma: float) -> float:
    """Mean of the energies of tracks and cell by inverse variance."""
    if track_variance <= 0.0 or energy <= 0.0 or sigma <= 0.0:
        return tracks
    by_track, by_cell = 1.0 / track_variance, 1.0 / (sigma * sigma)
    return (by_track * tracks + by_cell * energy) / (by_track + by_cell)


@compiled
def _share_of_tracks(
    members: Array, deposits: Deposits, eta: float, layer: Layer
) -> tuple[float, float, float]:
    """Energy and variance to subtract for the tracks of a cell, and their measured energy."""
    tracks, variance, measured = 0.0, 0.0, 0.0
    for i in members:
        if not deposits.has_track[i]:
            continue
        energy = deposits.track_energy[i]
        by_track = deposits.track_sigma[i] * energy
        by_cell = cell_resolution(eta, energy, layer.regions)
        # A track worse than the cell must not fake an excess by its fluctuation.
        tracks += energy if by_track < by_cell else deposits.energy[i]
        measured += energy
        variance += min(by_track, by_cell) ** 2
    return tracks, variance, measured


@compiled
def _measure_cell(
    members: Array, cell: int, deposits: Deposits, layer: Layer, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Energy, eta and phi of a cell's neutral candidate (or no energy), and the tracks' factor."""
    low_eta, eta_width, low_phi, phi_width = _cell_corner(cell, layer.bands)
    centre = low_eta + 0.5 * eta_width
    total = 0.0
    for i in members:
        total += deposits.energy[i]
    tracks, variance, measured = _share_of_tracks(members, deposits, centre, layer)
    energy, sigma = _measure(total, centre, layer, rng)
    excess = energy - tracks
    error = np.sqrt(variance + sigma * sigma)
    if excess > layer.threshold and excess > layer.significance * error:
        eta = low_eta + eta_width * rng.random()
        return excess, eta, low_phi + phi_width * rng.random(), 1.0
    if measured > 0.0 and layer.overrules_tracks:
        return 0.0, 0.0, 0.0, energy / measured
    if measured > 0.0:
        return 0.0, 0.0, 0.0, _weighted_mean(tracks, variance, energy, sigma) / measured
    return 0.0, 0.0, 0.0, 1.0


@compiled
def _cells(deposits: Deposits, bands: Array) -> Array:
    cells = np.full(len(deposits.energy), -1, np.int64)
    for i in range(len(cells)):
        if deposits.energy[i] > 0.0:
            cells[i] = cell_of(deposits.point[i, 0], deposits.point[i, 1], bands)
    return cells


def energy_flow(
    deposits: Deposits, layer: Layer, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Energy flow in one layer for all events.

    Returns the event of each neutral candidate, its (energy, eta, phi), and the factor by which
    each particle's track is to be rescaled.
    """
    cells = _cells(deposits, layer.bands)
    event = np.repeat(np.arange(len(deposits.offsets) - 1), np.diff(deposits.offsets))
    order = np.lexsort((cells, event))  # here: to compile a sort takes longer than many events
    return _measured_cells(deposits, layer, cells, order, rng)


@compiled
def _measured_cells(
    deposits: Deposits, layer: Layer, cells: Array, order: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """`order` has the particles of each event by cell."""
    n = len(deposits.energy)
    scale = np.ones(n)
    event = np.empty(n, np.int64)
    neutral = np.empty((n, 3))
    found = 0
    for number in range(len(deposits.offsets) - 1):
        start, last = deposits.offsets[number], deposits.offsets[number + 1]
        while start < last and cells[order[start]] < 0:
            start += 1
        while start < last:
            cell = cells[order[start]]
            stop = start
            while stop < last and cells[order[stop]] == cell:
                stop += 1
            members = order[start:stop]
            energy, eta, phi, factor = _measure_cell(members, cell, deposits, layer, rng)
            if energy > 0.0:
                event[found] = number
                neutral[found, 0], neutral[found, 1], neutral[found, 2] = energy, eta, phi
                found += 1
            for i in members:
                scale[i] = factor if deposits.has_track[i] else 1.0
            start = stop
    return event[:found].copy(), neutral[:found].copy(), scale
