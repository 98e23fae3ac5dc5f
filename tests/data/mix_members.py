"""Small shards whose events can be told apart, to see what a mixture makes of them.

Row r of member m is one object with pt = r + 1 GeV and eta = m; all members number their events
alike, as simulated samples do.
"""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa

from transferline import __version__
from transferline.data.card import DataCard
from transferline.data.events import ID_DTYPE, Events
from transferline.data.layouts.shards import CARD
from transferline.data.selections.merge import OBJECT_COLUMNS
from transferline.data.shard_writer import ShardWriter
from transferline.data.spool import Spool
from transferline.files import file_hash, json_hash, write_json


def write_member(
    directory: Path,
    number: int,
    weight: list[float] | np.ndarray,
    *,
    cross_section_pb: float | None = 1.0,
    before: float | None = None,
    parts: int = 1,
    **changes: object,
) -> Path:
    """Write member `number` with these weights; `before` is their sum before any cut.

    The card says that it was generated, with the seed `number`, in two files; `changes` are of
    the card.
    """
    out = directory / f"member-{number}"
    out.mkdir(parents=True)
    weight = np.asarray(weight, np.float64)
    rows = np.arange(len(weight))
    written = [_write(out, i, number, mine, weight) for i, mine in enumerate(_cut(rows, parts))]
    total, halves = float(weight.sum()) if before is None else before, len(weight) // 2
    values = {
        "sample": f"sample {number}",
        "version": __version__,
        "n_events": len(weight),
        "columns": list(OBJECT_COLUMNS),
        "context": [],
        "labels": {"signal": 1.0},
        "selection": {"name": "toy", "golden_json": None},
        "selection_hash": "toy",
        "reader": {},
        "is_simulation": True,
        "files": [file_row(number, 0, halves), file_row(number, 1, len(weight) - halves)],
        "skipped": {},
        "count": 2 * len(weight),
        "sum_weight": total,
        "sum_weight2": total,
        "cutflow": [
            {"name": "all events", "events": 9, "sum_weight": total, "sum_weight2": total},
            {"name": "jets", "events": 5, "sum_weight": weight.sum(), "sum_weight2": total},
        ],
        "n_eff": 1.0,
        "negative_fraction": 0.0,
        "capped": 0,
        "parts": written,
        "content_hash": json_hash([part["sha256"] for part in written]),
        "config_hash": "toy",
        "cross_section_pb": cross_section_pb,
    }
    write_json(out / CARD, DataCard(**{**values, **changes}).to_dict())
    return out


def file_row(number: int, i: int, passed: int) -> dict[str, object]:
    """Return what a card says of a generated file."""
    made = {"kind": "transferline generate events", "process": "toy", "seed": 2 * number + i}
    return {
        "path": f"{number}-{i}.root",
        "format": "NanoAODv9",
        "entries": 2 * passed,
        "is_simulation": True,
        "size": 1,
        "sum_weight": 2.0 * passed,
        "passed": passed,
        "provenance": {**made, "configuration": f"c{number}{i}", "n": 2 * passed},
    }


def _cut(rows: np.ndarray, parts: int) -> list[np.ndarray]:
    return np.array_split(rows, parts)


def _write(out: Path, part: int, number: int, rows: np.ndarray, weight: np.ndarray) -> dict:
    columns = {name: np.zeros(len(rows), np.float32) for name in OBJECT_COLUMNS}
    columns |= {"pt": rows + 1.0, "eta": np.full(len(rows), number)}
    objects = ak.zip({k: ak.unflatten(v.astype(np.float32), np.ones(len(rows), int))
                      for k, v in columns.items()})  # fmt: skip
    identity = np.zeros(len(rows), ID_DTYPE)
    identity["run"], identity["event"] = 1, rows
    path = out / f"part-{part:05d}.arrow"
    with Spool(out) as spool:
        writer = ShardWriter(spool, {"signal": 1.0}, str(path))
        writer.add(Events({"object": objects}, weight[rows], identity))
        writer.write(path)
    size = path.stat().st_size
    return {"file": path.name, "rows": len(rows), "sha256": file_hash(path), "size": size}


def table(directory: Path, card: DataCard) -> pa.Table:
    """Return all rows of a mixture in order."""
    tables = []
    for part in card.parts:
        with pa.ipc.open_file(str(directory / part["file"])) as file:
            tables.append(file.read_all())
    return pa.concat_tables(tables)


def traced(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return member and row, `[n]` each, of the events of a mixture."""
    objects = np.array(rows.column("particles").to_pylist())[:, 0]
    return objects[:, 1].astype(int), objects[:, 0].astype(int) - 1
