"""transfer_folds(): K models of one task, so that every event has one that never saw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.errors import ConfigError, DataError
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.records import TRANSFERRED, Record, run_key
from transferline.files import atomic_path
from transferline.learning.adaptation import transfer
from transferline.learning.baselines import Trees
from transferline.learning.folds import FOLDS, FoldSet, every_fold
from transferline.learning.kept_model import recorded_run
from transferline.learning.modes import Mode
from transferline.learning.network_run import Adaptation
from transferline.learning.run_digest import at_size, run_digest
from transferline.learning.tasks.base import Task, TaskData
from transferline.models.checkpoint import Checkpoint
from transferline.models.shipped import resolve_checkpoint
from transferline.provenance import run_facts

SCORES = "out_of_fold.npz"


@dataclass(frozen=True)
class FoldedTransfer:
    """The Records of all folds, and the metrics of all events, each scored by its own model."""

    records: list[Record]
    metrics: dict[str, Measurement]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: of a metric [value, error], and "at least" of a lower limit."""
        return {
            "out_of_fold": _numbers(self.metrics),
            "per_fold": [_numbers(record.metrics) for record in self.records],
        }


def _numbers(metrics: dict[str, Measurement]) -> dict[str, list[float | str | None]]:
    return {name: _number(found) for name, found in metrics.items()}


def _number(found: Measurement) -> list[float | str | None]:
    """JSON has no infinity: null. A lower limit must not be read as what was measured."""
    numbers = [value if math.isfinite(value) else None for value in (found.value, found.error)]
    return [*numbers, *([found.bound] if found.bound is not None else [])]


def starting_checkpoints(place: str | Path | None, folds: int) -> list[Checkpoint | None]:
    """Return what each fold starts from: a backbone of its own, or the same for all.

    Args:
        place: a checkpoint, a directory of `pretrain --folds`, or None for boosted trees.
        folds: how many.

    Raises:
        ConfigError: the directory holds another number of folds.
        DataError: a checkpoint is missing, damaged or of another fold.
    """
    if place is None:
        return [None] * folds
    directory = resolve_checkpoint(place)
    known = FoldSet.read(directory)
    if known is None:
        return [Checkpoint.load(directory)] * folds
    if known.n != folds or known.folds != every_fold(folds):
        raise ConfigError(f"{place}: holds {known.n} folds; give --folds {known.n}.")
    return list(known.load(directory))


def single_checkpoint(place: str | Path) -> Checkpoint:
    """Load one checkpoint.

    Raises:
        ConfigError: the directory holds one for each of several folds.
        DataError: it is missing or damaged.
    """
    directory = resolve_checkpoint(place)
    if (known := FoldSet.read(directory)) is not None:
        raise ConfigError(
            f"{place}: holds {known.n} models, one per fold. Give --folds {known.n}, or name one: "
            f"{Path(place) / known.models[0] if known.models else place}."
        )
    return Checkpoint.load(directory)


