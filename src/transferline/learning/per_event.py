"""Numbers that need computing only once per event: frozen embeddings, engineered features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferline.data.readers.shards import ShardSet
from transferline.files import atomic_path

_CHUNK = 2048
Rows = NDArray[np.int64]


class EventTable:
    """A table with one row of numbers per event, filled when first asked for.

    Args:
        shards: the events.
        compute: `[n]` events -> `[n, f]`; must treat every event on its own.
        file: where whole tables are kept, or None to keep what was asked for in memory.
        wanted: rows that go into the file; asking for others computes them anew.
    """

    def __init__(
        self,
        shards: ShardSet,
        compute: Callable[[ShardSet, Rows], Tensor],
        file: Path | None = None,
        wanted: Rows | None = None,
    ) -> None:
        self._shards, self._compute, self._file = shards, compute, file
        self._wanted = wanted
        self._known: Rows = np.zeros(0, dtype=np.int64)
        self._values: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)

    def __call__(self, rows: Rows) -> Tensor:
        """Return the numbers of these rows, `[len(rows), f]`, float32."""
        if self._file is not None and not len(self._known):
            self._known, self._values = self._from_file(self._file)
        missing = np.unique(rows[~self._has(rows)])
        if len(missing):
            self._insert(missing, self._fresh(missing))
        place = np.searchsorted(self._known, rows)
        return torch.from_numpy(np.ascontiguousarray(self._values[place]))

    def _has(self, rows: Rows) -> NDArray[np.bool_]:
        if not len(self._known):
            return np.zeros(len(rows), dtype=bool)
        place = np.searchsorted(self._known, rows).clip(max=len(self._known) - 1)
        found: NDArray[np.bool_] = self._known[place] == rows
        return found

    def _from_file(self, file: Path) -> tuple[Rows, NDArray[np.float32]]:
        """Read the table, after writing it if it is not there; `wanted` rows only."""
        wanted = np.unique(self._wanted) if self._wanted is not None else np.zeros(0, np.int64)
        if not file.exists():
            values = self._fresh(wanted)
            with atomic_path(file) as temporary, temporary.open("wb") as handle:
                np.save(handle, values, allow_pickle=False)
        return wanted, np.load(file, mmap_mode="r", allow_pickle=False)

    def _fresh(self, rows: Rows) -> NDArray[np.float32]:
        parts = [
            self._compute(self._shards, rows[start : start + _CHUNK]).float().numpy()
            for start in range(0, len(rows), _CHUNK)
        ]
        whole: NDArray[np.float32] = np.concatenate(parts) if parts else np.zeros((0, 0), "f4")
        return whole

    def _insert(self, rows: Rows, values: NDArray[np.float32]) -> None:
        known = np.concatenate((self._known, rows))
        kept = self._values if len(self._known) else values[:0]
        order = np.argsort(known, kind="stable")
        self._known, self._values = known[order], np.concatenate((kept, values))[order]
