"""A page that lays the spectra of several files side by side: `transferline validate spectra`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferline.data.selections import Selection, selection
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
from transferline.validation.spectra_comparison import checks, shape_table
from transferline.validation.spectra_figure import MOST_FILES, spectra_figure
from transferline.validation.spectra_quantities import QUANTITIES, TRUE_B_JETS

_RULES = (
    "Weights are signed. A quantity is that of the events that have it: the pT of jet 4 of "
    "those with four jets, m(bb) and dR(bb) of those with two b tags, of which the pair nearest "
    "in dR is taken. Lepton is the hardest one. Errors are statistical, of sums over events."
)
_TEXT = (
    "Objects of the shipped selections: jets above 30 GeV within |eta| < 2.4, cleaned of leptons; "
    "b tags at the medium working point of 2016, for every file; tight isolated leptons above 15 "
    "GeV. No trigger and no event cut: events pass what their files were made with and nothing "
    f"else. {_RULES}"
)
_TRUTH = " True b jets are selected jets with a b hadron (`Jet_hadronFlavour` 5)."
_CAPTION = (
    "All spectra at unit area, and their ratios to the first file, whose error is the band. What "
    "lies beyond an axis is in its first or last bin; ratios known to worse than 50 % are left out."
)
_SELECTED = (
    "Only events that pass the selection {name}, triggers included; objects are its own, jets not "
    "cleaned of taus."
)
_SAME = (
    " The files are to be samples of one distribution: means and the rate, which is the sum of "
    "weights selected over that before any cut, are divided by those of the first file."
)
_EXPECTED = (
    " Events of {name} are weighted with the probability that the detector card gives to at least "
    "one tag among their selected jets, and their tags are drawn on the condition that there is "
    "one: all events count that could have had a tag."
)
_SHARES = (3, 4)


def validate_spectra(
    words: Sequence[str],
    out: Path,
    *,
    title: str,
    about: str,
    cuts: str | None = None,
    same: bool = False,
    expected: str | None = None,
) -> tuple[Page, Written]:
    """Read the files in chunks and write the page.

    Args:
        words: `NAME=FILE` of NanoAOD files, generated or real; the first is the reference.
        out: the Markdown page; picture and numbers go to `validation/` beside it, under its name.
        title: of the page.
        about: what the page is to show, in Markdown.
        cuts: name of a selection, or path of its YAML file; its events only are looked at.
        same: the files should be the same: tell whether they are.
        expected: name of a generated file whose events are weighted by the probability of tags.

    Raises:
        ConfigError: there is no such selection or expected file, a word is not `NAME=FILE`, a
            name stands twice, or there are too many files to tell apart.
        DataError: a file is missing, damaged or empty, or lacks a column.
    """
    files = parse_files(words)
    if not 0 < len(files) <= MOST_FILES:
        raise ConfigError(f"{len(files)} files: from 1 to {MOST_FILES} go into one figure.")
    recipe = None if cuts is None else selection(cuts)
    blind = [file for file in files if not has_truth(file)]
    spectra = read_spectra(files, truth=not blind, cuts=recipe, expected=expected)
    page = Page(
        out.stem,
        title,
        about,
        _command(files, out, cuts, same, expected),
        {"objects of": f"the selection {recipe.name if recipe else OBJECTS}"},
        [find(spectra, blind, recipe, same=same, expected=expected)],
    )
    return page, write_page(page, out)


def _command(
    files: Sequence[NamedFile], out: Path, cuts: str | None, same: bool, expected: str | None
) -> list[str]:
    """The command without directories, and without what changes no number."""
    words = [f"{file.name}={file.file_name}" for file in files]
    chosen = [] if cuts is None else ["--selection", Path(cuts).name]
    tags = [] if expected is None else ["--expected-tags", expected]
    options = [*chosen, *(["--same"] if same else []), *tags, "--out", out.name]
    return ["transferline", "validate", "spectra", *words, *options]


def find(
    files: Sequence[FileSpectra],
    blind: Sequence[NamedFile] = (),
    recipe: Selection | None = None,
    *,
    same: bool = False,
    expected: str | None = None,
) -> Finding:
    """Show the spectra of all files, with verdicts if they should be the `same`.

    `blind` are those without simulation truth, if any are; `recipe` is the selection whose events
    are shown, if there is one; tags of the file `expected` are.
    """
    text = _TEXT if recipe is None else f"{_SELECTED.format(name=recipe.name)} {_RULES}"
    text += "" if expected is None else _EXPECTED.format(name=expected)
    tables = (_files_table(files), _means_table(files, blind))
    kind = "" if blind else "Simulation"  # without truth they may be collisions
    return Finding(
        "spectra",
        "Spectra",
        text + ("" if blind else _TRUTH) + (_SAME if same else ""),
        checks=tuple(checks(files)) if same else (),
        tables=(*tables, shape_table(files)) if same else tables,
        drawings=(Drawing("spectra", _CAPTION, lambda: spectra_figure(files, kind)),),
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
    if all(one.rate for one in files):
        rows = [
            ("Events selected", *(f"{one.selected:,}" for one in files)),
            ("Effective number of them", *(f"{one.effective:,.0f}" for one in files)),
            ("Share of all events tried", *(str(one.rate) for one in files)),
            *rows,
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
    if file.rate is not None:
        found |= {"selected": file.selected, "effective": file.effective, "rate": plain(file.rate)}
    for name, histogram in file.histograms.items():
        bins = {"content": histogram.content, "error": np.sqrt(histogram.variance)}
        every = {"edges": histogram.edges, **bins}
        found[name] = {key: values.tolist() for key, values in every.items()}
        found[name]["mean"] = plain(histogram.mean())
    if TRUE_B_JETS in file.histograms:
        found |= {f"share_{n}_true_b_jets": plain(_share(file, n)) for n in _SHARES}
    return found
