"""The files to score: opened once before anything is written, with all problems at once."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transferline.data.card import load_card
from transferline.data.origins import Origin, RowOrigins, row_origins, source_origins
from transferline.data.readers.addresses import public_name
from transferline.data.readers.base import (
    Columns,
    Reader,
    Source,
    UncertifiedDataWarning,
    warn_missing,
    warn_skipped,
    warn_unmatched,
)
from transferline.data.selections import AnySelection, Selection, needed_columns
from transferline.data.survey import Survey, look, nothing_usable
from transferline.deploy.model_selection import SHARDS, check_prepared
from transferline.errors import ConfigError
from transferline.progress import progress


@dataclass(frozen=True)
class Input:
    """One file.

    Attributes:
        address: what to open.
        source: what it is.
        origins: where its rows come from.
    """

    address: str
    source: Source
    origins: RowOrigins

    def by_origin(self, rows: NDArray[np.int64]) -> Iterator[tuple[Origin, NDArray[np.int64]]]:
        """Yield (origin, places in `rows`); rows of one origin may be more than its entries."""
        if len(self.origins.origins) > 1:
            yield from self.origins.groups(rows)
        elif len(rows):
            yield self.origins.origins[0], np.arange(len(rows))


@dataclass(frozen=True)
class Inputs:
    """All files of one prediction.

    Attributes:
        reader: of the files.
        selection: to apply; None where the input is selected already.
        entries_are_rows: every entry is one set; else entries may hold several jets, or none.
        columns: to read; None for all.
        files: in order.
        skipped: name -> reason of those that are left out, damaged or named by a skip list.
    """

    reader: Reader
    selection: AnySelection | None
    entries_are_rows: bool
    columns: Columns | None
    files: list[Input]
    skipped: dict[str, str]


def survey_inputs(reader: Reader, selection: AnySelection) -> Inputs:
    """Open every file once.

    Prepared shards are selected already, by the same selection or not at all.

    Raises:
        DataError: a file is damaged or lacks a branch (without `reader.skip_bad`), or none is left.
        ConfigError: shards passed another selection, or the golden JSON is missing.
    """
    selected = reader.kind == SHARDS
    columns = None if selected else needed_columns(selection)
    survey, skipped = _survey(reader, columns or {})
    sources = survey.sources
    warn_missing(Counter(name for source in sources for name in source.missing), len(sources))
    files = [
        Input(survey.addresses[s.path], s, _origins(survey.addresses[s.path], s, selection))
        if selected
        else Input(survey.addresses[s.path], s, source_origins(s))
        for s in sources
    ]
    if not selected:
        _check_certified(selection, sources)
    entries_are_rows = selected or isinstance(selection, Selection)
    chosen = None if selected else selection
    return Inputs(reader, chosen, entries_are_rows, columns, files, skipped)


def _survey(reader: Reader, columns: Columns) -> tuple[Survey, dict[str, str]]:
    """Look at every file; also return the reason of each that is left out."""
    listing = reader.listing()
    warn_unmatched(listing.unmatched)
    names = {path: public_name(path) for path in listing.left_out}
    named = {names[path]: f"{names[path]}: {why}" for path, why in listing.left_out.items()}
    if not listing.paths:
        raise nothing_usable(list(named.values()))
    with progress(len(listing.paths), "files") as ticker:
        looks = []
        for path in listing.paths:
            looks.append(look(path, reader, columns))
            ticker.advance()
    survey = Survey.of(listing.paths, looks)
    survey.check(skip_bad=reader.skip_bad)
    broken = {failure.path: failure.reason for failure in survey.failures}
    warn_skipped(broken)
    return survey, broken | named


def _origins(path: str, source: Source, selection: AnySelection) -> RowOrigins:
    """Those of a directory of shards, which must hold what the model is made for."""
    card = load_card(path)
    check_prepared(card, selection, source.path)
    return row_origins(Path(path), card)


def _check_certified(selection: AnySelection, sources: list[Source]) -> None:
    collisions = [source.path for source in sources if not source.is_simulation]
    if not collisions:
        return
    golden = selection.golden_json
    if golden is None:
        warnings.warn(
            f"{collisions[0]}: collision data without a golden JSON: blocks that CMS did not "
            "certify are scored. Give --golden-json FILE.",
            UncertifiedDataWarning,
            stacklevel=4,
        )
    elif not Path(golden).is_file():
        raise ConfigError(
            f"{golden}: the golden JSON of the model's selection is not here. Give --golden-json "
            "FILE."
        )
