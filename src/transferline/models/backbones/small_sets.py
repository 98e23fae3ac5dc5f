r"""Attention within small sets that stand end to end: what its kernels have in common.

Whatever scores the pairs of a set, then $\alpha_{ij} = \mathrm{softmax}_j(e_{ij})$ and
$o_i = \sum_j \alpha_{ij} v_j$. Backwards, with $g_i$ the gradient of $o_i$, that of $v_j$ is
$\sum_i \alpha_{ij} g_i$ and that of $e_{ij}$ is
$\alpha_{ij} (g_i \cdot v_j - \sum_k \alpha_{ik}\, g_i \cdot v_k)$.

The functions take whole arrays and numbers, not rows: a view made for every pair would double the
time. The values of set and head are `rows[first + j, part, h]` of `rows [t, parts, h, d]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from transferline.compilation import compiled

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """Where sets of so many tokens begin.

    The tables of one head, `[count, count]` each, stand row by row, one set after the other.

    Attributes:
        starts: `[n + 1]` first token of each set, and the number of tokens.
        pairs: `[n + 1]` first pair of each set, and the number of pairs.
        most: tokens of the largest set.
    """

    starts: NDArray[np.int64]
    pairs: NDArray[np.int64]
    most: int

    @classmethod
    def of(cls, counts: Tensor) -> Layout:
        """Lay out sets of `counts [n]` tokens, int64, on the CPU."""
        sizes = counts.numpy()
        return cls(_bounds(sizes), _bounds(sizes * sizes), int(sizes.max(initial=0)))


def _bounds(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))


@compiled(nogil=True, fastmath=True, error_model="numpy")
def mix(  # noqa: PLR0917  numba takes no keyword-only arguments
    table: Array, rows: Array, part: int, first: int, h: int, out: Array
) -> Any:
    """Make weights of the scores in `table [count, count]`, and add to `out [t, h, d]`."""
    size, width = len(table), rows.shape[3]
    for i in range(size):
        top = table[i, 0]
        for j in range(1, size):
            top = max(top, table[i, j])
        total = np.float32(0.0)
        for j in range(size):
            table[i, j] = np.exp(table[i, j] - top)
            total += table[i, j]
        for j in range(size):
            table[i, j] /= total
            weight = table[i, j]
            for d in range(width):
                out[first + i, h, d] += weight * rows[first + j, part, h, d]


@compiled(nogil=True, fastmath=True, error_model="numpy")
def mix_backward(  # noqa: PLR0917  numba takes no keyword-only arguments
    table: Array,
    rows: Array,
    part: int,
    first: int,
    h: int,
    grad: Array,
    grad_rows: Array,
    scores: Array,
) -> Any:
    """Add the gradient of the values to `grad_rows`, write that of the scores to `scores`.

    `table` holds the weights, `grad [t, h, d]` the gradient of the outputs; `scores` is at least
    `[count, count]`.
    """
    size, width = len(table), rows.shape[3]
    for i in range(size):
        mean = np.float32(0.0)
        for j in range(size):
            dot = np.float32(0.0)
            weight = table[i, j]
            for d in range(width):
                g = grad[first + i, h, d]
                dot += g * rows[first + j, part, h, d]
                grad_rows[first + j, part, h, d] += weight * g
            scores[i, j] = dot
            mean += weight * dot
        for j in range(size):
            scores[i, j] = table[i, j] * (scores[i, j] - mean)
