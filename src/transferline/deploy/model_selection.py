"""Which selection is applied before a model: its own, as the checkpoint keeps it, or another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from transferline.data.card import DataCard
from transferline.data.readers.base import Reader
from transferline.data.selections import AnySelection, JetEventSelection, JetSelection, Selection
from transferline.data.selections.kinds import KINDS
from transferline.errors import ConfigError

SHARDS = "shards"
"""The reader whose sets are selected already."""

_OF_JETS = ("particles", "context")  # columns, which a selection of jets may leave open


class OtherSelectionWarning(UserWarning):
    """Scores are made with another selection than the one the model was trained with."""


def own_selection(resolved: Mapping[str, Any] | None, place: str, remedy: str) -> AnySelection:
    """Return the selection that a model was trained with, from what its checkpoint stores.

    Args:
        resolved: as stored.
        place: what the user named, for messages.
        remedy: what to do without it, for messages.

    Raises:
        ConfigError: the checkpoint has none, or one of a version that is not known here.
    """
    if resolved is None:
        raise ConfigError(
            f"{place}: the model names no selection that all its samples passed. {remedy}"
        )
    kind: type[AnySelection] = KINDS.get(str(resolved.get("kind")), Selection)
    try:
        return kind.model_validate(resolved)
    except ValidationError as error:
        raise ConfigError(
            f"{place}: the selection of the model is not usable ({error.error_count()} problems). "
            f"{remedy}"
        ) from error


def resolve_selection(
    resolved: Mapping[str, Any] | None,
    given: AnySelection | None,
    golden_json: Path | None,
    place: str,
    reader: Reader,
) -> Selection | JetSelection:
    """Return the selection to apply: the model's own, unless another one is given.

    Columns that a given selection of jets leaves open are those of the model's own, or what the
    files have.

    Raises:
        ConfigError: the model has none and none is given, or it is not usable, or the reader
            gives no jets, or `golden_json` is missing.
        DataError: the files hold no single jets, which the selection is one of.
    """
    own = _own_selection(resolved, place, needed=given is None)
    chosen = given or own
    assert chosen is not None  # own_selection raises
    if isinstance(chosen, JetEventSelection):
        raise ConfigError(
            f"the selection '{chosen.name}' is one of events of jets (`kind: jet_events`), and "
            "scores are given to single events or single jets. Give one of those: --selection "
            "NAME|FILE."
        )
    if golden_json is not None:
        # Simulation alone would never open it, and the card would name it all the same.
        if not golden_json.is_file():
            raise ConfigError(f"--golden-json {golden_json}: there is no such file.")
        chosen = chosen.model_copy(update={"golden_json": str(golden_json)})
    if isinstance(chosen, JetSelection):
        chosen = _with_columns(chosen, own, reader)
    if given is not None and own is not None and _cuts(chosen) != _cuts(own):
        warnings.warn(
            f"the selection '{given.name}' is not '{own.name}', with which the model was trained.",
            OtherSelectionWarning,
            stacklevel=3,
        )
    return chosen


def _own_selection(
    resolved: Mapping[str, Any] | None, place: str, needed: bool
) -> AnySelection | None:
    try:
        return own_selection(resolved, place, "Give one: --selection NAME|FILE.")
    except ConfigError:
        if needed:
            raise
        return None


def _with_columns(chosen: JetSelection, own: AnySelection | None, reader: Reader) -> JetSelection:
    if isinstance(own, JetSelection):
        missing = {k: getattr(own, k) for k in _OF_JETS if getattr(chosen, k) is None}
        chosen = chosen.model_copy(update=missing)
    if reader.kind == "nanoaod":
        raise ConfigError(
            f"the model scores jets, which NanoAOD does not hold (selection '{chosen.name}'). Name "
            "the format of the files: --reader jetclass, jetclass2, hbb, pfnano, delphes or shards."
        )
    if reader.kind == SHARDS or not reader.paths():
        return chosen
    return chosen.resolved(reader.columns())


def _cuts(selection: AnySelection) -> dict[str, Any]:
    return {**selection.to_dict(), "name": "", "comment": "", "golden_json": None}


def check_prepared(card: DataCard, selection: AnySelection, path: str) -> None:
    """Check that shards hold what the selection would have let pass, and its columns.

    Raises:
        ConfigError: they passed another one, or lack columns.
    """
    left_open = _OF_JETS if isinstance(selection, JetSelection) else ()
    same = dict.fromkeys(("golden_json", *left_open))
    if {**card.selection, **same} != {**selection.to_dict(), **same}:
        raise ConfigError(
            f"{path}: holds events of the selection '{card.selection.get('name')}', the "
            f"model scores those of '{selection.name}'. Prepare them with that one."
        )
    if isinstance(selection, JetSelection):
        lacking = [name for name in selection.columns if name not in card.columns]
        if lacking:
            raise ConfigError(
                f"{path}: lacks the columns {', '.join(lacking)} of the jets that the model was "
                "trained on. Prepare them with these (`particles` of the selection)."
            )
