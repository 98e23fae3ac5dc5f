"""Loader: deterministic, resumable batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from transferline.data.batch import Batch
from transferline.data.loader_memory import LoaderMemory
from transferline.data.readers.shards import ShardSet
from transferline.data.shuffling import Blocks, Order, random, shuffled

POOL = 16
"""Batches that are sorted by length together, where there are enough."""

_POOLS = 8  # of an epoch at least: with one pool the same events would meet in every epoch

_BUCKETS = 1  # a stream of random numbers; 0 and 2 are those of the order


class Loader:
    """Batches of the chosen rows of a `ShardSet`.

    The order is a function of (seed, epoch) alone: nothing is carried from one epoch or batch
    to the next, so `batches(epoch, start)` continues an interrupted epoch exactly.

    Shuffling: all rows are permuted. Of data beyond 4 GiB, which may not fit in memory, blocks of
    neighbours are read instead (`transferline.data.shuffling`). Then every `pool` batches are
    sorted by the number of particles, cut, and the batches of the pool shuffled: 86 % of the
    places hold a real particle with `pool=16` where plain batches of jets have 35 %. An epoch has
    eight pools at least, smaller ones if need be: of few events one pool would hold all, and the
    same ones of one length, which often are of one class, would meet in every epoch.

    There are no workers, and under torchrun each process makes the same batches: the order depends
    on neither. `memory` tells what it will take before anything is read.
    """

    def __init__(
        self,
        shards: ShardSet,
        rows: NDArray[np.int64] | None,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        pool: int = POOL,
        target: NDArray[Any] | None = None,
        weight: NDArray[np.floating[Any]] | None = None,
        drop_last: bool = False,
    ) -> None:
        """Choose rows and order.

        Args:
            shards: the events.
            rows: row numbers, all if None.
            batch_size: events per batch.
            seed: of the shuffling.
            shuffle: False keeps the order of `rows` exactly, for predictions.
            pool: batches that are sorted by length together, fewer of few events; 1 = no sorting
                across batches.
            target: `[len(shards)]` class index (int) or value, by row number.
            weight: `[len(shards)]` training weights that replace those of the shards.
            drop_last: leave out a last batch that would be short; which events that hits
                changes from epoch to epoch.
        """
        for name, values in (("target", target), ("weight", weight)):
            if values is not None and len(values) != len(shards):
                raise ValueError(f"{name} has {len(values)} entries for {len(shards)} events")
        if batch_size < 1 or pool < 1:
            raise ValueError("batch_size and pool must be at least 1")
        if rows is not None and len(rows) and not 0 <= np.min(rows) <= np.max(rows) < len(shards):
            raise ValueError(f"rows must lie in 0 .. {len(shards) - 1}")
        self.shards = shards
        self.rows = np.arange(len(shards)) if rows is None else np.asarray(rows, np.int64)
        self.batch_size = batch_size
        self.pool = max(1, min(pool, len(self.rows) // (_POOLS * batch_size)))
        self.seed, self.shuffle, self.drop_last = seed, shuffle, drop_last
        self._blocks: Blocks | None = None
        if shuffle:
            self._blocks = Blocks.needed(shards, self.rows, self.pool * batch_size)
        if self._blocks is not None:
            self.rows = self._blocks.rows  # sorted, and once in memory
        self._target = None if target is None else np.asarray(target)
        self._weight = None if weight is None else np.asarray(weight, np.float32)

    def __len__(self) -> int:
        """Return the number of batches of one epoch."""
        n = len(self.rows)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, from number `start` on; skipped ones are not read."""
        order = self._order(epoch)
        per_pool = self.pool if self.shuffle else 1
        for first in range(start - start % per_pool, len(self), per_pool):
            cuts = self._cuts(order, epoch, first)
            for rows in cuts[max(start - first, 0) :]:
                yield self._batch(rows)

    @property
    def memory(self) -> LoaderMemory:
        """What the batches will take at most, known before any is read."""
        return LoaderMemory.of(
            self.shards,
            self.rows,
            self._blocks,
            batch_size=self.batch_size,
            pool=self.pool,
            tables=(self._target, self._weight),
        )

    def _order(self, epoch: int) -> Order:
        n = len(self) * self.batch_size if self.drop_last else len(self.rows)
        if not self.shuffle:
            return self.rows[:n]
        return shuffled(self._blocks, self.rows, self.seed, epoch, n)

    def _cuts(self, order: Order, epoch: int, first: int) -> list[NDArray[np.int64]]:
        """Return the row numbers of the batches of the pool that begins with batch `first`."""
        size = self.batch_size
        if not self.shuffle:
            return [order[first * size : (first + 1) * size]]
        rows = order[first * size : (first + self.pool) * size]
        rows = rows[np.argsort(self.shards.lengths[rows], kind="stable")]
        cuts = [rows[low : low + size] for low in range(0, len(rows), size)]
        ranks = random(self.seed, _BUCKETS, epoch, first).permutation(len(cuts))
        return [cuts[i] for i in ranks]

    def _batch(self, rows: NDArray[np.int64]) -> Batch:
        batch = self.shards.gather(rows)
        changes: dict[str, Any] = {}
        if self._target is not None:
            changes["target"] = torch.from_numpy(self._target[rows])
        if self._weight is not None:
            changes["weight"] = torch.from_numpy(self._weight[rows])
        return batch.replace(**changes) if changes else batch
