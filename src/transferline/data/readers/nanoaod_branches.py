"""Which branches of a NanoAOD file hold which columns, and which version it is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from transferline.data.layouts import nanoaod as layout


@dataclass(frozen=True)
class Version:
    """A NanoAOD version with the reason for taking it for that."""

    number: int
    reason: str

    def __str__(self) -> str:
        # No branch sets the oldest known version apart from those before it.
        older = " or older" if self.number == layout.OLDEST_VERSION else ""
        return f"v{self.number}{older}"


def detect_version(branches: Collection[str]) -> Version:
    """Tell the NanoAOD version from the names of the branches of `Events`.

    >>> str(detect_version({"Jet_btagPNetB", "Jet_btagDeepFlavB"}))
    'v12'
    """
    names = set(branches)
    for number, markers, why in layout.VERSION_MARKERS:
        found = next((name for name in markers if name in names), None)
        if found:
            return Version(number, f"has {found}: {why}")
    return Version(layout.FALLBACK_VERSION, "no telling branch: taken as Run 2 UL")


def branch_names(collection: str, column: str) -> list[str]:
    """Return all branches that can hold a column, in order of preference."""
    entry = layout.COLLECTIONS[collection]
    return [f"{p}_{a}" for p in entry.prefixes for a in entry.columns.get(column, ())]


def find_branch(collection: str, column: str, branches: set[str]) -> str | None:
    """Return the branch that holds a column, None if the file has none of its aliases."""
    names = branch_names(collection, column)
    return next((name for name in names if name in branches), None)


def recomputes_jet_id(branches: set[str]) -> bool:
    """Tell whether `jet.jet_id` must be, and can be, computed from the energy fractions."""
    inputs = {f"Jet_{name}" for name in layout.JET_ID_INPUTS}
    return "Jet_jetId" not in branches and inputs <= branches


def offered_columns(branches: set[str]) -> dict[str, list[str]]:
    """Return collection -> columns for a file with these branches; empty collections left out."""
    offered: dict[str, list[str]] = {}
    for name, collection in layout.COLLECTIONS.items():
        columns = [c for c in collection.columns if _has(name, c, branches)]
        if columns:
            offered[name] = columns
    flags = (layout.TRIGGER_PREFIX, layout.FILTER_PREFIX)
    context = sorted(b for b in branches if b.startswith(flags) or b in layout.EVENT_SCALARS)
    return {**offered, "context": context}


def _has(collection: str, column: str, branches: set[str]) -> bool:
    if (collection, column) == ("jet", "jet_id") and recomputes_jet_id(branches):
        return True
    return find_branch(collection, column, branches) is not None
