"""Tables of a task's events that several runs share: embeddings and engineered features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from transferline.data.readers.shards import ShardSet
from transferline.files import json_hash
from transferline.learning.engineered import Engineered
from transferline.learning.network_run import Adaptation
from transferline.learning.per_event import EventTable
from transferline.learning.probe import embedder
from transferline.learning.tasks.base import TaskData
from transferline.learning.tasks.subsets import Rows
from transferline.models.checkpoint import Checkpoint


def embedding_table(
    checkpoint: Checkpoint, data: TaskData, how: Adaptation, tables: Path | None
) -> EventTable:
    """Return the pooled embeddings of the task's events, each computed once."""
    recipe = checkpoint.recipe.model_copy(update={"head": None, "n_outputs": None})
    # Equal weights are not one network: activations, for one, have none.
    made_of = ["embeddings", checkpoint.backbone_hash(), recipe.digest(), how.optim.precision]
    return _table(data, embedder(checkpoint.backbone(), how.optim), tables, made_of)


def engineered_table(features: Engineered, data: TaskData, tables: Path | None) -> EventTable:
    """Return the engineered features of the task's events, each computed once."""

    def compute(shards: ShardSet, rows: Rows) -> Tensor:
        return features.compute(shards.gather(rows))[1]

    return _table(data, compute, tables, ["engineered", features.version])


def _table(
    data: TaskData,
    compute: Callable[[ShardSet, Rows], Tensor],
    tables: Path | None,
    made_of: list[str],
) -> EventTable:
    if tables is None:
        return EventTable(data.shards, compute)
    wanted = np.sort(np.concatenate((data.pool, data.valid, data.test)))
    rows = hashlib.sha256(wanted.tobytes()).hexdigest()
    name = json_hash([*made_of, data.digest, rows])
    file = tables / f"{made_of[0]}-{name[:16]}.npy"
    return EventTable(data.shards, compute, file, wanted)
