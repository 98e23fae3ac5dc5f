"""One unit of preparation: an entry range of one file becomes one shard file and its ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transferline.data.cutflow import Cutflow, Step
from transferline.data.garbage import collected
from transferline.data.readers.base import Reader
from transferline.data.readers.patience import counted_traffic
from transferline.data.readers.status import FileStatus, unchanged
from transferline.data.selections import AnySelection, apply, needed_columns, shard_columns
from transferline.data.shard_writer import ShardWriter
from transferline.data.spool import Spool
from transferline.data.survey import Failure, Survey
from transferline.errors import DataError, OutputError
from transferline.files import file_hash, write_json
from transferline.stopping import check_stop


@dataclass(frozen=True)
class Unit:
    """An entry range of one file; `index` numbers the shard file it becomes.

    `path` names the file in everything that is stored, `address` opens it: they differ where a
    URL holds a key. `status` is that of the file when it was surveyed: no other one is read.
    """

    index: int
    path: str
    start: int
    stop: int
    is_simulation: bool
    config_hash: str
    address: str
    status: FileStatus | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, without the address; what `status` tells is in the hash already."""
        kept = ("index", "path", "start", "stop", "is_simulation", "config_hash")
        return {name: getattr(self, name) for name in kept}

    @property
    def name(self) -> str:
        """File name of the shard."""
        return part_name(self.index)


def units_of(survey: Survey, size: int, config_hash: str) -> list[Unit]:
    """Cut the usable files into ranges of at most `size` entries."""
    ranges = [
        (s, low, min(low + size, s.entries))
        for s in survey.sources
        for low in range(0, max(s.entries, 1), size)
    ]
    return [
        Unit(
            index=i,
            path=s.path,
            start=low,
            stop=high,
            is_simulation=s.is_simulation,
            config_hash=config_hash,
            address=survey.addresses[s.path],
            status=survey.looks[s.path].status,
        )
        for i, (s, low, high) in enumerate(ranges)
    ]


def part_name(index: int) -> str:
    """Return the file name of a shard."""
    return f"part-{index:05d}.arrow"


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
    seconds: float
    retries: int

    @property
    def name(self) -> str:
        """File name of the shard."""
        return part_name(self.unit["index"])

    def matches(self, unit: Unit, out: Path) -> bool:
        """Tell whether this ledger's shard is whole and is what `unit` would make again."""
        part = out / unit.name
        return self.unit == unit.to_dict() and part.exists() and part.stat().st_size == self.size


def ledger_path(out: Path, unit: Unit) -> Path:
    """Return the place of a unit's ledger."""
    return (out / unit.name).with_suffix(".json")


def read_unit_ledger(out: Path, unit: Unit) -> Ledger | None:
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
    selection: AnySelection,
    labels: Mapping[str, float],
    out: Path,
    chunk_size: int,
) -> Ledger | Failure:
    """Read, select and write one unit; the ledger is written after the shard is in place.

    Damage is returned, not raised, when the reader allows skipping: the other units of the
    file must be dropped too.

    Raises:
        DataError: the file is damaged or unreachable, or is not the one that was surveyed any
            more (without `reader.skip_bad`).
    """
    began = time.monotonic()
    target = out / unit.name
    with Spool(out) as spool:
        columns = shard_columns(selection)
        rows = ShardWriter(
            spool,
            labels,
            unit.path,
            columns.particles,
            columns.context,
            constituents=columns.constituents,
        )
        try:
            with (
                counted_traffic() as traffic,
                collected(),
                unchanged(unit.address, unit.status),
            ):
                total, capped = _select(unit, reader, selection, chunk_size, rows)
        except DataError as error:
            if not reader.skip_bad or isinstance(error, OutputError):
                raise
            return Failure.of(unit.path, error)
        # Killed in between, no ledger of other events may name this shard as its own.
        ledger_path(out, unit).unlink(missing_ok=True)
        rows.write(target)
        weight = rows.weight
        ledger = Ledger(
            unit=unit.to_dict(),
            rows=len(weight),
            sha256=file_hash(target),
            size=target.stat().st_size,
            cutflow=total.to_list(),
            passed=asdict(Step.of("passed", weight)),
            negative=int((weight < 0).sum()),
            capped=capped,
            seconds=time.monotonic() - began,
            retries=traffic.retries,
        )
    write_json(ledger_path(out, unit), asdict(ledger))
    return ledger


def _select(
    unit: Unit, reader: Reader, selection: AnySelection, chunk_size: int, rows: ShardWriter
) -> tuple[Cutflow, int]:
    """Read and select chunk by chunk; return the cut-flow and the number of capped events."""
    total, capped = Cutflow(), 0
    columns = needed_columns(selection)
    for chunk in reader.read(unit.address, unit.start, unit.stop, columns, chunk_size):
        check_stop()
        done = apply(selection, chunk, is_simulation=unit.is_simulation)
        total, capped = total + done.cutflow, capped + done.capped
        rows.add(done.events)
    return total, capped
