"""The kernel that cuts rows of particles out of shards into zero-padded arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.compilation import compiled


@compiled(nogil=True)
def gather_rows(  # noqa: PLR0917  numba takes no keyword-only arguments
    offsets: NDArray[np.int32],
    values: NDArray[np.float32],
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
    p4: NDArray[np.float32],
    columns: NDArray[np.float32],
    is_real: NDArray[np.bool_],
) -> Any:
    """Copy the particles of `rows` (of one record batch) to the places `places` of the output.

    Args:
        offsets: `[m + 1]` bounds of the events in `values`.
        values: `[particles, F]`.
        rows: `[k]` rows of the record batch.
        places: `[k]` rows of the output.
        p4: `[n, width, 4]`, zero on entry.
        columns: `[F - 4, n, width]`, zero on entry.
        is_real: `[n, width]`, False on entry.
    """
    n_columns = columns.shape[0]
    for k in range(len(rows)):
        start, stop = offsets[rows[k]], offsets[rows[k] + 1]
        place = places[k]
        for j in range(stop - start):
            is_real[place, j] = True
            for c in range(4):
                p4[place, j, c] = values[start + j, c]
        # Column by column: written in turns, columns that lie multiples of 4 kB apart would drive
        # each other out of the cache.
        for c in range(n_columns):
            for j in range(stop - start):
                columns[c, place, j] = values[start + j, 4 + c]
