"""What every task promises."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transferline.learning.tasks.base import Task, TaskData
from transferline.learning.tasks.subsets import LabelledRows, Rows
from transferline.testing.expectation import expect

_PERFECT = {"auc": 1.0, "accuracy": 1.0}
_CHANCE = {"auc": 0.5}


def check_task(task: Task, n_train: int = 20) -> None:
    """Check one task on its (small) samples.

    Training pool, validation (if any) and test are disjoint and hold several classes; labelled
    subsets are nested, come from the pool, and depend on the seed only; perfect and random
    scores give the metric values that are known for them.

    Args:
        task: names of its samples replaced by directories (`Task.located`).
        n_train: size of the smaller labelled subset; twice as many must be there.

    Raises:
        ConformanceError: names the broken promise.
    """
    data = task.load()
    _check_split(task, data)
    _check_subsets(task, data, n_train)
    _check_metrics(task, data)


def _check_split(task: Task, data: TaskData) -> None:
    parts = {"training pool": data.pool, "validation": data.valid, "test": data.test}
    rows = np.concatenate(list(parts.values()))
    expect(len(np.unique(rows)) == len(rows), "training pool, validation and test are disjoint")
    expect(len(data.target) == len(data.weight), "there is one weight per row")
    for name, part in parts.items():
        if name == "validation" and not len(part):
            continue  # it may be left out
        classes = set(np.unique(data.target[part]).tolist())
        expect(len(classes) > 1, f"the {name} holds more than one class")
        if task.n_outputs > 1:
            expect(classes <= set(range(task.n_outputs)), "targets are below n_outputs")


def _check_subsets(task: Task, data: TaskData, n_train: int) -> None:
    small, large = task.labelled(data, n_train, 0), task.labelled(data, 2 * n_train, 0)
    expect(len(small) == n_train, "n_train counts all labelled events, all classes together")
    expect(_rows(small) <= _rows(large), "a smaller subset is contained in a larger one")
    expect(_rows(large) <= set(data.pool.tolist()), "labelled events come from the training pool")
    expect(not set(small.fit.tolist()) & set(small.select.tolist()), "fit and select are disjoint")
    expect(_rows(small) == _rows(task.labelled(data, n_train, 0)), "the seed fixes the subset")
    expect(_rows(small) != _rows(task.labelled(data, n_train, 1)), "another seed draws another")
    if task.subset == "balanced":
        counts = np.bincount(data.target[np.concatenate((large.fit, large.select))])
        expect(counts.max() - counts.min() <= 1, "a balanced subset has equally many of each class")


def _rows(labelled: LabelledRows) -> set[int]:
    return {*labelled.fit.tolist(), *labelled.select.tolist()}


def _check_metrics(task: Task, data: TaskData) -> None:
    perfect, _ = task.evaluate(task.scores(_certain(task, data)), data, data.test)
    for name in set(_PERFECT).intersection(perfect):
        close = abs(perfect[name].value - _PERFECT[name]) < 1e-9
        expect(close, f"perfect scores have {name} {_PERFECT[name]}, not {perfect[name].value}")
    random, _ = task.evaluate(task.scores(_chance(task, data.test)), data, data.test)
    known = _CHANCE if task.n_outputs <= 2 else {**_CHANCE, "accuracy": 1 / task.n_outputs}
    for name in set(known).intersection(random):
        found = random[name]
        near = abs(found.value - known[name]) <= 5 * found.error
        expect(near, f"random scores have {name} {known[name]}, not {found.value}+-{found.error}")


def _certain(task: Task, data: TaskData) -> NDArray[np.float64]:
    """Return probability one of the right class, `[n, c]`."""
    certain: NDArray[np.float64] = np.eye(max(task.n_outputs, 2))[data.target[data.test]]
    return certain


def _chance(task: Task, rows: Rows) -> NDArray[np.float64]:
    """Return probabilities that know nothing, `[n, c]`."""
    drawn = np.random.default_rng(0).random((len(rows), max(task.n_outputs, 2)))
    return np.asarray(drawn / drawn.sum(1, keepdims=True))
