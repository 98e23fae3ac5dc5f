"""The model that a run keeps: what must travel with it, and that no older one stays beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from transferline.errors import ConfigError
from transferline.evaluation.records import Record
from transferline.files import may_be_json_of, write_text
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import LabelledRows
from transferline.models.checkpoint import Checkpoint, common_selection
from transferline.models.model import Model
from transferline.models.seen import Seen
from transferline.models.stored import CONFIG

CHECKPOINT = "checkpoint"
_RECORD = "record.json"
_OF_A_RUN = (_RECORD, CHECKPOINT, "scores.npz", "metrics.jsonl", "metrics.csv")
_WHILE_IT_RUNS = ("trials", "head")
_BEGUN = ".begun"
"""Marks the directory of a run that is not finished: what lies in it is ours."""


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
        f"(seed {record.seed}). Test {record.headline()}.\n\n{start.card}",
        seen=seen,
    )


def recorded_run(out: Path) -> Record | None:
    """Return the Record of the run that is finished in `out`; None if there is none to read."""
    file = out / _RECORD
    try:
        return Record.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # damaged, or of another version
        return None


def is_run(out: Path, config: str, mode: str, *, n_train: int, seed: int) -> bool:
    """Tell whether this very run is finished in `out`."""
    found = recorded_run(out)
    return found is not None and (config, mode, n_train, seed) == (
        found.hashes.config,
        found.mode,
        found.n_train,
        found.seed,
    )


def finished_run(out: Path, config: str, mode: str, *, n_train: int, seed: int) -> Record | None:
    """Return the Record of this very run, if it is finished in `out`; None if no run is.

    Raises:
        ConfigError: another run is finished there.
    """
    found = recorded_run(out)
    if found is None:
        return None
    if not is_run(out, config, mode, n_train=n_train, seed=seed):
        raise ConfigError(
            f"{out}: holds another run ({found.task}, {found.mode}, {found.n_train} labelled "
            f"events, seed {found.seed}; or other settings or weights). --overwrite replaces it; "
            "or choose another --out."
        )
    return found


def check_run_place(out: Path, *, overwrite: bool) -> None:
    """Refuse a directory in which names of ours are somebody else's: they would be removed.

    Raises:
        ConfigError: there are such files, or a Record that cannot be read (without `overwrite`).
    """
    if (out / _RECORD).exists() and not overwrite and recorded_run(out) is None:
        raise ConfigError(
            f"{out / _RECORD}: cannot be read, it is damaged or of another version. "
            "--overwrite replaces the run; or choose another --out, or remove it."
        )
    ours: tuple[str, ...] = _OF_A_RUN if may_be_json_of(out / _RECORD, "hashes") else ()
    if (out / _BEGUN).exists():
        ours = (*_OF_A_RUN, *_WHILE_IT_RUNS)
    for name in (CONFIG, *_OF_A_RUN, *_WHILE_IT_RUNS):
        if name not in ours and (out / name).exists():
            raise ConfigError(
                f"{out / name}: is of no finished run, and one would replace it. Choose another "
                "--out; or remove it, if an earlier version was killed there."
            )


def begin_run(out: Path) -> None:
    """Mark the directory as that of a run, and remove what an earlier one left."""
    out.mkdir(parents=True, exist_ok=True)
    (out / _BEGUN).touch()
    _forget_run(out)


def end_run(out: Path, record: Record) -> None:
    """Write the Record: with it, the run is finished."""
    text = record.model_dump_json(indent=2, exclude_none=True)
    write_text(out / _RECORD, text + "\n")
    (out / _BEGUN).unlink(missing_ok=True)


def _forget_run(out: Path) -> None:
    """Remove what an earlier run left in its directory; `records.jsonl`, the history, stays.

    Not every mode writes every file: an older network beside a newer Record would be taken for
    the one that was measured. The Record goes first, because with it a run counts as finished.
    """
    aside = out / f".{CHECKPOINT}.old"
    for place in (aside, *(out / name for name in _OF_A_RUN)):
        if place.is_dir():
            # Renamed first: half a checkpoint is never seen under its name.
            shutil.rmtree(place if place == aside else place.rename(aside))
        else:
            place.unlink(missing_ok=True)
