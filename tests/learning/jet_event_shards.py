"""Small shards of events of jets; in signal the leading jets are of positive particles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from transferline.data.prepare import prepare
from transferline.data.readers.hbb import Hbb
from transferline.data.selections import JetEventSelection, JetSelection

from ..data import jet_files

EVENTS = JetEventSelection(kind="jet_events", name="toy", min_jets=1, max_jets=4)


def write_events(folder: Path, name: str, n: int, seed: int, signal: bool) -> Path:
    """Write a file of events of one to four jets, some of them Higgs bosons in signal."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, n)
    jets = jet_files.random_jets(counts.sum(), seed=seed, counts=rng.integers(3, 16, counts.sum()))
    leading = np.zeros(len(jets.counts), bool)
    leading[np.cumsum(counts) - counts] = signal
    positive = rng.random(len(jets.charge)) < np.where(leading[jets.parent], 0.95, 0.5)
    charge = np.where(jets.charge == 0, 0, np.where(positive, 1, -1))
    jets = dataclasses.replace(jets, charge=charge)
    return jet_files.write_hbb_jagged(folder / f"{name}.root", jets, counts, scalars=False)


def write_event_shards(folder: Path, name: str, n: int, seed: int, signal: bool) -> Path:
    """Write and prepare events; return the shard directory."""
    file = write_events(folder, name, n, seed, signal)
    prepare(Hbb(files=[str(file)], sets="events"), EVENTS, folder / name, sample=name)
    return folder / name


def write_single_jets(folder: Path, name: str, n: int, seed: int, positive: float) -> Path:
    """Write and prepare single jets with this share of positive particles."""
    rng = np.random.default_rng(seed)
    jets = jet_files.random_jets(n, seed=seed, counts=rng.integers(3, 16, n))
    sign = np.where(rng.random(len(jets.charge)) < positive, 1, -1)
    jets = dataclasses.replace(jets, charge=np.where(jets.charge == 0, 0, sign))
    file = jet_files.write_hbb_jagged(folder / f"{name}.root", jets, np.ones(n, int), scalars=False)
    selection = JetSelection(kind="jets", name="toy")
    prepare(Hbb(files=[str(file)]), selection, folder / name, sample=name)
    return folder / name
