"""Spectra of one NanoAOD file, read in chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import Source
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import Selection, apply, needed_columns, selection
from transferline.errors import ConfigError, DataError, did_you_mean
from transferline.evaluation.measurement import Measurement
from transferline.progress import progress
from transferline.validation.event_file import OBJECTS
from transferline.validation.expected_tags import ExpectedTags
from transferline.validation.histogram import Histogram
from transferline.validation.spectra_quantities import (
    QUANTITIES,
    Quantity,
    read_columns,
    select,
)

_FLAVOUR = "hadron_flavour"


class NamedFile(NamedTuple):
    """A path or URL, and what the user calls it."""

    name: str
    path: str

    @property
    def file_name(self) -> str:
        """The file's name without its directory."""
        return Path(public_name(self.path)).name

    @property
    def reader(self) -> NanoAOD:
        """What reads it."""
        return NanoAOD(files=[self.path])


@dataclass(frozen=True)
class FileSpectra:
    """Histograms of one file by the names of `QUANTITIES`, and what the file says of itself.

    Attributes:
        file, source: which it is, and what it says.
        histograms: of the events that were selected, which are all of them without a selection.
        selected: how many these are.
        rate: the sum of their weights over that of all events before any cut, where the file
            tells it.
        effective: square of the sum of their weights over the sum of squares.
    """

    file: NamedFile
    source: Source
    histograms: Mapping[str, Histogram]
    selected: int
    rate: Measurement | None
    effective: float


def parse_files(words: Sequence[str]) -> list[NamedFile]:
    """Return the files of words `NAME=FILE`.

    Raises:
        ConfigError: a word has another form, or a name stands twice.
    """
    files: dict[str, NamedFile] = {}
    for word in words:
        name, _, path = (part.strip() for part in word.partition("="))
        if not name or not path:
            raise ConfigError(f"'{word}': write NAME=FILE, such as ttbb=ttbb.root.")
        if name in files:
            raise ConfigError(f"'{name}' names two files: {files[name].path} and {path}.")
        files[name] = NamedFile(name, path)
    return list(files.values())


def has_truth(file: NamedFile) -> bool:
    """Tell whether a file has the true flavour of jets; raises DataError if it cannot be read."""
    return _FLAVOUR in file.reader.offers(file.path).get("jet", ())


def read_spectra(
    files: Sequence[NamedFile],
    *,
    truth: bool,
    cuts: Selection | None = None,
    expected: str | None = None,
) -> list[FileSpectra]:
    """Return the spectra of all files; `truth` includes quantities that need simulation.

    Every file is looked at before the first one is read. Memory is bounded by one chunk. With
    `cuts`, objects and events are those that this selection takes. Events of the file named
    `expected` are weighted by the probability of their tags (`expected_tags`).

    Raises:
        ConfigError: no file is named `expected`, or there are no `cuts` or no truth for it.
        DataError: a file is missing, damaged or empty, lacks a column, or its weights do not
            add up to a positive number.
    """
    job = _Job(cuts or selection(OBJECTS), cuts is not None, truth)
    if expected is not None:
        _check_expected(expected, files, job)
    sources = [file.reader.source(file.path, job.columns) for file in files]
    for file, source in zip(files, sources, strict=True):
        if source.entries == 0:
            raise DataError(f"{public_name(file.path)}: has no events.")
    with progress(len(files), "read") as ticker:
        found = []
        for file, source in zip(files, sources, strict=True):
            ticker.note(file.name)
            tags = ExpectedTags.of(source, job.recipe) if file.name == expected else None
            found.append(_fill(file, source, job, tags))
            ticker.advance()
    return found


def _check_expected(name: str, files: Sequence[NamedFile], job: _Job) -> None:
    names = [file.name for file in files]
    if name not in names:
        raise ConfigError(f"No file is named '{name}'.{did_you_mean(name, names)}")
    if not (job.cuts and job.truth):
        raise ConfigError("Expected tags need a selection, and the true flavour of jets.")


@dataclass(frozen=True)
class _Job:
    """Whose objects are looked at; whether its cuts are applied; whether truth is there."""

    recipe: Selection
    cuts: bool
    truth: bool

    @property
    def columns(self) -> dict[str, list[str]]:
        columns = read_columns(self.recipe, truth=self.truth)
        if not self.cuts:
            return columns
        needed = needed_columns(self.recipe)
        return {k: list(dict.fromkeys([*needed.get(k, []), *columns.get(k, [])]))
                for k in {**needed, **columns}}  # fmt: skip

    @property
    def quantities(self) -> dict[str, Quantity]:
        every = QUANTITIES.items()
        return {
            name: quantity
            for name, quantity in every
            if (self.truth or not quantity.truth) and (self.cuts or not quantity.tagged)
        }


def _fill(file: NamedFile, source: Source, job: _Job, tags: ExpectedTags | None) -> FileSpectra:
    wanted = job.quantities
    histograms = {name: Histogram(quantity.edges) for name, quantity in wanted.items()}
    n, total, total2, start = 0, 0.0, 0.0, 0
    for events in file.reader.read(file.path, 0, source.entries, job.columns):
        first, start = start, start + len(events)
        if tags is not None:
            events = tags.put_in(events, first, is_simulation=source.is_simulation)  # noqa: PLW2901
        if job.cuts:
            passed = apply(job.recipe, events, is_simulation=source.is_simulation).passed
            events = events[passed]  # noqa: PLW2901
        chunk = select(events, job.recipe)
        for name, quantity in wanted.items():
            histograms[name].add(quantity.values(chunk), events.weight)
        n += len(events)
        total += float(events.weight.sum())
        total2 += float((events.weight**2).sum())
    if not total > 0.0:
        raise DataError(
            f"{public_name(file.path)}: its weights add up to {total:g}, which no spectrum of "
            "unit area can be made of."
        )
    rate = None
    if job.cuts and source.sum_weight:
        rate = Measurement(total / source.sum_weight, math.sqrt(total2) / source.sum_weight)
    return FileSpectra(file, source, histograms, n, rate, total**2 / total2)
