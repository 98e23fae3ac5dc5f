"""A page that lays the spectra of several files side by side: `transferline validate spectra`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferline.errors import ConfigError
from transferline.evaluation.measurement import Measurement
from transferline.reporting.drawing import Drawing
from transferline.reporting.table import Table
from transferline.validation.check import plain
from transferline.validation.event_file import OBJECTS
from transferline.validation.file_origin import ORIGIN, origin
from transferline.validation.file_spectra import (
    FileSpectra,
    NamedFile,
    has_truth,
    parse_files,
    read_spectra,
)
from transferline.validation.finding import Finding
from transferline.validation.page import Page, Written, write_page
from transferline.validation.spectra_figure import MOST_FILES, spectra_figure
from transferline.validation.spectra_quantities import QUANTITIES, TRUE_B_JETS

_TEXT = (
    "Objects of the shipped selections: jets above 30 GeV within |eta| < 2.4, cleaned of leptons; "
    "b tags at the medium working point of 2016, for every file; tight isolated leptons above 15 "
    "GeV. No trigger and no event cut: events pass what their files were made with and nothing "
    "else. Weights are signed. A quantity is that of the events that have it: the pT of jet 4 of "
    "those with four jets, m(bb) and dR(bb) of those with two b tags, of which the pair nearest "
    "in dR is taken. Lepton is the hardest one. Errors are statistical, of sums over events."
)
_TRUTH = " True b jets are selected jets with a b hadron (`Jet_hadronFlavour` 5)."
_CAPTION = (
    "All spectra at unit area, and their ratios to the first file, whose error is the band. What "
    "lies beyond an axis is in its first or last bin; ratios known to worse than 50 % are left out."
)
_SHARES = (3, 4)


def validate_spectra(
    words: Sequence[str], out: Path, *, title: str, about: str
) -> tuple[Page, Written]:
    """Read the files in chunks and write the page.

    Args:
        words: `NAME=FILE` of NanoAOD files, generated or real; the first is the reference.
        out: the Markdown page; picture and numbers go to `validation/` beside it, under its name.
        title: of the page.
        about: what the page is to show, in Markdown.

    Raises:
        ConfigError: a word is not `NAME=FILE`, a name stands twice, or there are too many files
            to tell apart.
        DataError: a file is missing, damaged or empty, or lacks a column.
    """
    files = parse_files(words)
    if not 0 < len(files) <= MOST_FILES:
        raise ConfigError(f"{len(files)} files: from 1 to {MOST_FILES} go into one figure.")
    blind = [file for file in files if not has_truth(file)]
    page = Page(
        out.stem,
        title,
        about,
        _command(files, out),
        {"objects of": f"the selection {OBJECTS}"},
        [find(read_spectra(files, truth=not blind), blind)],
    )
    return page, write_page(page, out)


def _command(files: Sequence[NamedFile], out: Path) -> list[str]:
    """The command without directories, and without what changes no number."""
    words = [f"{file.name}={file.file_name}" for file in files]
    return ["transferline", "validate", "spectra", *words, "--out", out.name]


def find(files: Sequence[FileSpectra], blind: Sequence[NamedFile] = ()) -> Finding:
    """Show the spectra of all files; `blind` are those without simulation truth, if any are."""
    return Finding(
        "spectra",
        "Spectra",
        _TEXT if blind else _TEXT + _TRUTH,
        tables=(_files_table(files), _means_table(files, blind)),
        drawings=(Drawing("spectra", _CAPTION, lambda: spectra_figure(files)),),
        numbers={file.file.name: _numbers(file) for file in files},
    )


def _files_table(files: Sequence[FileSpectra]) -> Table:
    rows = tuple(
        (one.file.name, one.file.file_name, f"{one.source.entries:,}", *origin(one.source))
        for one in files
    )
    note = (
        "The first cross section is that of the catalogue, the second the generator's own at "
        "leading order; both are before the filter. MPI are multi-parton interactions."
    )
    return Table("Files", ("Name", "File", "Events", *ORIGIN), rows, note)


def _means_table(files: Sequence[FileSpectra], blind: Sequence[NamedFile]) -> Table:
    """One row per quantity, one column per file."""
    rows = [
        (QUANTITIES[name].title, *(str(one.histograms[name].mean()) for one in files))
        for name in files[0].histograms
    ]
    if TRUE_B_JETS in files[0].histograms:
        rows += [
            (f"Share with {n} or more true b jets", *(str(_share(one, n)) for one in files))
            for n in _SHARES
        ]
    names = ", ".join(file.name for file in blind)
    note = f"Rows about simulation truth are left out: {names} has none." if blind else ""
    return Table("Means", ("Quantity", *(one.file.name for one in files)), tuple(rows), note)


def _share(file: FileSpectra, number: int) -> Measurement:
    return file.histograms[TRUE_B_JETS].share_from(number)


def _numbers(file: FileSpectra) -> dict[str, Any]:
    """Return means, shares and bins as JSON values; contents are sums of weights."""
    found: dict[str, Any] = {"entries": file.source.entries}
    for name, histogram in file.histograms.items():
        bins = {"content": histogram.content, "error": np.sqrt(histogram.variance)}
        every = {"edges": histogram.edges, **bins}
        found[name] = {key: values.tolist() for key, values in every.items()}
        found[name]["mean"] = plain(histogram.mean())
    if TRUE_B_JETS in file.histograms:
        found |= {f"share_{n}_true_b_jets": plain(_share(file, n)) for n in _SHARES}
    return found
