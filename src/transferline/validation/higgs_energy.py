"""What 8 instead of 13 TeV does to the columns of the HIGGS benchmark, in the hard process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import awkward as ak
import numpy as np

from transferline.evaluation.measurement import Measurement
from transferline.generate.catalogue import process
from transferline.generate.hard_filter import hard_filter
from transferline.generate.pythia import PythiaRun
from transferline.generate.truth import Truth
from transferline.validation.cascade_masses import Decays
from transferline.validation.higgs_events import PROCESSES
from transferline.validation.higgs_file import Kind
from transferline.validation.statistics import Floats, median

BENCHMARK_ENERGY, OWN_ENERGY = 8000, 13000
_PARTONS = 4000
_BARE = (
    "PartonLevel:ISR = off",
    "PartonLevel:FSR = off",
    "PartonLevel:MPI = off",
    "PartonLevel:Remnants = off",
    "Check:event = off",  # without remnants the momentum of the beams is not balanced
    "HadronLevel:all = off",
)


@dataclass(frozen=True)
class EnergyShift:
    """Columns of the hard process of one class at both energies."""

    low: dict[str, Floats]
    high: dict[str, Floats]

    def corrected(self, name: str, measured: Measurement) -> Measurement:
        """Return a median measured at 13 TeV, moved to 8 TeV by the ratio in the hard process."""
        ratio = self.ratio(name, median)
        value = measured.value * ratio.value
        error = np.hypot(measured.error * ratio.value, measured.value * ratio.error)
        return Measurement(value, float(error))

    def ratio(self, name: str, statistic: Callable[[Floats], Measurement]) -> Measurement:
        """Return a number such as the median of a column at 8 TeV over that at 13 TeV."""
        low, high = statistic(self.low[name]), statistic(self.high[name])
        value = low.value / high.value
        error = value * np.hypot(low.error / low.value, high.error / high.value)
        return Measurement(value, float(error))


def energy_shift(kind: Kind, seed: int, n: int = _PARTONS) -> EnergyShift:
    """Generate `n` hard processes per charge of the lepton at either energy."""
    low, high = (_columns(kind, energy, n, seed) for energy in (BENCHMARK_ENERGY, OWN_ENERGY))
    return EnergyShift(low, high)


def _columns(kind: Kind, energy: int, n: int, seed: int) -> dict[str, Floats]:
    entry = process(PROCESSES[kind])
    parts = []
    for number in range(len(entry.alternatives)):
        settings = (*entry.settings(number), f"Beams:eCM = {energy}.", *_BARE)
        run = PythiaRun(settings, 1 + seed % 900_000_000, hard_filter("none"))
        parts += [_particles(truth) for truth in run.batches(n)]
    return _decays(ak.concatenate(parts)).columns()


def _decays(found: ak.Array) -> Decays:
    """Take quarks for jets and the neutrino for missing momentum, within the file's limits."""
    code = abs(found.pdg_id)
    lepton = found[((code == 11) | (code == 13)) & (found.pt > 15.0) & (abs(found.eta) < 2.5)]
    quarks = found[(code <= 5) & (found.pt > 15.0) & (abs(found.eta) < 3.0)]
    jets = quarks[ak.argsort(quarks.pt, axis=1, ascending=False)]
    jets["is_b"] = abs(jets.pdg_id) == 5
    rows = (ak.num(lepton) == 1) & (ak.num(jets) == 4) & (ak.sum(jets.is_b, axis=1) == 2)
    neutrino = found[(code == 12) | (code == 14)][rows][:, 0]
    return Decays(lepton[rows][:, 0], neutrino, jets[rows], np.ones(int(ak.sum(rows))))


def _particles(truth: Truth) -> ak.Array:
    x, y, z, _ = truth.p4[truth.final].T
    pt = np.maximum(np.hypot(x, y), 1e-9)
    columns = {"pdg_id": truth.pdg_id[truth.final], "pt": pt, "eta": np.arcsinh(z / pt)}
    columns["phi"] = np.arctan2(y, x)
    return ak.unflatten(ak.zip(columns), np.bincount(truth.event[truth.final], minlength=truth.n))
