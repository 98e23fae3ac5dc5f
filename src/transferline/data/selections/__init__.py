"""Selections: from a file's collections to one list of objects per event, with cuts."""

from __future__ import annotations

from transferline.data.selections.apply import Selected
from transferline.data.selections.jet_events import JetEventSelection
from transferline.data.selections.jets import JetSelection
from transferline.data.selections.kinds import (
    AnySelection,
    apply,
    load_selection,
    needed_columns,
    shard_columns,
)
from transferline.data.selections.recipe import Selection, selection, shipped

__all__ = [
    "AnySelection",
    "JetEventSelection",
    "JetSelection",
    "Selected",
    "Selection",
    "apply",
    "load_selection",
    "needed_columns",
    "selection",
    "shard_columns",
    "shipped",
]
