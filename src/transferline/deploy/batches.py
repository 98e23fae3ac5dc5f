"""Batches made, cut and joined in memory, without shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from transferline.data.batch import Batch
from transferline.data.events import Events
from transferline.data.jagged import flat_columns
from transferline.data.layouts.shards import P4_COLUMNS


def batch_of(events: Events) -> Batch:
    """Return selected events as one batch, as wide as the longest, at least one place."""
    offsets, fields = flat_columns(events.particles["object"])
    counts = np.diff(offsets)
    is_real = np.arange(max(int(counts.max(initial=0)), 1)) < counts[:, None]
    columns = {name: torch.from_numpy(_padded(is_real, fields[name])) for name in fields}
    p4 = torch.stack([columns.pop(name) for name in P4_COLUMNS], dim=-1)
    if "species" in columns:
        columns["species"] = columns["species"].long()
    identity = [events.id[name].astype(np.int64) for name in ("run", "lumi", "event")]
    return Batch(
        p4=p4,
        is_real=torch.from_numpy(is_real),
        weight=torch.from_numpy(events.weight.astype(np.float32)),
        id=torch.from_numpy(np.stack(identity, axis=1)),
        columns=columns,
    )


def _padded(is_real: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float32]:
    table = np.zeros(is_real.shape, np.float32)
    table[is_real] = values
    return table


def widened(batch: Batch, width: int) -> Batch:
    """Return the batch with `width` places per event; places are added or cut at the end."""
    more = width - batch.is_real.shape[1]
    return batch.replace(
        p4=F.pad(batch.p4, (0, 0, 0, more)),
        is_real=F.pad(batch.is_real, (0, more)),
        columns={name: F.pad(values, (0, more)) for name, values in batch.columns.items()},
    )


def chosen(batch: Batch, rows: Sequence[int] | NDArray[Any]) -> Batch:
    """Return the events `rows`, as wide as before."""
    index = torch.as_tensor(np.asarray(rows, dtype=np.int64))
    return batch.replace(
        p4=batch.p4[index],
        is_real=batch.is_real[index],
        weight=batch.weight[index],
        id=batch.id[index],
        columns={name: values[index] for name, values in batch.columns.items()},
        context={},
        target=None,
    )


def joined(batches: Sequence[Batch]) -> Batch:
    """Return all events in one batch, as wide as the widest."""
    width = max(batch.is_real.shape[1] for batch in batches)
    wide = [widened(batch, width) for batch in batches]
    return Batch(
        p4=torch.cat([b.p4 for b in wide]),
        is_real=torch.cat([b.is_real for b in wide]),
        weight=torch.cat([b.weight for b in wide]),
        id=torch.cat([b.id for b in wide]),
        columns={name: torch.cat([b.columns[name] for b in wide]) for name in wide[0].columns},
    )
