"""Small shards of jets whose classes differ in their charges, prepared from files as published."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from transferline.data.prepare import prepare
from transferline.data.readers.jetclass import JetClass
from transferline.data.selections import load_selection

from ..data import jet_files


def write_class_file(path: Path, name: str, n: int, seed: int, largest: int = 24) -> Path:
    """Write a JetClass file of one class; the later it stands in the list, the more is positive."""
    place = jet_files.CLASSES.index(name)
    jets = jet_files.random_jets(n, seed=seed, largest=largest)
    drawn = np.random.default_rng(seed).random(len(jets.charge))
    positive = np.where(drawn < place / 9, 1, -1)
    jets = dataclasses.replace(jets, charge=np.where(jets.charge == 0, 0, positive))
    labels = {
        f"label_{other}": np.full(n, other == name, np.float32) for other in jet_files.CLASSES
    }
    return jet_files.write_jetclass(path, jets, **labels)


def write_jet_shards(folder: Path, name: str, n: int, seed: int) -> Path:
    """Write and prepare such a file; return the shard directory."""
    file = write_class_file(folder / f"{name}_{seed}.root", name, n, seed)
    out = folder / f"{name}-{seed}"
    prepare(JetClass(files=[str(file)]), load_selection("jets"), out, sample=name)
    return out
