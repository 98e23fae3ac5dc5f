"""A small shard directory of toy events, for checks of tasks and of your own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transferline import __version__
from transferline.data.batch import Batch
from transferline.data.card import DataCard
from transferline.data.events import ID_DTYPE, identity_hash
from transferline.data.layouts.shards import CARD, P4_COLUMNS, shard_schema
from transferline.data.selections.merge import OBJECT_COLUMNS
from transferline.files import file_hash, json_hash, write_json
from transferline.testing.batches import toy_batch


def toy_shards(out: Path, n: int, seed: int = 0) -> Path:
    """Write `n` toy events as shards, with their target as the label `signal`; return `out`."""
    batch = toy_batch(n, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    table = _table(batch, seed)
    part = out / "part-00000.arrow"
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    parts = [{"file": part.name, "rows": n, "sha256": file_hash(part), "size": part.stat().st_size}]
    write_json(out / CARD, _card(n, parts).to_dict())
    return out


def _table(batch: Batch, seed: int) -> pa.Table:
    schema = shard_schema(OBJECT_COLUMNS, labels=["signal"])
    identity = np.zeros(len(batch), ID_DTYPE)
    identity["run"], identity["lumi"], identity["event"] = 1, seed, np.arange(len(batch))
    values = _objects(batch)
    offsets = np.concatenate([[0], batch.is_real.sum(1).cumsum(0).numpy()]).astype(np.int32)
    inner = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    target = batch.target if batch.target is not None else batch.weight
    columns = [
        pa.ListArray.from_arrays(pa.array(offsets), inner),
        pa.array(target.numpy().astype(np.float32)),
        pa.array(batch.weight.numpy().astype(np.float64)),
        *(pa.array(np.ascontiguousarray(identity[name])) for name in ("run", "lumi", "event")),
        pa.array(identity_hash(identity)),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _objects(batch: Batch) -> NDArray[np.float32]:
    """All real objects of all events, `[objects, columns]`."""
    every = dict(zip(P4_COLUMNS, batch.p4.unbind(-1), strict=True)) | dict(batch.columns)
    real = batch.is_real
    return np.stack(
        [every[name][real].numpy().astype(np.float32) for name in OBJECT_COLUMNS], axis=1
    )


def _card(n: int, parts: list[dict[str, object]]) -> DataCard:
    return DataCard(
        sample="toy",
        version=__version__,
        n_events=n,
        columns=list(OBJECT_COLUMNS),
        context=[],
        labels={},
        selection={"name": "toy"},
        selection_hash="toy",
        reader={},
        is_simulation=True,
        files=[],
        skipped={},
        count=n,
        sum_weight=float(n),
        sum_weight2=float(n),
        cutflow=[],
        n_eff=float(n),
        negative_fraction=0.0,
        capped=0,
        duplicates=0,
        parts=parts,
        content_hash=json_hash([part["sha256"] for part in parts]),
        config_hash="toy",
    )
