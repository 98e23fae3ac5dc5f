"""transfer(): a checkpoint, a task, a mode, a number of labels and a seed in; a Record out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.errors import ConfigError, DataError
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.records import TRANSFERRED, Cost, Hashes, Record
from transferline.files import alone_in, atomic_path, resolved
from transferline.learning.attention import attention_by_kind
from transferline.learning.baselines import BoostedTrees, Labelled, Trees, boosted_trees
from transferline.learning.class_sums import absolute, every_class
from transferline.learning.independence import check_test_events
from transferline.learning.kept_model import (
    CHECKPOINT,
    begin_run,
    check_run_place,
    end_run,
    finished_run,
    is_run,
    kept_model,
)
from transferline.learning.modes import MODES, BrokenTransferError, Mode, adapts
from transferline.learning.network_run import Adaptation, NetworkRun, Trial
from transferline.learning.optim import Optim
from transferline.learning.per_event import EventTable
from transferline.learning.probe import embedder
from transferline.learning.run_digest import at_size, run_digest
from transferline.learning.shared_tables import embedding_table, engineered_table
from transferline.learning.source_facts import source_facts
from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import LabelledRows, Rows
from transferline.learning.training_log import history
from transferline.models.checkpoint import Checkpoint
from transferline.models.model import Model
from transferline.progress import say
from transferline.provenance import run_facts

_TRAIN_SCORES = 20_000  # a comparison of train and test scores needs no more

Score = Callable[[Rows], NDArray[np.float64]]


class StaleError(DataError):
    """A process has kept weights or data that were replaced since it read them."""


@dataclass(frozen=True)
class _Outcome:
    score: Score
    examples_seen: int
    steps: int
    hashes: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Measurement] = field(default_factory=dict)
    trial: Trial | None = None


def transfer(
    checkpoint: Checkpoint | None,
    task: Task,
    mode: Mode,
    *,
    n_train: int,
    seed: int,
    how: Adaptation | Trees,
    out: Path,
    data: TaskData | None = None,
    tables: Path | None = None,
    keep_checkpoint: bool = False,
    allow_overlap: bool = False,
    overwrite: bool = False,
    expected: str | None = None,
    study: str = "transfer",
    pretraining: str = "none",
    scratch: str | None = None,
    label: str | None = None,
) -> Record:
    """Train on `n_train` labelled events in one mode, measure on the test set.

    Writes `scores.npz`, `record.json`, for networks `metrics.jsonl` and `metrics.csv`, and if
    asked `checkpoint/`, to `out`. A run that is finished there is not done again; with `overwrite`
    what it left is removed when this one begins.
    What the modes are and how they are enforced: `modes.py`.

    `scratch` scales its inputs with the constants of the checkpoint's Features, that is with means
    and spreads of the events of the pre-training, so that it differs from `finetuned` in the
    weights alone. No label enters them. A run with nothing of the pre-training at all would fit
    them to its training events; the Record names where they are from (`extra.input_scaling`).

    Args:
        checkpoint: what to transfer; `scratch` takes only its recipe and the constants of its
            Features, `trees` needs none.
        task: the question.
        mode: one of `MODES`.
        n_train: labelled events, all classes together, those that select included.
        seed: of the subset, the head, the order of events and a redrawn backbone.
        how: `Trees` for the mode `trees`, else `Adaptation`.
        out: directory of this run.
        data: `task.load()`, where it is at hand.
        tables: directory of embeddings and engineered features that runs share.
        keep_checkpoint: also save the model with its head.
        allow_overlap: measure a transferred backbone also on test events of its pre-training.
        overwrite: begin anew, whatever run is in `out`.
        expected: hash of all that decides the run, where the caller knows it and `out` is his
            alone: what another run left there is replaced.
        study: name in the Record.
        pretraining: name of the checkpoint in the Record; `none` for scratch, unless a study
            has several architectures.
        scratch: in the Record, the name of the scratch runs that this one compares with.
        label: of the progress bars, or None for none.

    Raises:
        BrokenTransferError: the weights are not those that the mode promises.
        StaleError: the run is not the one that is `expected`; nothing was written.
        ConfigError: the arguments do not fit together, another process works in `out`, or it holds
            another run and `overwrite` is off, or files of somebody else.
        DataError: there are fewer labelled events than `n_train`, or test events were in the
            pre-training.
        NumericalError: the training diverged with every learning rate.
    """
    clock = _Clock()
    _check_arguments(checkpoint, task, mode, how)
    _check_place(checkpoint, out)
    if data is None:
        data = task.load()
        data.shards.verify()
    rows = task.labelled(data, n_train, seed)
    _check_fold(data, rows)
    judged = _independence(checkpoint, task, data, mode, allow_overlap)
    digest = at_size(run_digest(checkpoint, task, data, mode, how), task, n_train)
    if expected not in (None, digest):
        raise StaleError(f"{out}: its settings, weights or data have been replaced since.")
    with alone_in(out, tidy=True):
        if expected is None:
            check_run_place(out, overwrite=overwrite)
        else:
            overwrite = overwrite or not is_run(out, digest, mode, n_train=n_train, seed=seed)
        found = None if overwrite else finished_run(out, digest, mode, n_train=n_train, seed=seed)
        lacks_model = keep_checkpoint and mode != "trees" and not (out / CHECKPOINT).exists()
        if found is not None and not lacks_model:
            name = "none" if mode == "trees" else pretraining
            return _as_it_was(found, name, scratch, out if label is not None else None)
        begin_run(out)
        if isinstance(how, Trees):
            features = engineered_table(task.engineered, data, tables)
            outcome = _run_trees(task, data, rows, how, table=features, seed=seed)
        else:
            assert checkpoint is not None  # _check_arguments
            table = _starting_embeddings(checkpoint, mode, data, how, seed=seed, tables=tables)
            run = NetworkRun(checkpoint, mode, task, data, rows, how, seed, out, table, label)
            outcome = _run_network(run)
        outcome.extra.update(judged)
        if checkpoint is not None and mode in TRANSFERRED:
            outcome.extra.update(source_facts(checkpoint.provenance))
        if scratch is not None:
            outcome.extra["scratch"] = scratch
        record = Record(
            **_identity(checkpoint, task, mode, study=study, pretraining=pretraining),
            **_measure(task, data, rows, outcome, out),
            n_train=n_train,
            seed=seed,
            hashes=Hashes(
                **outcome.hashes,
                config=digest,
                data=data.digest,
                checkpoint=None if mode == "trees" or checkpoint is None else checkpoint.sha256,
            ),
            cost=clock.cost(outcome),
        )
        if keep_checkpoint and outcome.trial is not None and checkpoint is not None:
            model = outcome.trial.model
            kept = kept_model(
                model, start=checkpoint, task=task, record=record, data=data, rows=rows
            )
            kept.save(out / CHECKPOINT)
        end_run(out, record)
    return record


def _as_it_was(found: Record, name: str, scratch: str | None, told: Path | None) -> Record:
    """The Record of a finished run, with its name and the scratch runs to compare with now."""
    if told is not None:
        say(f"{told}: this run is finished; --overwrite does it anew.")
    extra = {name: value for name, value in found.extra.items() if name != "scratch"}
    if scratch is not None:
        extra["scratch"] = scratch
    return found.model_copy(update={"extra": extra, "pretraining": name})


def _check_place(checkpoint: Checkpoint | None, out: Path) -> None:
    """A run that fails must not take its starting point with it."""
    if checkpoint is not None and resolved(checkpoint.place) == resolved(out / CHECKPOINT):
        raise ConfigError(
            f"{out}: holds the checkpoint that this run starts from, and would replace it. Choose "
            "another --out."
        )


def _check_fold(data: TaskData, rows: LabelledRows) -> None:
    """Whatever a task does, no event of the fold may train or choose."""
    used = np.concatenate((rows.fit, rows.select))
    if data.fold is not None and data.fold.holds(data.shards.id[used]).any():
        raise BrokenTransferError(f"labelled events of {data.fold} are among those to train on.")


def _independence(
    checkpoint: Checkpoint | None, task: Task, data: TaskData, mode: Mode, allow: bool
) -> dict[str, Any]:
    """What goes into the Record about test events; other modes have nothing of the weights."""
    extra: dict[str, Any] = {} if data.fold is None else {"fold": asdict(data.fold)}
    if checkpoint is not None and mode in TRANSFERRED:
        extra["pretraining_overlap"] = check_test_events(checkpoint, task, data, allow=allow)
    return extra


class _Clock:
    """Starts when it is made; `transfer` counts everything, measurement included."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def cost(self, outcome: _Outcome) -> Cost:
        return Cost(
            examples_seen=outcome.examples_seen,
            steps=outcome.steps,
            cpu_seconds=time.process_time() - self._cpu,
            wall_seconds=time.monotonic() - self._wall,
        )


