"""What a study will cost, printed before it starts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path

import torch

from transferline.data.batch import Batch
from transferline.data.loader import Loader
from transferline.learning.modes import TRAINED, starting_model
from transferline.learning.network_run import Adaptation
from transferline.learning.objectives.base import Objective
from transferline.learning.optim import Optim
from transferline.learning.study_runs import Run
from transferline.learning.tasks.base import TaskData
from transferline.models.checkpoint import Checkpoint

# A pass of the head over a cached embedding, and of a tree over an event, on one core.
_PROBE_SECONDS = 3e-6
_TREE_SECONDS = 2e-7
_TIMED = 4  # batches
_BATCHED = (*TRAINED, "fixed")  # modes that read the events of every batch
_FORWARD_SHARE = 1 / 3  # of the cost of a training pass: forward, without the two backward ones


def training_seconds(checkpoint: Checkpoint, run: Run, data: TaskData) -> float:
    """Measure the CPU seconds per event pass of training, in about a second."""
    assert isinstance(run.how, Adaptation)  # only networks are measured
    optim, task = run.how.optim, run.task
    size = min(optim.batch_size, len(data.pool))
    loader = Loader(  # of all events, so that batches are sorted as in training
        data.shards, data.pool, size, target=data.target, weight=data.training_weight
    )
    with torch.random.fork_rng(devices=[]):
        model = starting_model(checkpoint, "scratch", task.head, task.n_outputs, seed=0)
        objective = run.how.objective.build(model)
        seconds = [
            _step_seconds(objective, batch, optim) for batch in islice(loader.batches(0), _TIMED)
        ]
    return min(seconds) / size


def _step_seconds(objective: Objective, batch: Batch, optim: Optim) -> float:
    start = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=optim.bfloat16(torch.device("cpu"))):
        loss = objective(batch).total
    loss.backward()
    objective.zero_grad()
    return time.process_time() - start


def run_seconds(run: Run, data: TaskData, per_pass: float) -> float:
    """Estimate the CPU seconds of one run, its measurement on the test set included."""
    if run.mode == "trees":
        per_round = run.task.n_outputs if run.task.n_outputs > 2 else 1
        return run.examples() * per_round * _TREE_SECONDS + 2.0
    if run.mode == "frozen":
        return run.examples() * _PROBE_SECONDS + 2.0
    scored = len(data.test) + len(data.valid)
    trained = run.examples() * (1.0 if run.mode in TRAINED else _FORWARD_SHARE)
    return (trained + scored * _FORWARD_SHARE) * per_pass


def budget_lines(
    runs: Sequence[Run], data: Mapping[str, TaskData], jobs: int
) -> tuple[list[str], float]:
    """Return a table for people, one row per mode and size, and the total in CPU hours.

    Args:
        runs: what is to be done.
        data: task -> its events.
        jobs: processes that do it.
    """
    speed = _speeds(runs, data)
    rows = []
    for part in _by_cell(runs):
        seconds = sum(run_seconds(r, data[r.task.name], speed[r.checkpoint]) for r in part)
        largest = max(part, key=Run.examples)
        rows.append((largest, len(part), seconds / 3600))
    total = sum(hours for _, _, hours in rows)
    lines = [f"{_HEADER}{'CPU hours':>11}"]
    lines += [f"{_row(run, count)}{hours:>11.2f}" for run, count, hours in rows]
    lines.append(f"in all {len(runs)} runs, about {total:.2f} CPU hours on {jobs} process(es)")
    return lines, total


def memory_lines(runs: Sequence[Run], data: Mapping[str, TaskData]) -> list[str]:
    """Return, for each task that trains networks, what the batches of one process take at most."""
    lines = []
    for name, events in data.items():
        hows = [run.how for run in runs if run.task.name == name and run.mode in _BATCHED]
        sizes = [how.optim.batch_size for how in hows if isinstance(how, Adaptation)]
        if sizes:
            loader = Loader(events.shards, events.pool, max(sizes), target=events.target)
            lines.append(f"{name}, each process: {loader.memory}")
    return lines


def _speeds(runs: Sequence[Run], data: Mapping[str, TaskData]) -> dict[Path | None, float]:
    """CPU seconds per event pass of every architecture that is to be trained as a whole."""
    found: dict[Path | None, float] = dict.fromkeys((run.checkpoint for run in runs), 0.0)
    measured: dict[str, float] = {}
    for run in runs:
        if run.checkpoint is None or run.mode not in _BATCHED or found[run.checkpoint]:
            continue
        checkpoint = Checkpoint.load(run.checkpoint)
        recipe = checkpoint.recipe.digest()
        if recipe not in measured:
            measured[recipe] = training_seconds(checkpoint, run, data[run.task.name])
        found[run.checkpoint] = measured[recipe]
    return found


_HEADER = "mode        n_train  runs  event passes per run"


def _row(run: Run, count: int) -> str:
    return f"{run.mode:<10}{run.n_train:>9}{count:>6}{run.examples():>22,}"


def _by_cell(runs: Sequence[Run]) -> list[list[Run]]:
    def cell(run: Run) -> tuple[int, str]:
        return run.n_train, run.mode

    return [list(group) for _, group in groupby(sorted(runs, key=cell), key=cell)]
