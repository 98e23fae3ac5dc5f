"""Subsets of labelled events: nested prefixes of a permutation redrawn per seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transferline.errors import DataError

SELECTING = 5000
"""Labelled events that select at most, see `hold_out`."""

Rows = NDArray[np.int64]
Subset = Literal["balanced", "natural"]


@dataclass(frozen=True)
class LabelledRows:
    """The `n_train` labelled events of one run, in two disjoint parts.

    Attributes:
        fit: rows that the weights are fitted on.
        select: rows that choose among weights: early stopping, learning rate, tree settings.
    """

    fit: Rows
    select: Rows

    def __len__(self) -> int:
        return len(self.fit) + len(self.select)


def draw(pool: Rows, target: NDArray[np.int64], n_train: int, seed: int, subset: Subset) -> Rows:
    """Return `n_train` rows of `pool`, all classes together.

    `balanced` gives every class the same number of events (class 0 gets the odd ones),
    `natural` draws from the pool as it is. For one seed a smaller subset is contained in every
    larger one.

    Args:
        pool: rows to draw from.
        target: class of every row of the data set, indexed by row.
        n_train: how many.
        seed: of the permutation.
        subset: see above.

    Raises:
        DataError: the pool, or one class of it, is too small; names how many there are.
    """
    order = np.sort(pool)  # the same events in another order of files give the same subset
    if subset == "natural":
        shuffled = np.random.default_rng(seed).permutation(order)
        return _prefix(shuffled, n_train, n_train, "in the training pool")
    classes = np.unique(target[order])
    parts = []
    for i, label in enumerate(classes):
        rows = order[target[order] == label]
        # A generator per class: the draw of one class does not depend on the size of another.
        shuffled = np.random.default_rng([seed, int(label)]).permutation(rows)
        share = n_train // len(classes) + (i < n_train % len(classes))
        parts.append(_prefix(shuffled, share, n_train, f"of class {label} in the training pool"))
    return np.concatenate(parts)


def _prefix(shuffled: Rows, share: int, n_train: int, where: str) -> Rows:
    if share > len(shuffled):
        raise DataError(
            f"n_train = {n_train} (all classes together) needs {share} events {where}, there are "
            f"{len(shuffled)}. Lower n_train, or prepare more events."
        )
    return shuffled[:share]


def fitted(n_train: int, share: float) -> int:
    """Return how many of `n_train` events `hold_out` leaves to fit, but for rounding."""
    return n_train - min(round(share * n_train), SELECTING)


def hold_out(
    rows: Rows, target: NDArray[np.int64], share: float, subset: Subset = "balanced"
) -> LabelledRows:
    """Split drawn rows into a part to fit and a part, `share` of every class, to select with.

    `SELECTING` of all classes together are enough: of many labels the others are better fitted, and
    every validation reads them all. They are mixed as the drawn ones: equally many of each class
    of `balanced` rows, the first ones of `natural` rows. An event's part depends only on what was
    drawn before it, so both parts are nested too.
    """
    select = np.zeros(len(rows), dtype=bool)
    labels = np.unique(target[rows])
    for label in labels:
        place = np.flatnonzero(target[rows] == label)
        count = np.floor(np.arange(len(place) + 1) * share + 1e-9)
        if subset == "balanced":
            count = count.clip(max=SELECTING // len(labels))
        select[place] = np.diff(count) > 0
    if subset == "natural":  # as they were shuffled: the mixture of the pool
        select[np.flatnonzero(select)[SELECTING:]] = False
    return LabelledRows(fit=rows[~select], select=rows[select])
