"""Writing one shard file: events come chunk by chunk and end as a single record batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transferline.data.events import Events, identity_hash
from transferline.data.jagged import flat_columns, flat_sets
from transferline.data.layouts.shards import shard_schema
from transferline.data.selections.merge import OBJECT_COLUMNS
from transferline.data.spool import Spool
from transferline.errors import ConfigError, DataError
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

    def __init__(
        self,
        spool: Spool,
        labels: Mapping[str, float],
        path: str,
        columns: Sequence[str] = OBJECT_COLUMNS,
        context: Sequence[str] = (),
        *,
        constituents: Sequence[str] = (),
    ) -> None:
        """Start empty.

        Args:
            spool: where the events wait.
            labels: event columns with one value for the whole sample; those of single events
                come with them.
            path: the input file that an error names.
            columns: of the particles.
            context: columns of the events.
            constituents: columns of the constituents, of events of jets.
        """
        self._spool, self._labels, self._path = spool, labels, path
        self._columns, self._context = tuple(columns), tuple(context)
        self._own_labels: tuple[str, ...] = ()
        self._constituents = tuple(constituents)
        self._particles = self._inner = 0
        spool.add("set_offsets", np.zeros(1, np.int32))
        spool.add("offsets", np.zeros(1, np.int32))

    def add(self, events: Events) -> None:
        """Append a chunk of selected events.

        Raises:
            DataError: a column of an object is not finite.
            ConfigError: a label of the sample has the name of one that the file holds.
        """
        offsets, objects = flat_columns(events.particles["object"])
        values = np.stack([objects[name] for name in self._columns], axis=1)
        self._check_finite(values, self._columns)
        if self._constituents:
            self._add_constituents(events)
        self._add_scalars(events)
        self._spool.add("particles", values)
        self._spool.add("offsets", (offsets[1:] + self._particles).astype(np.int32))
        self._particles += len(values)
        self._spool.add("weight", events.weight)
        for name in ("run", "lumi", "event"):
            self._spool.add(name, events.id[name])
        self._spool.add("hash", identity_hash(events.id))

    def _add_constituents(self, events: Events) -> None:
        _, offsets, parts = flat_sets(events.particles["constituent"])
        values = np.stack([parts[name] for name in self._constituents], axis=1)
        self._check_finite(values, self._constituents)
        self._spool.add("constituents", values)
        self._spool.add("set_offsets", (offsets[1:] + self._inner).astype(np.int32))
        self._inner += len(values)

    def _add_scalars(self, events: Events) -> None:
        self._own_labels = tuple(events.labels)
        for name in self._own_labels:
            if name in self._labels:
                raise ConfigError(f"--label {name}: {self._path} has a label of that name.")
            self._spool.add(f"label.{name}", events.labels[name].astype(np.float32))
        for name in self._context:
            self._spool.add(f"context.{name}", events.context[name].astype(np.float32))

    def _check_finite(self, values: NDArray[np.float32], names: Sequence[str]) -> None:
        if not np.isfinite(values).all():
            column = names[int(np.flatnonzero(~np.isfinite(values).all(axis=0))[0])]
            raise DataError(f"{self._path}: a selected object has a '{column}' that is not finite.")

    @property
    def weight(self) -> NDArray[np.float64]:
        """Signed weights of all events so far, `[n]`."""
        return self._spool.column("weight", np.float64)

    def write(self, target: Path) -> None:
        """Write the shard file atomically."""
        labels = [*self._labels, *self._own_labels]
        schema = shard_schema(self._columns, self._context, labels, self._constituents)
        batch = pa.RecordBatch.from_arrays(self._arrays(), schema=schema)
        with (
            atomic_path(target) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            if batch.num_rows:
                writer.write_batch(batch)

    def _arrays(self) -> list[pa.Array]:
        offsets = self._spool.column("offsets", np.int32)
        n = len(offsets) - 1
        labels = [np.full(n, value, np.float32) for value in self._labels.values()]
        own = [f"label.{name}" for name in self._own_labels]
        context = [f"context.{name}" for name in self._context]
        rest: list[NDArray[Any]] = [self._spool.column(*item) for item in _EVENT_COLUMNS.items()]
        return [
            pa.ListArray.from_arrays(pa.array(offsets), self._rows("particles", self._columns)),
            *self._nested(offsets),
            *(pa.array(self._spool.column(name, np.float32)) for name in context),
            *(pa.array(values) for values in labels),
            *(pa.array(self._spool.column(name, np.float32)) for name in own),
            *(pa.array(values) for values in rest),
        ]

    def _rows(self, name: str, columns: Sequence[str]) -> pa.Array:
        flat = pa.array(self._spool.column(name, np.float32))
        return pa.FixedSizeListArray.from_arrays(flat, len(columns))

    def _nested(self, offsets: NDArray[np.int32]) -> list[pa.Array]:
        if not self._constituents:
            return []
        inner = pa.array(self._spool.column("set_offsets", np.int32))
        jets = pa.ListArray.from_arrays(inner, self._rows("constituents", self._constituents))
        return [pa.ListArray.from_arrays(pa.array(offsets), jets)]
