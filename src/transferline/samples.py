"""Samples: generated or given files, prepared once and kept by the hash of what made them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from transferline.config import Recipe, one_of
from transferline.data.layouts.shards import CARD
from transferline.data.prepare import prepare
from transferline.data.readers import READERS
from transferline.errors import ConfigError, DataError
from transferline.files import json_hash
from transferline.provenance import package_versions

GENERATION = 1
"""Raised when the same recipe would be generated or prepared differently."""

_MADE_BY = ("pythia8mc", "fastjet", "numpy", "transferline")


class Sample(Recipe):
    """Prepared events: of a generated process, of files, or of shards that exist.

    Attributes:
        process: name in the catalogue of processes; generated with `n`, `seed`, `mpi`,
            `detector`, `filter`, `tune`, `lhe` as `generate_events` describes.
        n: events to generate, counted after the process-level filter and before the selection.
        reader: files in one format, instead of a process.
        shards: directory of prepared shards, instead of either.
        selection: name of a selection in the package, or path of a YAML file.
        label: for plots.
    """

    process: str | None = None
    n: int | None = Field(None, gt=0)
    seed: int = 1
    mpi: bool = True
    detector: str = "cms"
    filter: str | None = None
    tune: str = "monash"
    lhe: str | None = None
    reader: one_of(READERS) | None = None  # type: ignore[valid-type]  # registry-driven
    shards: str | None = None
    selection: str | None = None
    label: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        sources = [n for n in ("process", "reader", "shards") if getattr(self, n) is not None]
        if len(sources) != 1:
            raise ValueError("needs exactly one of process, reader, shards.")
        if (self.selection is None) != (self.shards is not None):
            raise ValueError(f"{sources[0]} needs a selection; shards have theirs already.")
        if (self.process is None) != (self.n is None):
            raise ValueError("process and n belong together.")
        return self

    def shares_events_with(self, other: Sample) -> bool:
        """Tell whether the two surely hold the same collisions, selections aside.

        Random numbers belong to (process, seed, block): other filters, detectors or
        numbers of events do not make them other events.
        """
        if self.process is not None:
            return (self.process, self.seed, self.lhe) == (other.process, other.seed, other.lhe)
        if self.reader is not None and other.reader is not None:
            return bool(set(self.reader.paths()) & set(other.reader.paths()))
        return self.shards is not None and self.shards == other.shards


def cache_directory() -> Path:
    """Return `TRANSFERLINE_CACHE`, or `~/.cache/transferline`."""
    return Path(os.environ.get("TRANSFERLINE_CACHE") or Path.home() / ".cache" / "transferline")


def materialise(sample: Sample, cache: Path | None = None, *, jobs: int = 1) -> Path:
    """Return the shard directory of a sample, generating and preparing what is not there.

    What is in the cache is found again by the hash of everything that made it: the recipe, the
    catalogue's entry, the detector card, the selection and the versions of the generator.
    Interrupted, both steps go on where they stopped.

    Raises:
        ConfigError: a name of the recipe is unknown.
        DataError: files are missing or damaged, or no event passes the selection.
    """
    if sample.shards is not None:
        place = Path(sample.shards)
        if not (place / CARD).is_file():
            raise DataError(f"{place}: is no directory of prepared shards ({CARD} is missing).")
        return place
    cache = cache or cache_directory()
    raise ConfigError
