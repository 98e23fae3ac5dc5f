"""One calorimeter layer with energy flow, after Delphes' `SimpleCalorimeter` (arXiv:1307.6346).

Energies are summed per cell and smeared once per cell. Where the cell's energy exceeds that of
its tracks significantly, the excess becomes a neutral candidate; else the tracks are rescaled to
the weighted mean of track and cell.
"""

from __future__ import annotations

import numpy as np

from transferline.generate.compiled import Array, compiled, log_normal


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
    """Number of the cell at (eta, phi), or -1 outside.

    `bands` rows hold (largest |eta|, width in eta, cells in phi).
    """
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
def _measure(deposit: float, eta: float, threshold: float, significance: float, regions: Array,
             rng: np.random.Generator) -> tuple[float, float]:
    """Smeared energy (zero if it is not above noise) and its resolution."""
    energy = log_normal(deposit, cell_resolution(eta, deposit, regions), rng)
    sigma = cell_resolution(eta, energy, regions)
    if energy < threshold or energy < significance * sigma:
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
def energy_flow(
    offsets: Array, eta: Array, phi: Array, deposit: Array, has_track: Array,
    track_energy: Array, track_sigma: Array, bands: Array, regions: Array,
    threshold: float, significance: float, rng: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Energy flow in one layer for all events.

    `deposit` is the energy (GeV) each particle leaves in this layer, `track_sigma` the relative
    error of its track. Returns the event of each neutral candidate, its (energy, eta, phi), and
    the factor by which each particle's track is to be rescaled.
    """
    n = len(eta)
    scale = np.ones(n)
    cells = np.full(n, -1, np.int64)
    for i in range(n):
        if deposit[i] > 0.0:
            cells[i] = cell_of(eta[i], phi[i], bands)
    event = np.empty(n, np.int64)
    neutral = np.empty((n, 3))
    found = 0
    for number in range(len(offsets) - 1):
        first, last = offsets[number], offsets[number + 1]
        order = first + np.argsort(cells[first:last], kind="mergesort")
        start = 0
        while start < len(order) and cells[order[start]] < 0:
            start += 1
        while start < len(order):
            cell = cells[order[start]]
            stop = start
            total, tracks, measured, variance = 0.0, 0.0, 0.0, 0.0
            low_eta, eta_width, low_phi, phi_width = _cell_corner(cell, bands)
            centre = low_eta + 0.5 * eta_width
            while stop < len(order) and cells[order[stop]] == cell:
                i = order[stop]
                total += deposit[i]
                if has_track[i]:
                    by_track = track_sigma[i] * track_energy[i]
                    by_cell = cell_resolution(centre, track_energy[i], regions)
                    # A track worse than the cell must not fake an excess by its fluctuation.
                    tracks += track_energy[i] if by_track < by_cell else deposit[i]
                    measured += track_energy[i]
                    variance += min(by_track, by_cell) ** 2
                stop += 1
            energy, sigma = _measure(total, centre, threshold, significance, regions, rng)
            excess = energy - tracks
            if excess > threshold and excess > significance * np.sqrt(variance + sigma * sigma):
                event[found] = number
                neutral[found, 0] = excess
                neutral[found, 1] = low_eta + eta_width * rng.random()
                neutral[found, 2] = low_phi + phi_width * rng.random()
                found += 1
            elif measured > 0.0:
                mean = _weighted_mean(tracks, variance, energy, sigma) / measured
                for position in range(start, stop):
                    if has_track[order[position]]:
                        scale[order[position]] = mean
            start = stop
    return event[:found].copy(), neutral[:found].copy(), scale
