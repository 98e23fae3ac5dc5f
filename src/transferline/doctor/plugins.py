"""The tables of plug-ins: every row is imported, those of other packages are named."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import TYPE_CHECKING

from transferline.doctor.look import Looks, TroubleError

if TYPE_CHECKING:
    from transferline.registry import Registry

TABLES = {
    "readers": "transferline.data.readers:READERS",
    "backbones": "transferline.models.backbones:BACKBONES",
    "objectives": "transferline.learning.objectives:OBJECTIVES",
    "tokenizers": "transferline.models.tokenizers:TOKENIZERS",
    "tasks": "transferline.learning.tasks:TASKS",
    "claims": "transferline.reporting.claims:CLAIMS",
}


def looks() -> Looks:
    """Return a look per table, and one per row that another package added."""
    own = {family: partial(_own, family) for family in TABLES}
    outside = {
        f"{family}: {entry.name}": partial(_outside, family, entry)
        for family in TABLES
        for entry in _entries(family)
    }
    return {**own, **outside}


def _entries(family: str) -> EntryPoints:
    return entry_points(group=f"transferline.{family}")


def _table(family: str) -> Registry[object]:
    module, _, name = TABLES[family].partition(":")
    found: Registry[object] = getattr(import_module(module), name)
    return found


def _own(family: str) -> str:
    rows = _table(family)
    added = {(entry.name, entry.value) for entry in _entries(family)}
    names = [name for name, row in rows.rows().items() if (name, row) not in added]
    for name in names:
        rows.load(name)
    return ", ".join(sorted(names))


def _outside(family: str, entry: EntryPoint) -> str:
    source = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
    rows = _table(family)
    if rows.rows()[entry.name] != entry.value:
        raise TroubleError(f"of {source}: is not used, another row has this name")
    try:
        rows.load(entry.name)
    except Exception as error:  # a foreign module may raise anything
        raise TroubleError(f"of {source}: cannot be imported: {error}") from error
    return f"{entry.value} of {source}"