def _check_arguments(
    checkpoint: Checkpoint | None, task: Task, mode: Mode, how: Adaptation | Trees
) -> None:
    if mode not in MODES:
        raise ConfigError(f"mode '{mode}' is not one of {', '.join(MODES)}.")
    if (mode == "trees") != isinstance(how, Trees):
        wanted = "Trees" if mode == "trees" else "Adaptation"
        raise ConfigError(f"mode {mode} needs settings of the kind {wanted}.")
    if mode != "trees" and checkpoint is None:
        raise ConfigError(f"mode {mode} needs a checkpoint.")
    if mode == "fixed" and checkpoint is not None and not adapts(checkpoint):
        raise ConfigError(
            "mode fixed: this backbone has no BatchNorm whose running values could adapt; take "
            "mode frozen."
        )
    if isinstance(how, Adaptation) and len(how.lr) > 1 and task.select_share == 0:
        raise ConfigError(
            f"mode {mode}: choosing among {len(how.lr)} learning rates needs held-out labelled "
            "events; give the task a select_share above 0, or one learning rate."
        )


def _starting_embeddings(
    checkpoint: Checkpoint,
    mode: Mode,
    data: TaskData,
    how: Adaptation,
    *,
    seed: int,
    tables: Path | None,
) -> EventTable:
    """Embeddings of the backbone that a run starts with; those of scratch belong to its seed."""
    if mode == "scratch":
        return EventTable(data.shards, embedder(checkpoint.redrawn(seed), how.optim))
    return embedding_table(checkpoint, data, how, tables)


