"""Selections: from a file's collections to one list of objects per event, with cuts."""

from __future__ import annotations

from transferline.data.selections.apply import Selected, apply, needed_columns
from transferline.data.selections.recipe import Selection, selection, shipped

__all__ = ["Selected", "Selection", "apply", "needed_columns", "selection", "shipped"]
