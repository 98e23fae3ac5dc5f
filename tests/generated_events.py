"""A few real collisions, generated once per test session through the sample cache."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


def cache() -> Path:
    """The cache directory of this test session, the same for all its processes."""
    return Path(os.environ["TRANSFERLINE_TEST_EVENTS"])


@contextmanager
def one_at_a_time(*samples: Sample) -> Iterator[Path]:
    """A process waits for those of these samples that another one is generating."""
    place = cache()
    place.mkdir(exist_ok=True)
    with ExitStack() as held:
        for name in sorted(sample.process or "" for sample in samples):
            handle = held.enter_context((place / f"{name}.lock").open("w"))
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield place


@lru_cache(maxsize=4)
def shards(sample: Sample) -> Path:
    """The shard directory of a sample."""
    with one_at_a_time(sample) as place:
        return materialise(sample, place)


def root_file(sample: Sample) -> Path:
    """The NanoAOD file behind a sample."""
    with one_at_a_time(sample) as place:
        return generated_file(sample, place)