def _run_network(run: NetworkRun) -> _Outcome:
    trial = run.train()
    extra = {
        "lr": trial.lr,
        "grid": run.grid,
        "batch_size": trial.optim.batch_size,
        "steps": trial.result.steps,
        "cap": run.how.sized(len(run.rows.fit)).steps,
        "best_step": trial.result.best_step,
        "best_loss": _finite(trial.result.best_loss),
        "stopped": trial.result.stopped,
        **({"keep": "last"} if run.how.optim.keep == "last" else {}),
        "precision": _precision(trial.optim),
        "input_scaling": "checkpoint",
        "losses": history(run.out / "metrics.jsonl"),
        **_attention(run, trial),
    }
    return _Outcome(
        score=lambda rows: run.scores(trial, rows),
        examples_seen=run.examples_seen,
        steps=run.steps,
        hashes=asdict(trial.hashes),
        extra=extra,
        metrics=_examined(run, trial),
        trial=trial,
    )


def _precision(optim: Optim) -> str:
    """What `auto` meant here: machines differ."""
    return "bfloat16" if optim.bfloat16(optim.torch_device()) else "float32"


def _examined(run: NetworkRun, trial: Trial) -> dict[str, Measurement]:
    """What the task asks of the backbone itself."""
    start = None
    if run.mode != "frozen":
        before = run.checkpoint.redrawn(run.seed) if run.mode == "scratch" else None
        start = embedder(before or run.checkpoint.backbone(), trial.optim)
    # A frozen one was trained on embeddings that come with the batch.
    end = Model(trial.model.features, trial.model.backbone)
    return run.task.examine(start, embedder(end, trial.optim))


