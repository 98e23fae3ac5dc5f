"""JetClass-II: Parquet files with one jet per row (arXiv:2405.12972)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import awkward as ak
import pyarrow as pa
import pyarrow.parquet as pq

from transferline.data.events import Events
from transferline.data.layouts.jetclass import JETCLASS2
from transferline.data.readers.addresses import is_url, public_name
from transferline.data.readers.base import (
    CHUNK_SIZE,
    Columns,
    Reader,
    Source,
    file_status,
    unit_sums,
)
from transferline.data.readers.jet_columns import Plan, offered
from transferline.data.readers.jetclass import STEP, jet_events
from transferline.errors import ConfigError, DataError

_WHERE = "the Parquet table"


class JetClass2(Reader):
    """JetClass-II files: one jet per row, Parquet, on a local disk.

    Columns are those of `jetclass`; the one label is `jet_label`, a number of 188 classes. Memory
    is bounded by one row group.
    """

    kind: Literal["jetclass2"] = "jetclass2"
    step: ClassVar[int] = STEP

    def offers(self, path: str) -> dict[str, list[str]]:
        """Return collection -> columns that this file has."""
        with _open(path) as file:
            names = file.schema_arrow.names
            Plan.make(path, JETCLASS2, names, {}, _WHERE)
            return offered(JETCLASS2, names)

    def source(self, path: str, columns: Columns | None = None) -> Source:
        """Describe one file; checks that `columns` can be read."""
        with _open(path) as file:
            size, changed = file_status(path)
            Plan.make(path, JETCLASS2, file.schema_arrow.names, columns or {}, _WHERE)
            entries = int(file.metadata.num_rows)
            return Source(
                path=path,
                entries=entries,
                format=JETCLASS2.format,
                is_simulation=True,
                size=size,
                mtime_ns=changed,
                **unit_sums(entries),
            )

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        columns: Columns | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> Iterator[Events]:
        """Yield rows of one file; only the row groups and columns that are asked for are read."""
        with _open(path) as file:
            names = file.schema_arrow.names
            wanted = offered(JETCLASS2, names) if columns is None else columns
            plan = Plan.make(path, JETCLASS2, names, wanted, _WHERE)
            for batch in _batches(file, start, stop, plan.branches(), min(chunk_size, STEP)):
                arrays = {name: ak.from_arrow(batch.column(name)) for name in batch.schema.names}
                yield jet_events(path, plan, arrays, JETCLASS2)


def _batches(
    file: Any, start: int, stop: int, names: list[str], size: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows `start` to `stop`, at most `size` at a time, a row group after the other."""
    low = 0
    for group in range(file.num_row_groups):
        high = low + file.metadata.row_group(group).num_rows
        if low < stop and high > start:
            at = low
            for batch in file.iter_batches(size, row_groups=[group], columns=names):
                first, last = max(start - at, 0), min(stop - at, batch.num_rows)
                at += batch.num_rows
                if first < last:
                    yield batch.slice(first, last - first)
        low = high


@contextmanager
def _open(path: str) -> Iterator[Any]:
    """Yield an open Parquet file.

    Raises:
        DataError: it is missing, truncated, no Parquet, or fails while it is read.
        ConfigError: it is not on a local disk.
    """
    if is_url(path):
        raise ConfigError(f"{public_name(path)}: Parquet is read from local disks; download it.")
    file_status(path)
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        text = (str(error).strip().splitlines() or [""])[0]
        raise DataError(
            f"{path}: is not a readable Parquet file, it is truncated or something else "
            f"({text[:160]})."
        ) from error
