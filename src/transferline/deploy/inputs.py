"""The files to score: opened once before anything is written, with all problems at once."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from transferline.data.selections import Selection, needed_columns
from transferline.data.survey import Survey, look, nothing_usable
from transferline.deploy.trained import own_selection
from transferline.errors import ConfigError
from transferline.progress import progress

_SHARDS = "shards"


class OtherSelectionWarning(UserWarning):
    """Scores are made with another selection than the one the model was trained with."""


@dataclass(frozen=True)
class Input:
    """One file.

    Attributes:
        address: what to open.
        source: what it is.
        origins: where its entries come from.
    """

    address: str
    source: Source
    origins: RowOrigins

    def by_origin(self, entries: NDArray[np.int64]) -> Iterator[tuple[Origin, NDArray[np.int64]]]:
        """Yield (origin, places in `entries`)."""
        return self.origins.groups(entries)


@dataclass(frozen=True)
class Inputs:
    """All files of one prediction.

    Attributes:
        reader: of the files.
        selection: to apply; None where the input is selected already.
        columns: to read; None for all.
        files: in order.
        skipped: name -> reason of those that are left out, damaged or named by a skip list.
    """

    reader: Reader
    selection: Selection | None
    columns: Columns | None
    files: list[Input]
    skipped: dict[str, str]


def survey_inputs(reader: Reader, selection: Selection) -> Inputs:
    """Open every file once.

    Prepared shards are selected already, by the same selection or not at all.

    Raises:
        DataError: a file is damaged or lacks a branch (without `reader.skip_bad`), or none is left.
        ConfigError: shards passed another selection, or the golden JSON is missing.
    """
    selected = reader.kind == _SHARDS
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
    return Inputs(reader, None if selected else selection, columns, files, skipped)


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


def _origins(path: str, source: Source, selection: Selection) -> RowOrigins:
    """Those of a directory of shards, which must hold what the model is made for."""
    card = load_card(path)
    wanted = {**selection.to_dict(), "golden_json": None}
    if {**card.selection, "golden_json": None} != wanted:
        raise ConfigError(
            f"{source.path}: holds events of the selection '{card.selection.get('name')}', the "
            f"model scores those of '{selection.name}'. Prepare them with that one."
        )
    return row_origins(Path(path), card)


def _check_certified(selection: Selection, sources: list[Source]) -> None:
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


def resolve_selection(
    resolved: dict[str, Any] | None,
    given: Selection | None,
    golden_json: Path | None,
    place: str,
) -> Selection:
    """Return the selection to apply: the model's own, unless another one is given.

    Raises:
        ConfigError: the model has none and none is given, or it is not usable.
    """
    own = _own_selection(resolved, place, needed=given is None)
    chosen = given or own
    assert chosen is not None  # own_selection raises
    if golden_json is not None:
        chosen = chosen.model_copy(update={"golden_json": str(golden_json)})
    if given is not None and own is not None and _cuts(given) != _cuts(own):
        warnings.warn(
            f"the selection '{given.name}' is not '{own.name}', with which the model was trained.",
            OtherSelectionWarning,
            stacklevel=3,
        )
    return chosen


def _cuts(selection: Selection) -> dict[str, Any]:
    return {**selection.to_dict(), "name": "", "comment": "", "golden_json": None}


def _own_selection(resolved: dict[str, Any] | None, place: str, needed: bool) -> Selection | None:
    try:
        return own_selection(resolved, place, "Give one: --selection NAME|FILE.")
    except ConfigError:
        if needed:
            raise
        return None
