"""Growing a sample: the blocks of a smaller one of the same configuration are not made again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from transferline.generate.block_files import BlockCount, save_block
from transferline.generate.blocks import Configuration
from transferline.generate.generators import PYTHIA
from transferline.generate.nanoaod import COLLECTIONS, SCALARS, read_provenance
from transferline.generate.plan import Plan
from transferline.generate.shares import shares
from transferline.generate.tables import Collection, EventTable

_BLOCKS_AT_ONCE = 10  # about what one basket of the file holds


def smaller_sample(plan: Plan[Configuration], files: Iterable[Path]) -> Path | None:
    """Return the largest of `files` that the sample of `plan` begins with, None if there is none.

    It is one if its configuration is that of `plan`, it has fewer events, and all of its blocks
    are whole.
    """
    sizes = {file: _whole_events(plan, file) for file in files}
    largest = max(sizes, key=lambda file: sizes[file], default=None)
    return largest if largest is not None and sizes[largest] else None


def _whole_events(plan: Plan[Configuration], file: Path) -> int:
    try:
        found = read_provenance(file)
        n, same = int(found["n"]), found["configuration"] == plan.configuration.hash
    except (OSError, ValueError, KeyError, uproot.DeserializationError):
        return 0  # no sample: nothing to begin with
    return n if same and n < plan.n and n % plan.configuration.block_size == 0 else 0


def take_blocks(plan: Plan[Configuration], file: Path) -> None:
    """Store the events of a smaller sample as the first blocks of `plan`.

    The file knows the sums over all events tried for all of its blocks together: each block gets
    an equal share, so that the sums over these blocks are again those of the file. For that all
    of them are stored, also where there were some already.

    Raises:
        DataError: parts of another sample are in the way.
    """
    plan.missing()  # of these it would complain after the first was written
    found = read_provenance(file)
    blocks = found["n"] // plan.configuration.block_size
    plan.parts.mkdir(parents=True, exist_ok=True)
    counts = _shared_counts(found, blocks, plan.configuration.block_size)
    for block, table in _tables(file, blocks):
        count = BlockCount(events=table.n, **counts[block])
        save_block(plan.path(block), table, count, plan.configuration.hash)


def _shared_counts(found: dict[str, Any], blocks: int, block_size: int) -> list[dict[str, Any]]:
    """Everything of a BlockCount but the events."""
    section = found[f"cross_section_{found.get('generator', PYTHIA)}"]
    whole = {name: found["filter"].get(name, 0) for name in ("tried", "passed", "overweight")}
    split = {name: shares(total, blocks, 0) for name, total in whole.items()}
    weight = np.square(np.divide(split["tried"], whole["tried"])).sum() ** 0.5
    common = {
        "asked": block_size,
        "sum_weight": found["sum_weight"] / blocks,
        "sum_weight2": found["sum_weight2"] / blocks,
        "cross_section": section["pb"],
        "cross_section_error": section["error"] / weight,  # of one: `add_counts` takes the mean
    }
    return [{**common, **{name: split[name][block] for name in split}} for block in range(blocks)]


def _tables(file: Path, blocks: int) -> Iterator[tuple[int, EventTable]]:
    """Yield the events of every block; `to_nanoaod` wrote its number, counted from one."""
    with uproot.open(file) as opened:
        events = opened["Events"]
        number = events["luminosityBlock"].array(library="np").astype(np.int64) - 1
        bounds = np.searchsorted(number, np.arange(blocks + 1))
        for first in range(0, blocks, _BLOCKS_AT_ONCE):
            some = range(first, min(first + _BLOCKS_AT_ONCE, blocks))
            start, stop = bounds[some.start], bounds[some.stop]
            table = _table(events, start, stop)
            for block in some:
                rows = np.arange(bounds[block] - start, bounds[block + 1] - start)
                yield block, table.take(rows)


def _table(events: Any, start: int, stop: int) -> EventTable:
    def read(branch: str) -> Any:
        return events[branch].array(entry_start=start, entry_stop=stop)

    def collection(name: str) -> Collection:
        columns = {column: read(f"{name}_{column}") for column in COLLECTIONS[name]}
        return Collection(
            read(f"n{name}").to_numpy().astype(np.int64),
            {column: ak.flatten(values).to_numpy() for column, values in columns.items()},
        )

    return EventTable(
        {name: read(name).to_numpy() for name in SCALARS},
        {name: collection(name) for name in COLLECTIONS},
    )
