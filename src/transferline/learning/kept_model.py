"""The adapted model as a checkpoint: what must travel with it to be used on other files."""

from __future__ import annotations

from typing import Any

import numpy as np

from transferline.data.card import DataCard
from transferline.evaluation.records import Record
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import LabelledRows
from transferline.models.checkpoint import Checkpoint
from transferline.models.model import Model
from transferline.models.seen import Seen


def kept_model(
    model: Model,
    *,
    start: Checkpoint,
    task: Task,
    record: Record,
    data: TaskData,
    rows: LabelledRows,
) -> Checkpoint:
    """Return the checkpoint of a run: head, task, selection and the events that it saw.

    A scratch run has nothing of the start's weights; what it saw is its own.
    """
    seen = Seen.of("training", data.shards, np.concatenate((rows.fit, rows.select)))
    if record.mode != "scratch":
        seen = start.saw().as_pretraining() + seen
    recipe = start.recipe.model_copy(update={"head": task.head, "n_outputs": task.n_outputs})
    return Checkpoint.of(
        model,
        recipe,
        selection=common_selection(data.shards.cards),
        provenance={
            "task": task.to_dict(),
            "classes": task.classes(),
            "record": record.model_dump(mode="json", exclude={"replicas"}, exclude_none=True),
            "pretraining": start.provenance,
        },
        card=f"# {task.name}, {record.mode}\n\nTrained on {record.n_train} labelled events "
        f"(seed {record.seed}). Test AUC {record.metrics['auc']}.\n\n{start.card}",
        seen=seen,
    )


def common_selection(cards: list[DataCard]) -> dict[str, Any] | None:
    """Return the selection that all samples passed, or None if they passed different ones.

    Certified blocks concern collision data only: a golden JSON that some samples lack is kept.
    """
    golden = {card.selection.get("golden_json") for card in cards} - {None}
    rest = [{**card.selection, "golden_json": None} for card in cards]
    if len(golden) > 1 or any(selection != rest[0] for selection in rest):
        return None
    return {**cards[0].selection, "golden_json": next(iter(golden), None)}
