"""What a loader takes at most, computed before it reads anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.data.readers.shards import ShardSet
from transferline.data.shuffling import Blocks

BATCHES = 3
"""One is trained on while the next is made, and their sizes differ: the gaps that they leave in
memory do not all fit the next one."""
_ROW, _COUNT = 8, 4  # bytes of a row number and of a number of particles
_FILE = 8192  # bytes of what knows the columns of an open file
_POOL = 4 * _ROW  # per event of a pool: its rows before and after sorting, lengths, ranks


@dataclass(frozen=True)
class LoaderMemory:
    """Bytes of memory, and what they are for.

    Attributes:
        events: of one epoch.
        held: row numbers, their order, targets, and the number of particles of every event.
        batch: one batch, were all its events as long as the longest.
        batch_size, width: places of such a batch.
        mapped: the shards. The system keeps their pages while nothing else needs the memory,
            and takes them back by itself.
        mixed: events that are mixed among themselves.
        block: neighbours that are read together; 1 if each is read for itself.
    """

    events: int
    held: int
    batch: int
    batch_size: int
    width: int
    mapped: int
    mixed: int
    block: int

    @classmethod
    def of(
        cls,
        shards: ShardSet,
        rows: NDArray[np.int64],
        blocks: Blocks | None,
        *,
        batch_size: int,
        pool: int,
        tables: tuple[NDArray[Any] | None, ...] = (),
    ) -> LoaderMemory:
        """Compute it.

        Args:
            shards: the events.
            rows: those of an epoch.
            blocks: if they are shuffled by block.
            batch_size: of the loader.
            pool: of the loader.
            tables: targets and weights that stay in memory.
        """
        n, size = len(rows), min(batch_size, len(rows))
        mixed = n if blocks is None else min(blocks.rows_per_group, n)
        width = shards.width_of(rows)
        # Twice: beside the rows their order, beside the lengths of all events those of each file.
        held = _ROW * (n + 2 * mixed) + _POOL * min(pool * batch_size, n)
        held += 2 * _COUNT * len(shards) + _FILE * len(shards.source_of_file)
        return cls(
            events=n,
            held=held + sum(table.nbytes for table in tables if table is not None),
            batch=size * shards.bytes_of_event(width),
            batch_size=size,
            width=width,
            mapped=shards.nbytes,
            mixed=mixed,
            block=1 if blocks is None else blocks.rows_per_block,
        )

    @property
    def total(self) -> int:
        """Bytes of memory at most; mapped files are not among them."""
        return self.held + BATCHES * self.batch

    def __str__(self) -> str:
        how = "All events are mixed"
        if self.mixed < self.events:
            how = f"Read in blocks of {self.block:,} events, {self.mixed:,} are mixed at a time"
        return (
            f"loader: at most {_mb(self.total)} of memory for {self.events:,} events in batches of "
            f"{self.batch_size:,} x {self.width} places ({_mb(self.batch)} each). The "
            f"{_mb(self.mapped)} of shards are mapped: pages that the system takes back when it "
            f"needs them. {how}."
        )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e6:.1g} MB"