def transfer_folds(
    starts: Sequence[Checkpoint | None],
    task: Task,
    mode: Mode,
    *,
    n_train: int,
    seed: int,
    how: Adaptation | Trees,
    out: Path,
    allow_overlap: bool = False,
    pretraining: str = "none",
    label: str | None = None,
) -> FoldedTransfer:
    """Do one `transfer` per fold into `out/fold-<k>`, and measure on all events.

    Model k trains on `n_train` events outside fold k and is measured on those in it; see
    `Task.folded`. Writes `folds.json` (metrics as in `FoldedTransfer.to_dict`) and the scores
    of all events when all are done; finished folds are kept when the call is repeated.

    Args:
        starts: what the model of each fold starts from, see `starting_checkpoints`.
        task: the question.
        mode: one of `MODES`.
        n_train: labelled events of each model.
        seed: see `transfer`.
        how: see `transfer`.
        out: directory of all folds.
        allow_overlap: measure also on events of the backbone's pre-training.
        pretraining: name of the starting point in the Records.
        label: of the progress bars, or None for none.

    Raises:
        ConfigError: `out` holds folds of other settings or data.
        DataError: there are fewer labelled events than `n_train`, or a backbone has seen events
            of its fold.
        NumericalError, BrokenTransferError: see `transfer`.
    """
    data = task.load()
    data.shards.verify()
    parts = [task.folded(data, fold) for fold in every_fold(len(starts))]
    name = pretraining if mode in TRANSFERRED else "none"
    expected = [
        run_key(
            study="transfer",
            task=task.name,
            mode=mode,
            pretraining=name,
            n_train=n_train,
            seed=seed,
            config=at_size(run_digest(start, task, part, mode, how), task, n_train),
        )
        for start, part in zip(starts, parts, strict=True)
    ]
    places = [out / part.fold.name for part in parts if part.fold is not None]
    _check_foreign(out, len(starts))
    records = [_finished(place, key, name) for place, key in zip(places, expected, strict=True)]
    for part, record in zip(parts, records, strict=True):
        if record is None:  # too few events of the last fold are told before the first is trained
            task.labelled(part, n_train, seed)
    for i, (start, part, place) in enumerate(zip(starts, parts, places, strict=True)):
        records[i] = records[i] or transfer(
            start,
            task,
            mode,
            n_train=n_train,
            seed=seed,
            how=how,
            out=place,
            data=part,
            keep_checkpoint=True,
            allow_overlap=allow_overlap,
            pretraining=pretraining,
            label=f"{label}, {part.fold}" if label else None,
        )
    done = FoldedTransfer([r for r in records if r], _measure(task, data, parts, out))
    _write(done, mode, places, out)
    return done


def _finished(place: Path, key: str, name: str) -> Record | None:
    """Return the Record of a finished fold, whatever its checkpoint was called; written last."""
    record = recorded_run(place)
    if record is not None and record.model_copy(update={"pretraining": name}).key() != key:
        raise ConfigError(
            f"{place}: holds a run of other settings, data or weights. Choose another --out, or "
            f"remove that directory and {place.parent / FOLDS}."
        )
    return record


def _check_foreign(out: Path, folds: int) -> None:
    known = FoldSet.read(out)
    if known is not None and known.n != folds:
        raise ConfigError(f"{out}: holds {known.n} folds, not {folds}. Choose another --out.")
    if (out / "record.json").exists():
        raise ConfigError(f"{out}: holds a run without folds. Choose another --out.")


def _measure(
    task: Task, data: TaskData, parts: Sequence[TaskData], out: Path
) -> dict[str, Measurement]:
    """Join the scores of the folds, and measure them as one set."""
    folds = [part.fold for part in parts if part.fold is not None]  # all: Task.folded
    found = [
        _scores(out / fold.name / "scores.npz", len(part.test))
        for part, fold in zip(parts, folds, strict=True)
    ]
    scores = np.full(
        (len(data.target), *found[0].shape[1:]), np.nan
    )  # of many classes a column each
    number = np.full(len(data.target), -1, np.int16)
    for part, fold, kept in zip(parts, folds, found, strict=True):
        scores[part.test], number[part.test] = kept, fold.number
    rows = np.flatnonzero(number >= 0).astype(np.int64)
    with atomic_path(out / SCORES) as temporary:
        np.savez_compressed(
            temporary,
            score=scores[rows].astype(np.float32),
            target=data.target[rows].astype(np.int8),
            weight=data.weight[rows].astype(np.float32),
            fold=number[rows],
        )
    return task.evaluate(scores[rows], data, rows)[0]


def _scores(file: Path, n: int) -> NDArray[np.float32]:
    with np.load(file) as content:
        scores: NDArray[np.float32] = content["test_score"]
    if len(scores) != n:
        raise DataError(f"{file}: holds {len(scores)} scores for {n} events.")
    return scores


def _write(done: FoldedTransfer, mode: Mode, places: Sequence[Path], out: Path) -> None:
    first = done.records[0]
    facts = {
        **{name: getattr(first, name) for name in ("task", "mode", "n_train", "seed")},
        **done.to_dict(),
        **run_facts(),
    }
    kept = [] if mode == "trees" else [f"{place.name}/checkpoint" for place in places]
    FoldSet.of(out, len(places), kept, facts).write(out)
