"""All that decides the numbers of a run, as one hash: equal ones are the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transferline.files import json_hash
from transferline.learning.baselines import Trees
from transferline.learning.modes import Mode, adapts
from transferline.learning.network_run import Adaptation
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import SELECTING
from transferline.models.checkpoint import Checkpoint
from transferline.models.event_head import EventHead
from transferline.models.model import weight_hash

PROTOCOL = 5
"""Part of every run's digest; raised when the same settings would give other numbers."""


def run_digest(
    checkpoint: Checkpoint | None, task: Task, data: TaskData, mode: Mode, how: Adaptation | Trees
) -> str:
    """Return the hash of all that decides a run's numbers, beyond mode, size and seed.

    Samples count by their content and weights by their hash, never by where they stand. A
    scratch run has nothing of a checkpoint's weights, so it is the same for every pre-training
    of one architecture whose Features have the same constants.
    """
    places = {name: Path(f"sample{i}") for i, name in enumerate(task.samples())}
    start: dict[str, Any] = {}
    if checkpoint is not None and mode != "trees":
        recipe = checkpoint.recipe.model_copy(update={"head": None, "n_outputs": None})
        start = {"model": recipe.to_dict()}
        if mode != "frozen" and adapts(checkpoint):
            start["batches"] = "all lengths"  # sorted by length they once were
        if mode == "scratch":
            start["constants"] = weight_hash(checkpoint.backbone().features)
            start["weights"] = "drawn apart from every pre-training"  # of one seed: once alike
        else:
            start["weights"] = checkpoint.backbone_hash()
            if isinstance(task.head, EventHead) and task.head.has_score:
                start["classifier"] = [tensor.tolist() for tensor in checkpoint.classifier()]
    settings: dict[str, Any] = {
        "task": task.located(places).to_dict(),
        "how": how.to_dict(),
        "start": start,
    }
    if mode == "trees":
        settings["engineered"] = task.engineered.version
        if (data.training_weight < 0).any():
            settings["weights"] = "absolute, each class as much as with signs"  # once more
    if (others := task.examined_with()) and mode != "trees":
        settings["examined_with"] = others
    return json_hash({"protocol": PROTOCOL, "data": data.digest, **settings})


def at_size(digest: str, task: Task, n_train: int) -> str:
    """Return the hash of a run with `n_train` labelled events, whose others are `digest`.

    It is another one only where `select_share` of them is more than may select, which once was
    not bounded.
    """
    if round(task.select_share * n_train) <= SELECTING:
        return digest
    return json_hash({"run": digest, "selecting": SELECTING})
