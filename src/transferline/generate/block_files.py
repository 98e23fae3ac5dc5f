"""Files of blocks: one part of a sample, stored whole or not at all, with its sums."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferline.errors import DataError
from transferline.files import atomic_path
from transferline.generate.tables import Collection, EventTable


@dataclass(frozen=True)
class BlockCount:
    """What a block contributes to the sums: over all events tried, before the filter.

    `overweight` events have a weight above 1 because their filter thinned them too much. `found`
    of jets counts also those that were made beyond what was asked for.
    """

    asked: int
    events: int
    tried: int
    passed: int
    sum_weight: float
    sum_weight2: float
    cross_section: float
    cross_section_error: float
    overweight: int = 0
    found: int = 0


def add_counts(counts: Sequence[BlockCount]) -> BlockCount:
    """Sum over blocks; cross sections are averaged, weighted by events tried."""
    tried = sum(c.tried for c in counts)
    share = [c.tried / tried for c in counts]
    variance = sum((w * c.cross_section_error) ** 2 for w, c in zip(share, counts, strict=True))
    return BlockCount(
        asked=sum(c.asked for c in counts),
        events=sum(c.events for c in counts),
        tried=tried,
        passed=sum(c.passed for c in counts),
        sum_weight=sum(c.sum_weight for c in counts),
        sum_weight2=sum(c.sum_weight2 for c in counts),
        cross_section=sum(w * c.cross_section for w, c in zip(share, counts, strict=True)),
        cross_section_error=variance**0.5,
        overweight=sum(c.overweight for c in counts),
        found=sum(c.found for c in counts),
    )


def save_block(path: Path, table: EventTable, count: BlockCount, configuration_hash: str) -> None:
    """Store a block as a NumPy archive."""
    note = json.dumps({"configuration": configuration_hash, "count": asdict(count)})
    arrays: dict[str, Any] = {f"scalar/{k}": v for k, v in table.scalars.items()}
    arrays["note"] = np.frombuffer(note.encode(), np.uint8)
    for name, objects in table.collections.items():
        arrays[f"counts/{name}"] = objects.counts
        arrays |= {f"column/{name}/{k}": v for k, v in objects.columns.items()}
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def _note(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as handle, np.load(handle) as archive:
            result: dict[str, Any] = json.loads(archive["note"].tobytes())
            return result
    # NumPy has an EOFError for an empty file.
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a block of generated events: remove it.") from error


def read_count(path: Path) -> tuple[BlockCount, str]:
    """Return the sums of a stored block and the hash of its configuration."""
    note = _note(path)
    return BlockCount(**note["count"]), note["configuration"]


def load_block(path: Path) -> EventTable:
    """Return the events of a stored block."""
    with path.open("rb") as handle, np.load(handle) as archive:
        keys = archive.files
        scalars = {k.removeprefix("scalar/"): archive[k] for k in keys if k.startswith("scalar/")}
        collections = {}
        for key in (k for k in keys if k.startswith("counts/")):
            name = key.removeprefix("counts/")
            prefix = f"column/{name}/"
            columns = {k.removeprefix(prefix): archive[k] for k in keys if k.startswith(prefix)}
            collections[name] = Collection(archive[key], columns)
        return EventTable(scalars, collections)
