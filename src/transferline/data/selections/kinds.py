"""The kinds of selections, of events, jets and events of jets, behind the same functions."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from transferline.config import load_config
from transferline.data.events import Events
from transferline.data.selections.apply import Selected
from transferline.data.selections.apply import apply as apply_events
from transferline.data.selections.apply import needed_columns as event_columns
from transferline.data.selections.jet_events import (
    JetEventSelection,
    apply_jet_events,
    jet_event_columns,
)
from transferline.data.selections.jets import JetSelection, apply_jets, jet_columns
from transferline.data.selections.merge import OBJECT_COLUMNS
from transferline.data.selections.recipe import HERE, Selection, selection, shipped
from transferline.errors import ConfigError, did_you_mean
from transferline.strict_yaml import read_yaml

AnySelection = Selection | JetSelection | JetEventSelection

KINDS: dict[str, type[JetSelection | JetEventSelection]] = {
    "jets": JetSelection,
    "jet_events": JetEventSelection,
}
"""Kinds of selections that state theirs."""

SHIPPED: dict[str, type[JetSelection | JetEventSelection]] = {
    "jets": JetSelection,
    "jet_events": JetEventSelection,
    "replicas": JetEventSelection,
}
"""Those of the package, beside selections of events, by name."""


def load_selection(name_or_path: str | Path) -> AnySelection:
    """Load a shipped selection of either kind by name, or any by the path of its YAML file.

    Raises:
        ConfigError: no such selection, or the file has errors (each with line and column).

    >>> load_selection("jets").max_constituents
    128
    """
    text = str(name_or_path)
    if text in SHIPPED:
        return load_config(HERE / f"{text}.yaml", SHIPPED[text])
    if not text.endswith((".yaml", ".yml")):
        known = [*shipped(), *SHIPPED]
        if text not in known:
            hint = did_you_mean(text, known)
            raise ConfigError(f"'{text}' is not a shipped selection nor a .yaml file.{hint}")
        return selection(text)
    kind = _kind(Path(text))
    # An unknown kind is an error of the recipe, which names the line.
    return selection(text) if kind is None else load_config(text, KINDS.get(kind, JetSelection))


def _kind(path: Path) -> str | None:
    """Return the kind that a file states, or the file that it is laid on does."""
    value = read_yaml(path).value
    if not isinstance(value, dict):
        return None
    base = value.get("base")
    if "kind" not in value and isinstance(base, str):
        with suppress(ConfigError):  # a base that cannot be is an error of the recipe, too
            value = read_yaml(path.parent / base).value
    return str(value["kind"]) if isinstance(value, dict) and "kind" in value else None


def needed_columns(chosen: AnySelection) -> dict[str, list[str]]:
    """Return collection -> columns that `apply` reads, for `Reader.chunks`."""
    if isinstance(chosen, JetSelection):
        return jet_columns(chosen)
    if isinstance(chosen, JetEventSelection):
        return jet_event_columns(chosen)
    return event_columns(chosen)


def apply(chosen: AnySelection, events: Events, *, is_simulation: bool) -> Selected:
    """Return the events, or jets, that pass, each with the one collection `object`."""
    if isinstance(chosen, JetSelection):
        return apply_jets(chosen, events, is_simulation=is_simulation)
    if isinstance(chosen, JetEventSelection):
        return apply_jet_events(chosen, events, is_simulation=is_simulation)
    return apply_events(chosen, events, is_simulation=is_simulation)


class ShardColumns(NamedTuple):
    """Columns in shards: of the particles, of the events, and of the constituents of jets."""

    particles: tuple[str, ...]
    context: tuple[str, ...] = ()
    constituents: tuple[str, ...] = ()


def shard_columns(chosen: AnySelection) -> ShardColumns:
    """Return the columns in the shards of a selection."""
    if isinstance(chosen, JetSelection):
        return ShardColumns(chosen.columns, chosen.context or ())
    if isinstance(chosen, JetEventSelection):
        return ShardColumns(chosen.columns, constituents=chosen.constituents)
    return ShardColumns(OBJECT_COLUMNS)
