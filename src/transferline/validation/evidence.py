"""What a page is made of: generated samples, the detector card, real simulation if given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from transferline.generate.card import Card, load_card
from transferline.sample_generation import generated_file
from transferline.samples import Sample
from transferline.validation.event_file import OBJECTS, EventFile


class _Need(NamedTuple):
    """One sample: its process, its size as a share of the largest one, and its switch."""

    process: str
    share: float
    mpi: bool = True


NEEDS = {
    "ttbar": _Need("ttbar_1l", 1.0),
    "ttbar_no_mpi": _Need("ttbar_1l", 0.5, mpi=False),
    "ttH": _Need("ttH_bb_1l", 0.25),
    "ttH_no_mpi": _Need("ttH_bb_1l", 0.25, mpi=False),
    "Z": _Need("Zjets_ll", 0.5),
    "ttbar_2l": _Need("ttbar_2l", 0.1),
    "singletop": _Need("singletop_t", 0.1),
    "W": _Need("Wjets_lnu", 0.15),
}


@dataclass(frozen=True)
class Evidence:
    """Generated samples by name, the card they were made with, files of real simulation."""

    files: Mapping[str, EventFile]
    card: Card
    n: int
    seed: int
    detector: str = "cms"
    real: Sequence[Path] = ()

    def __getitem__(self, name: str) -> EventFile:
        """Return one sample."""
        return self.files[name]


def recipes(n: int, seed: int, detector: str) -> dict[str, Sample]:
    """Return the samples of a page whose largest one has `n` events."""
    return {
        name: Sample(
            process=need.process,
            n=max(round(need.share * n), 1),
            seed=seed,
            mpi=need.mpi,
            detector=detector,
            selection=OBJECTS,
        )
        for name, need in NEEDS.items()
    }


def gather(
    n: int,
    seed: int,
    *,
    detector: str = "cms",
    jobs: int = 1,
    real: Sequence[Path] = (),
    cache: Path | None = None,
) -> Evidence:
    """Generate what is not in the cache yet; interrupted, it goes on where it stopped."""
    samples = recipes(n, seed, detector)
    files = {
        name: EventFile(generated_file(sample, cache, jobs=jobs))
        for name, sample in samples.items()
    }
    return Evidence(files, load_card(detector), n, seed, detector, real)
