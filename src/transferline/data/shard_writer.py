"""Writing one shard file: events come chunk by chunk and end as a single record batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transferline.data.events import Events, identity_hash
from transferline.data.jagged import flat_columns
from transferline.data.layouts.shards import shard_schema
from transferline.data.selections.merge import OBJECT_COLUMNS
from transferline.data.spool import Spool
from transferline.errors import DataError
from transferline.files import atomic_path

_EVENT_COLUMNS = {
    "weight": np.float64,
    "run": np.uint32,
    "lumi": np.uint32,
    "event": np.uint64,
    "hash": np.uint64,
}


class ShardWriter:
    """Selected events of one input file, on their way into one shard file.

    One record batch per file means few places to look in when rows are gathered, but all its
    columns must be there at once: the spool keeps them out of memory.
    """

    def __init__(self, spool: Spool, labels: Mapping[str, float], path: str) -> None:
        """Start empty; `path` is the input file that an error names."""
        self._spool, self._labels, self._path = spool, labels, path
        self._particles = 0
        spool.add("offsets", np.zeros(1, np.int32))

    def add(self, events: Events) -> None:
        """Append a chunk of selected events.

        Raises:
            DataError: a column of an object is not finite.
        """
        offsets, objects = flat_columns(events.particles["object"])
        values = np.stack([objects[name] for name in OBJECT_COLUMNS], axis=1)
        _check_finite(values, self._path)
        self._spool.add("particles", values)
        self._spool.add("offsets", (offsets[1:] + self._particles).astype(np.int32))
        self._particles += len(values)
        self._spool.add("weight", events.weight)
        for name in ("run", "lumi", "event"):
            self._spool.add(name, events.id[name])
        self._spool.add("hash", identity_hash(events.id))

    @property
    def weight(self) -> NDArray[np.float64]:
        """Signed weights of all events so far, `[n]`."""
        return self._spool.column("weight", np.float64)

    def write(self, target: Path) -> None:
        """Write the shard file atomically."""
        schema = shard_schema(OBJECT_COLUMNS, labels=list(self._labels))
        batch = pa.RecordBatch.from_arrays(self._columns(), schema=schema)
        with (
            atomic_path(target) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            if batch.num_rows:
                writer.write_batch(batch)

    def _columns(self) -> list[pa.Array]:
        flat = pa.array(self._spool.column("particles", np.float32))
        inner = pa.FixedSizeListArray.from_arrays(flat, len(OBJECT_COLUMNS))
        offsets = self._spool.column("offsets", np.int32)
        n = len(offsets) - 1
        labels = [np.full(n, value, np.float32) for value in self._labels.values()]
        rest: list[NDArray[Any]] = [self._spool.column(*item) for item in _EVENT_COLUMNS.items()]
        return [
            pa.ListArray.from_arrays(pa.array(offsets), inner),
            *(pa.array(values) for values in (*labels, *rest)),
        ]


def _check_finite(values: NDArray[np.float32], path: str) -> None:
    if not np.isfinite(values).all():
        column = OBJECT_COLUMNS[int(np.flatnonzero(~np.isfinite(values).all(axis=0))[0])]
        raise DataError(f"{path}: a selected object has a '{column}' that is not finite.")
