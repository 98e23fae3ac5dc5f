"""A few real collisions, generated once per test session through the sample cache."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from transferline.sample_generation import generated_file
from transferline.samples import Sample, materialise

SIGNAL = Sample(
    process="ttH_bb_1l", n=800, seed=1, mpi=False, filter="emu_jets", selection="l1_j4_b1"
)
BACKGROUND = Sample(
    process="ttbar_1l", n=1600, seed=1, mpi=False, filter="emu_jets", selection="l1_j4_b1"
)


@lru_cache(maxsize=1)
def _session() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="transferline-test-")


def cache() -> Path:
    """The cache directory of this test session."""
    return Path(_session().name)


@lru_cache(maxsize=4)
def shards(sample: Sample) -> Path:
    """The shard directory of a sample."""
    return materialise(sample, cache())


def root_file(sample: Sample) -> Path:
    """The NanoAOD file behind a sample."""
    return generated_file(sample, cache())
