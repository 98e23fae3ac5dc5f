"""Which sets are computed together: so many that the pairs of their particles fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.data.readers.shards import rounded

MOST_SETS = 1024

MOST_PAIRS = 2**20
"""Places of pairs, n p^2, of one batch. Particle Transformer takes about 1 kB for each."""


def cuts(
    sizes: NDArray[np.integer[Any]], most: int = MOST_SETS, pairs: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yield the places of the sets of each batch, in order; a set of any size is in one.

    Args:
        sizes: particles of each set, `[n]`.
        most: sets in a batch.
        pairs: places of pairs in a batch; `MOST_PAIRS` by default.

    >>> [len(rows) for rows in cuts(np.full(200, 128))]
    [64, 64, 64, 8]
    """
    pairs = pairs or MOST_PAIRS
    low = widest = 0
    for place, size in enumerate(sizes.tolist()):
        wider = max(widest, rounded(size))
        n = place - low + 1
        if n > 1 and (n > most or n * wider**2 > pairs):
            yield np.arange(low, place)
            low, wider = place, rounded(size)
        widest = wider
    if low < len(sizes):
        yield np.arange(low, len(sizes))