def _attention(run: NetworkRun, trial: Trial) -> dict[str, Any]:
    """What the backbone attends to on test events before and after, and in its pre-training."""
    shards, rows = run.data.shards, run.data.test
    end = attention_by_kind(trial.model, shards, rows)
    if end is None:
        return {}
    found: dict[str, Any] = {"end": end}
    if run.mode in TRANSFERRED:
        still = run.mode == "frozen"
        start = end if still else attention_by_kind(run.checkpoint.backbone(), shards, rows)
        found |= {"start": start, "source": run.checkpoint.provenance.get("attention")}
    return {"attention": {name: table for name, table in found.items() if table}}


def _run_trees(
    task: Task, data: TaskData, rows: LabelledRows, how: Trees, *, table: EventTable, seed: int
) -> _Outcome:
    weight = absolute(data)

    def labelled(part: Rows) -> Labelled:
        return Labelled(table(part).numpy(), data.target[part], weight[part])

    found: BoostedTrees = boosted_trees(
        how, labelled(rows.fit), labelled(rows.select), seed, n_classes=task.n_outputs
    )
    return _Outcome(
        score=lambda rows: task.scores(found.scores(table(rows).numpy())),
        examples_seen=found.examples_seen,
        steps=found.trees,
        extra={"grid": found.grid, "rounds": found.rounds, "leaves": found.model.max_leaf_nodes},
    )


def _measure(
    task: Task, data: TaskData, rows: LabelledRows, outcome: _Outcome, out: Path
) -> dict[str, Any]:
    """Score the test set, and write the scores beside some of the training events."""
    test = outcome.score(data.test)
    metrics, replicas = task.evaluate(test, data, data.test)
    metrics = {**metrics, **outcome.metrics}
    extra = {**outcome.extra, "n_fit": len(rows.fit), "n_select": len(rows.select)}
    extra |= task.details(test, data, data.test)
    if every_class(data, data.valid):
        found, _ = task.evaluate(outcome.score(data.valid), data, data.valid)
        extra["valid"] = {key: [_finite(m.value), _finite(m.error)] for key, m in found.items()}
    # Evenly through the draw, which lists class after class.
    train = np.sort(rows.fit[:: -(-len(rows.fit) // _TRAIN_SCORES)])
    with atomic_path(out / "scores.npz") as temporary:
        np.savez_compressed(
            temporary,
            test_score=test.astype(np.float32),
            test_target=data.target[data.test].astype(np.int8),
            test_weight=data.weight[data.test].astype(np.float32),
            train_score=outcome.score(train).astype(np.float32),
            train_target=data.target[train].astype(np.int8),
            train_weight=data.weight[train].astype(np.float32),
        )
    return {"metrics": metrics, "replicas": replicas, "extra": extra}


def _identity(
    checkpoint: Checkpoint | None,
    task: Task,
    mode: Mode,
    *,
    study: str,
    pretraining: str,
) -> dict[str, Any]:
    facts = run_facts()
    transferred = checkpoint is not None and mode in TRANSFERRED
    objective = "none"
    if checkpoint is not None and transferred:
        config = checkpoint.provenance.get("config", {})
        objective = config.get("objective", {}).get("kind", "unknown")
    return {
        "study": study,
        "task": task.name,
        "mode": mode,
        "pretraining": pretraining if transferred or mode == "scratch" else "none",
        "objective": objective,
        "backbone": _backbone(checkpoint, mode),
        "commit": facts["commit"],
        "version": facts["versions"].get("transferline", "unknown"),
        "time": facts["time"],
    }


def _backbone(checkpoint: Checkpoint | None, mode: Mode) -> str:
    if checkpoint is None or mode == "trees":
        return "none"
    return str(checkpoint.recipe.backbone.kind)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
