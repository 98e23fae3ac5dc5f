"""One unit of preparation: an entry range of one file becomes one shard file and its ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transferline.data.cutflow import Cutflow, Step
from transferline.data.events import Events, identity_hash
from transferline.data.jagged import flat_columns
from transferline.data.layouts.shards import shard_schema
from transferline.data.readers.base import Reader
from transferline.data.selections import Selection, apply, needed_columns
from transferline.data.selections.merge import OBJECT_COLUMNS
from transferline.errors import DataError, NumericalError
from transferline.files import atomic_path, file_hash, write_json


@dataclass(frozen=True)
class Unit:
    """An entry range of one file; `index` numbers the shard file it becomes."""

    index: int
    path: str
    start: int
    stop: int
    is_simulation: bool
    config_hash: str

    @property
    def name(self) -> str:
        """File name of the shard."""
        return f"part-{self.index:05d}.arrow"


@dataclass(frozen=True)
class Ledger:
    """What one unit did; stands beside its shard file until the card is written."""

    unit: dict[str, Any]
    rows: int
    sha256: str
    size: int
    cutflow: list[dict[str, Any]]
    passed: dict[str, Any]
    negative: int
    capped: int

    def matches(self, unit: Unit, out: Path) -> bool:
        """Tell whether this ledger's shard is whole and is what `unit` would make again."""
        part = out / unit.name
        return self.unit == asdict(unit) and part.exists() and part.stat().st_size == self.size


@dataclass(frozen=True)
class Failure:
    """A unit whose file turned out to be damaged."""

    path: str
    reason: str


def ledger_path(out: Path, unit: Unit) -> Path:
    """Return the place of a unit's ledger."""
    return (out / unit.name).with_suffix(".json")


def read_ledger(out: Path, unit: Unit) -> Ledger | None:
    """Return the ledger of a finished unit, None if it must be (re)done."""
    try:
        ledger = Ledger(**json.loads(ledger_path(out, unit).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return ledger if ledger.matches(unit, out) else None


def make_part(
    unit: Unit,
    *,
    reader: Reader,
    selection: Selection,
    labels: Mapping[str, float],
    out: Path,
    chunk_size: int,
) -> Ledger | Failure:
    """Read, select and write one unit; the ledger is written after the shard is in place.

    Damage is returned, not raised, when the reader allows skipping: the other units of the
    file must be dropped too.
    """
    total, capped = Cutflow(), 0
    kept: list[Events] = []
    columns = needed_columns(selection)
    try:
        for chunk in reader.read(unit.path, unit.start, unit.stop, columns, chunk_size):
            done = apply(selection, chunk, is_simulation=unit.is_simulation)
            total, capped = total + done.cutflow, capped + done.capped
            kept.append(done.events)
    except DataError as error:
        if not reader.skip_bad:
            raise
        return Failure(unit.path, str(error))
    target = out / unit.name
    table = _table(kept, labels, unit.path)
    with (
        atomic_path(target) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    weight = table.column("weight").to_numpy()
    ledger = Ledger(
        unit=asdict(unit),
        rows=table.num_rows,
        sha256=file_hash(target),
        size=target.stat().st_size,
        cutflow=total.to_list(),
        passed=asdict(Step.of("passed", weight)),
        negative=int((weight < 0).sum()),
        capped=capped,
    )
    write_json(ledger_path(out, unit), asdict(ledger))
    return ledger


def _table(chunks: list[Events], labels: Mapping[str, float], path: str) -> pa.Table:
    schema = shard_schema(OBJECT_COLUMNS, labels=list(labels))
    batches = [_record_batch(chunk, labels, schema, path) for chunk in chunks if len(chunk)]
    # One record batch per file: fewer places to look in when rows are gathered.
    return pa.Table.from_batches(batches, schema).combine_chunks()


def _record_batch(
    events: Events, labels: Mapping[str, float], schema: pa.Schema, path: str
) -> pa.RecordBatch:
    offsets, objects = flat_columns(events.particles["object"])
    values = np.stack([objects[name] for name in OBJECT_COLUMNS], axis=1)
    _check_finite(values, path)
    width = len(OBJECT_COLUMNS)
    inner = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), width)
    columns = [pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), inner)]
    columns += [pa.array(np.full(len(events), value, np.float32)) for value in labels.values()]
    columns += [pa.array(events.weight)]
    columns += [pa.array(np.ascontiguousarray(events.id[f])) for f in ("run", "lumi", "event")]
    columns += [pa.array(identity_hash(events.id))]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def part_hashes(path: Path) -> NDArray[np.uint64]:
    """Return the event hashes of one shard file."""
    with pa.memory_map(str(path), "r") as source, pa.ipc.open_file(source) as file:
        # A copy: the map is closed on return.
        hashes: NDArray[np.uint64] = np.array(file.read_all().column("hash").to_numpy())
    return hashes


def _check_finite(values: NDArray[np.float32], path: str) -> None:
    if not np.isfinite(values).all():
        column = OBJECT_COLUMNS[int(np.flatnonzero(~np.isfinite(values).all(axis=0))[0])]
        raise NumericalError(f"{path}: a selected object has a '{column}' that is not finite.")
