"""Which events of some shards a pre-training takes, and which only validate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.data.events import unit_interval
from transferline.data.folds import Fold
from transferline.data.readers.shards import ShardSet
from transferline.errors import DataError

Rows = NDArray[np.int64]

_SHORT = 40  # particles; events have fewer, most jets more

FIT_ROWS = 20_000
"""Events from which the constants of Features are taken."""


def source_rows(
    shards: ShardSet,
    files: Sequence[str],
    *,
    seed: int,
    n_train: int | None,
    valid_share: float,
    fold: Fold | None = None,
) -> tuple[Rows, Rows]:
    """Rows to train on (a prefix of a seeded permutation) and, by hash, rows to validate on.

    Raises:
        DataError: `files`, those of the shards, hold fewer events than are wanted, or none.
    """
    is_valid = unit_interval(shards.hash) < valid_share
    free = np.ones(len(shards), dtype=bool) if fold is None else ~fold.holds(shards.id)
    pool = np.flatnonzero(free & ~is_valid).astype(np.int64)
    wanted = len(pool) if n_train is None else n_train
    if wanted > len(pool) or not len(pool):
        raise DataError(
            f"{', '.join(files)}: hold {len(pool)} events outside the validation "
            f"share{f' and {fold}' if fold else ''}, {wanted} are wanted. Prepare more, or lower "
            "n_train."
        )
    order = np.random.default_rng(seed).permutation(pool)[:wanted]
    return np.sort(order), np.flatnonzero(free & is_valid).astype(np.int64)


def by_length(shards: ShardSet, rows: Rows) -> Rows:
    """Return the rows in the order of their lengths where padding would cost much.

    Sets of a few objects keep theirs, so that their sums come out as they always did.
    """
    lengths = shards.lengths[rows]
    return rows[np.argsort(lengths, kind="stable")] if long_sets(lengths) else rows


def long_sets(lengths: NDArray[np.integer[Any]]) -> bool:
    """Whether sets of these lengths are so long that padding costs much: jets, not events."""
    return bool(lengths.max(initial=0) > _SHORT)


def mixed(rows: Rows) -> Rows:
    """Return the rows in an order by chance, the same one every time."""
    return np.random.default_rng(len(rows)).permutation(rows)


def evenly(rows: Rows, most: int) -> Rows:
    """Return every k-th row, at most `most`: samples stand one after the other in them.

    In row order: constants that come from them must not depend on anything random.
    """
    return rows[:: -(-len(rows) // most)]
