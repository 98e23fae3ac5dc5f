"""Mean and variance of the 17 inputs of JetClass, beside those of JetClass itself.

A network that was trained on JetClass keeps both in the batch normalisation of its inputs, so they
can be compared although the data cannot be had. Inputs (arXiv:2202.03772, its data card), of at
most 128 particles by falling pT and zero elsewhere, with clip(x) to +-5:

    clip(0.7 (ln pT - 1.7)), clip(0.7 (ln E - 2.0)), clip(0.7 (ln pT/pT_jet + 4.7)),
    clip(0.7 (ln E/E_jet + 4.7)), clip(4 (dR - 0.2)), charge, five types, tanh d0,
    sigma(d0) cut to [0, 1], tanh dz, sigma(dz) cut to [0, 1], deta, dphi.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np

from transferline.config import Recipe, load_config
from transferline.data.layouts.jetclass import FLAGS
from transferline.evaluation.measurement import Measurement
from transferline.validation.jet_file import JetFile
from transferline.validation.statistics import Floats

PLACES = 128
_CUT = 5.0


class JetClassMoments(Recipe):
    """`jetclass_moments.yaml`: feature -> (mean, variance), and the number of jets behind them."""

    jets: int
    moments: dict[str, tuple[float, float]]


@cache
def jetclass_moments() -> JetClassMoments:
    """Return the numbers of JetClass.

    >>> len(jetclass_moments().moments)
    17
    """
    return load_config(Path(__file__).with_name("jetclass_moments.yaml"), JetClassMoments)


def _scaled(values: ak.Array, centre: float, factor: float) -> ak.Array:
    scaled = (values - centre) * factor
    return np.minimum(np.maximum(scaled, -_CUT), _CUT)


def inputs(file: JetFile) -> dict[str, ak.Array]:
    """Return the 17 inputs by name, each `[n, var]`."""
    pt, energy = file.pt, file["energy"]
    deta, dphi = file["deta"], file["dphi"]
    return {
        "pt_log": _scaled(np.log(pt), 1.7, 0.7),
        "e_log": _scaled(np.log(energy), 2.0, 0.7),
        "logptrel": _scaled(np.log(pt / file["jet_pt"]), -4.7, 0.7),
        "logerel": _scaled(np.log(energy / file["jet_energy"]), -4.7, 0.7),
        "deltaR": _scaled(np.hypot(deta, dphi), 0.2, 4.0),
        "charge": file["charge"],
        **{flag.removeprefix("part_"): file[flag.removeprefix("part_")] for flag in FLAGS},
        "d0": np.tanh(file["d0val"]),
        "d0err": np.minimum(np.maximum(file["d0err"], 0.0), 1.0),
        "dz": np.tanh(file["dzval"]),
        "dzerr": np.minimum(np.maximum(file["dzerr"], 0.0), 1.0),
        "deta": deta,
        "dphi": dphi,
    }


def sums(file: JetFile) -> Floats:
    """Return for every jet the means over the 128 places of the inputs and of their squares.

    Returns: `[2, n, 17]`.
    """
    columns = [ak.values_astype(x[:, :PLACES], np.float64) for x in inputs(file).values()]
    powers = [[ak.to_numpy(ak.sum(x**power, axis=1)) for x in columns] for power in (1, 2)]
    return np.asarray(powers).transpose(0, 2, 1) / PLACES


class Moments(NamedTuple):
    """Mean and variance of one input."""

    mean: Measurement
    variance: Measurement


def moments(files: Mapping[str, JetFile]) -> dict[str, Moments]:
    """Return mean and variance of each input over an equal mix of the files, with errors.

    The error of the variance is that of the mean of (x^2 - 2 mu x) over jets; jets of a file are
    independent, their particles are not.
    """
    by_file = [sums(file) for file in files.values()]
    mean = np.mean([s[0].mean(axis=0) for s in by_file], axis=0)
    variance = np.mean([s[1].mean(axis=0) for s in by_file], axis=0) - mean**2
    mean_error = _error([s[0] for s in by_file])
    variance_error = _error([s[1] - 2.0 * mean * s[0] for s in by_file])
    names = list(jetclass_moments().moments)
    return {
        name: Moments(
            Measurement(float(mean[i]), float(mean_error[i])),
            Measurement(float(variance[i]), float(variance_error[i])),
        )
        for i, name in enumerate(names)
    }


def _error(values: list[Floats]) -> Floats:
    """Standard error of the mean over an equal mix of files, `[17]`."""
    squares = [v.var(axis=0) / len(v) for v in values]
    return np.asarray(np.sqrt(np.sum(squares, axis=0)) / len(values))
