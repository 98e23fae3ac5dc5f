"""Spectra of one NanoAOD file, read in chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import Source
from transferline.data.readers.nanoaod import NanoAOD
from transferline.data.selections import selection
from transferline.errors import ConfigError, DataError
from transferline.progress import progress
from transferline.validation.event_file import OBJECTS
from transferline.validation.histogram import Histogram
from transferline.validation.spectra_quantities import QUANTITIES, read_columns, select

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
    """Histograms of one file by the names of `QUANTITIES`, and what the file says of itself."""

    file: NamedFile
    source: Source
    histograms: Mapping[str, Histogram]


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


def read_spectra(files: Sequence[NamedFile], *, truth: bool) -> list[FileSpectra]:
    """Return the spectra of all files; `truth` includes quantities that need simulation.

    Every file is looked at before the first one is read. Memory is bounded by one chunk.

    Raises:
        DataError: a file is missing, damaged or empty, lacks a column, or its weights do not
            add up to a positive number.
    """
    columns = read_columns(selection(OBJECTS), truth=truth)
    sources = [file.reader.source(file.path, columns) for file in files]
    for file, source in zip(files, sources, strict=True):
        if source.entries == 0:
            raise DataError(f"{public_name(file.path)}: has no events.")
    with progress(len(files), "read") as ticker:
        found = []
        for file, source in zip(files, sources, strict=True):
            ticker.note(file.name)
            found.append(FileSpectra(file, source, _fill(file, source.entries, truth)))
            ticker.advance()
    return found


def _fill(file: NamedFile, entries: int, truth: bool) -> dict[str, Histogram]:
    recipe = selection(OBJECTS)
    wanted = {name: q for name, q in QUANTITIES.items() if truth or not q.truth}
    histograms = {name: Histogram(quantity.edges) for name, quantity in wanted.items()}
    total = 0.0
    columns = read_columns(recipe, truth=truth)
    for events in file.reader.read(file.path, 0, entries, columns):
        chunk = select(events, recipe)
        for name, quantity in wanted.items():
            histograms[name].add(quantity.values(chunk), events.weight)
        total += float(events.weight.sum())
    if not total > 0.0:
        raise DataError(
            f"{public_name(file.path)}: its weights add up to {total:g}, which no spectrum of "
            "unit area can be made of."
        )
    return histograms
