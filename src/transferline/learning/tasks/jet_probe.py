"""Does a backbone know the class of a jet? A linear probe on its embedding of single jets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from transferline.config import Recipe
from transferline.data.events import unit_interval
from transferline.data.readers.shards import ShardSet
from transferline.errors import DataError
from transferline.evaluation.measurement import Measurement
from transferline.evaluation.metrics import evaluate
from transferline.learning.tasks.base import Embed
from transferline.learning.tasks.subsets import Rows

_AT_ONCE = 256  # jets in one pass
_STEPS = 300


class JetProbe(Recipe):
    """Logistic regression on standardised embeddings, fitted on one half, measured on the other.

    No label of these jets enters the training that is probed.

    Attributes:
        signal, background: samples of single jets.
        n: jets of each of the two, the first of the shards, as many of each sample as there can be.
    """

    signal: list[str] = Field(min_length=1)
    background: list[str] = Field(min_length=1)
    n: int = Field(4000, gt=1)

    def samples(self) -> list[str]:
        """Return the samples, signal first."""
        return [*self.signal, *self.background]

    def located(self, places: Mapping[str, str]) -> Self:
        """Return the probe with directories in place of names of samples."""
        return self.model_copy(
            update={
                "signal": [places[name] for name in self.signal],
                "background": [places[name] for name in self.background],
            }
        )

    def content_hash(self) -> str:
        """Return the hash of its jets."""
        return ShardSet([Path(name) for name in self.samples()]).content_hash

    def auc(self, embed: Embed) -> Measurement:
        """Return the AUC of the probe, with the error of its own test jets.

        Raises:
            DataError: there are too few jets.
        """
        shards, rows, test = self._drawn()
        target = self._target(shards)[rows]
        if any(len(np.unique(target[part])) < 2 for part in (test, ~test)):
            raise DataError("jet_probe: too few jets of one class; generate more.")
        x = _embedded(shards, rows, embed)
        return evaluate(_scores(x, target, ~test)[test], target[test], np.ones(test.sum()))["auc"]

    def measured(self) -> tuple[ShardSet, Rows]:
        """Return the jets that `auc` is measured on: the half that the probe is not fitted on."""
        shards, rows, test = self._drawn()
        return shards, rows[test]

    def _drawn(self) -> tuple[ShardSet, Rows, NDArray[np.bool_]]:
        """The jets, and which of them measure."""
        shards = ShardSet([Path(name) for name in self.samples()])
        target = self._target(shards)
        of_class = (np.flatnonzero(target == label) for label in (0, 1))
        rows = np.concatenate([_evenly(rows, shards)[: self.n] for rows in of_class])
        return shards, rows, unit_interval(np.asarray(shards.hash)[rows]) < 0.5

    def _target(self, shards: ShardSet) -> NDArray[np.int64]:
        return (np.asarray(shards.source) < len(self.signal)).astype(np.int64)


def _evenly(rows: Rows, shards: ShardSet) -> Rows:
    """The rows with the first of every sample in front, then the second ones."""
    source = np.asarray(shards.source)[rows]
    rank = np.empty(len(rows), np.int64)
    for sample in np.unique(source):
        mine = source == sample
        rank[mine] = np.arange(mine.sum())
    return rows[np.lexsort((source, rank))]


def _embedded(shards: ShardSet, rows: Rows, embed: Embed) -> NDArray[np.float64]:
    """Embed jets of similar lengths together."""
    order = np.argsort(shards.lengths[rows], kind="stable")
    parts = np.array_split(order, max(1, -(-len(order) // _AT_ONCE)))
    found = np.concatenate([embed(shards, rows[part]).double().numpy() for part in parts])
    back = np.empty_like(found)
    back[order] = found
    return back


def _scores(
    x: NDArray[np.float64], target: NDArray[np.int64], fit: NDArray[np.bool_]
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    spread = x[fit].std(axis=0)
    # What does not vary tells nothing, and must not be divided by.
    scaled = (x - x[fit].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    model = LogisticRegression(max_iter=_STEPS, tol=1e-3).fit(scaled[fit], target[fit])
    found: NDArray[np.float64] = model.decision_function(scaled)
    return found
