"""One shard file, memory-mapped: views of its columns, checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transferline.data.layouts.shards import FORMAT, P4_COLUMNS, shard_schema
from transferline.errors import DataError, shortened
from transferline.files import file_hash, parse_json

_KINDS = ("context.", "label.")
_ANEW = "Prepare it again with --overwrite."


@dataclass(frozen=True)
class Piece:
    """One record batch: views of the memory map, nothing copied."""

    batch: pa.RecordBatch
    offsets: NDArray[np.int32]
    values: NDArray[np.float32]
    set_offsets: NDArray[np.int32] | None = None  # of events of jets: bounds of the jets among
    set_values: NDArray[np.float32] | None = None  # the constituents, and these
    views: dict[str, NDArray[Any]] = field(default_factory=dict)  # asked for at every batch

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Piece:
        """Look into a record batch."""
        offsets, values = _flat(batch.column("particles"))
        if "constituents" not in batch.schema.names:
            return cls(batch, offsets, values)
        return cls(batch, offsets, values, *_flat(batch.column("constituents").values))

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the events, `[n]`."""
        if name not in self.views:
            self.views[name] = self.batch.column(name).to_numpy(zero_copy_only=True)
        return self.views[name]


def _flat(lists: pa.ListArray) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    inner = lists.values
    flat = inner.values.to_numpy(zero_copy_only=True).reshape(-1, inner.type.list_size)
    return lists.offsets.to_numpy(zero_copy_only=True), flat[inner.offset :]


def open_part(
    directory: Path, part: dict[str, Any], columns: list[str], constituents: list[str]
) -> list[Piece]:
    """Map one shard file.

    Its structure is checked, so that no compiled loop leaves the map; its bytes are not read.

    Raises:
        DataError: the file is missing, is not as long as its card says, is not Arrow, or has
            other columns.
    """
    path = directory / part["file"]
    if not path.exists():
        raise DataError(
            f"{path}: is missing, though the card of {directory} names it. Prepare {directory} "
            "again."
        )
    size = path.stat().st_size
    if size != part["size"]:
        raise DataError(
            f"{path}: is truncated or was changed ({size} bytes, the card says {part['size']}). "
            f"Prepare {directory} again."
        )
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path), "r"))
        _check_schema(path, file.schema, columns, constituents)
        batches = [file.get_batch(i) for i in range(file.num_record_batches)]
        for batch in batches:
            _check_batch(path, batch)
        pieces = [Piece.of(batch) for batch in batches if batch.num_rows]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: is not a readable Arrow file ({shortened(error)}). {_ANEW}"
        ) from error
    if sum(batch.num_rows for batch in batches) != part["rows"]:
        raise DataError(f"{path}: does not hold the {part['rows']} events its card names.")
    return pieces


def _check_batch(path: Path, batch: pa.RecordBatch) -> None:
    """Check offsets and that nothing is null: the map is read without asking again."""
    batch.validate(full=True)
    particles = batch.column("particles")
    inner = [particles.values, particles.values.values]
    if "constituents" in batch.schema.names:
        sets = batch.column("constituents")
        inner += [sets.values, sets.values.values, sets.values.values.values]
        if not sets.offsets.equals(particles.offsets):
            raise DataError(f"{path}: its jets and constituents do not fit. {_ANEW}")
    if any(column.null_count for column in (*batch.columns, *inner)):
        raise DataError(f"{path}: holds empty values. {_ANEW}")


@lru_cache(maxsize=4096)
def check_bytes(path: Path, sha256: str, _size: int, _mtime_ns: int) -> None:
    """Compare the bytes of a file with their hash, once in a process for the file as it is."""
    if file_hash(path) != sha256:
        raise DataError(
            f"{path}: its bytes are not those that were prepared. Copy {path.parent} again, or "
            "prepare it again with --overwrite."
        )


def _check_schema(
    path: Path, schema: pa.Schema, columns: list[str], constituents: list[str]
) -> None:
    """The order of columns stands in the card and in every file; both must agree."""
    metadata = schema.metadata or {}
    found = metadata.get(b"format", b"unknown").decode(errors="replace")
    if found != FORMAT:
        raise DataError(
            f"{path}: has the format '{shortened(found)}', this version reads {FORMAT}. Prepare "
            "it again."
        )
    stated = parse_json(metadata.get(b"columns", b"null"), f"{path}: list of columns")
    if stated != columns:
        raise DataError(
            f"{path}: holds the particle columns {shortened(stated, 300)}, its card says {columns}."
        )
    nested = parse_json(metadata.get(b"constituents", b"[]"), f"{path}: list of constituents")
    if nested != constituents:
        raise DataError(
            f"{path}: holds the constituent columns {shortened(nested, 300)}, its card says "
            f"{constituents}."
        )
    names = {kind: [n[len(kind) :] for n in schema.names if n.startswith(kind)] for kind in _KINDS}
    if any(
        tuple(c[:4]) != P4_COLUMNS for c in (columns, constituents or columns)
    ) or schema != shard_schema(columns, names["context."], names["label."], constituents):
        raise DataError(f"{path}: has not the columns of a shard. {_ANEW}")
