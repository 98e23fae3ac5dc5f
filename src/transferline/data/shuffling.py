"""The order in which an epoch visits its events: all mixed or, beyond memory, block by block.

Reading single events from a disk is slow, so large data are read in blocks of neighbours. Every
file, and every directory of files, spreads its blocks evenly over the epoch: where each class has
a file of its own, each stretch of an epoch holds all classes in their proportion.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from transferline.data.readers.shards import ShardSet

FULL_SHUFFLE_BYTES = 4 << 30
BLOCK_BYTES = 1 << 20  # a disk reads it in the time of a few single events
GROUP_BYTES = 256 << 20

_PAGE = 4096
_ORDER, _GROUP = 0, 2  # streams of random numbers; 1 is that of the loader's buckets

Rows = NDArray[np.int64]


class Order(Protocol):
    """The events of one epoch, in order."""

    def __getitem__(self, places: slice) -> Rows:
        """Return the row numbers at these places."""


def random(seed: int, *key: int) -> np.random.Generator:
    """Return a generator that depends on its arguments alone."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *key])))


def shuffled(blocks: Blocks | None, rows: Rows, seed: int, epoch: int, n: int) -> Order:
    """Return the order of the first `n` events of an epoch.

    It is a function of (seed, epoch) and the rows alone.
    """
    rng = random(seed, _ORDER, epoch)
    if blocks is None:
        return rng.permutation(rows)[:n]
    return _BlockOrder(blocks, rng, (seed, epoch), n)


class Blocks:
    """Rows cut into blocks of neighbours in one file.

    Attributes:
        rows: `[n]` row numbers, rising.
        rows_per_block, rows_per_group: how many stand side by side, and how many are mixed.
    """

    def __init__(self, shards: ShardSet, rows: Rows, least: int) -> None:
        """Cut.

        Args:
            shards: the events.
            rows: row numbers.
            least: rows that a group should have at least.
        """
        self.rows = np.sort(rows)
        per_row = max(shards.nbytes / max(len(shards), 1), 1.0)
        self.rows_per_block = max(int(BLOCK_BYTES / per_row), 1)
        self.rows_per_group = max(int(GROUP_BYTES / per_row), least)
        bounds = np.searchsorted(self.rows, shards.file_starts)
        counts = np.diff(bounds)
        blocks = -(-counts // self.rows_per_block)
        file = np.repeat(np.arange(len(counts)), blocks)
        number = np.arange(len(file)) - np.repeat(np.cumsum(blocks) - blocks, blocks)
        # Of equal size within a file: a short last block would be no block at all.
        self._low = bounds[:-1][file] + number * counts[file] // blocks[file]
        self._high = bounds[:-1][file] + (number + 1) * counts[file] // blocks[file]
        self._levels = (file, shards.source_of_file[file])

    @classmethod
    def needed(cls, shards: ShardSet, rows: Rows, least: int) -> Blocks | None:
        """Return the blocks, or None if what the rows touch may lie in memory together."""
        per_row = shards.nbytes / max(len(shards), 1)
        touched = min(shards.nbytes, len(rows) * (per_row + _PAGE))
        return None if touched <= FULL_SHUFFLE_BYTES else cls(shards, rows, least)

    def __len__(self) -> int:
        return len(self._low)

    def shuffle(self, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """Return first row and number of rows of each block, in a random, even order."""
        order = rng.permutation(len(self))
        for part in self._levels:
            order = _spread(order, part[order], rng)
        low, high = self._low[order], self._high[order]
        return low, high - low


def _spread(order: Rows, part: Rows, rng: np.random.Generator) -> Rows:
    """Reorder so that each part has its share of every stretch, its members in their order.

    Member k of the K of a part gets the place (k + u) / K, with u uniform.
    """
    by_part = np.argsort(part, kind="stable")
    sizes = np.bincount(part)
    number = np.arange(len(part)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(len(part))
    place[by_part] = (number + rng.random(len(part))) / sizes[part[by_part]]
    return order[np.argsort(place, kind="stable")]


class _BlockOrder:
    """Groups of consecutive blocks, the rows of each mixed; one group is in memory at a time."""

    def __init__(
        self, blocks: Blocks, rng: np.random.Generator, key: tuple[int, int], n: int
    ) -> None:
        self._rows, self._key, self._n = blocks.rows, key, n
        self._low, self._count = blocks.shuffle(rng)
        ends = np.cumsum(self._count)
        group = (ends - 1) // blocks.rows_per_group
        borders = np.flatnonzero(np.diff(group, prepend=-1))
        self._blocks = np.append(borders, len(ends))
        self._starts = np.concatenate(([0], ends))[self._blocks]
        self._held: tuple[int, Rows] = (-1, np.zeros(0, np.int64))

    def __getitem__(self, places: slice) -> Rows:
        low, high, _ = places.indices(self._n)
        found = [np.zeros(0, np.int64)]
        first = int(np.searchsorted(self._starts, low, side="right")) - 1
        for group in range(first, len(self._starts) - 1):
            start = int(self._starts[group])
            if start >= high:
                break
            found.append(self._group(group)[max(low - start, 0) : high - start])
        return np.concatenate(found)

    def _group(self, number: int) -> Rows:
        if self._held[0] != number:
            mine = slice(self._blocks[number], self._blocks[number + 1])
            pairs = zip(self._low[mine], self._count[mine], strict=True)
            rows = np.concatenate([self._rows[low : low + count] for low, count in pairs])
            random(self._key[0], _GROUP, self._key[1], number).shuffle(rows)
            self._held = (number, rows)
        return self._held[1]
