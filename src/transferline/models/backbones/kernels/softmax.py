"""The softmax of columns, eight side by side: nothing has to be added up across lanes."""

from __future__ import annotations

from typing import Any

import numpy as np

from transferline.compilation import compiled
from transferline.models.backbones.kernels.elementary import exp
from transferline.models.backbones.kernels.lanes import (
    add,
    every,
    larger,
    load,
    multiply,
    store,
    subtract,
)
from transferline.models.backbones.kernels.products import Array

f4 = np.float32


@compiled(nogil=True, error_model="numpy")
def exp_down(table: Array, rows: int, columns: int, sums: Array) -> Any:
    """Turn `table [rows, columns]` into e^(x - peak of its column), in place, and add up columns.

    The division is left to what is made of the table, which is smaller. `columns` is a multiple
    of 8.
    """
    for c in range(0, columns, 8):
        top, total = every(f4(-3e38)), every(f4(0.0))
        for i in range(c, c + rows * columns, columns):
            top = larger(top, load(table, i))
        for i in range(c, c + rows * columns, columns):
            weight = exp(subtract(load(table, i), top))
            total = add(total, weight)
            store(table, i, weight)
        store(sums, c, total)


@compiled(nogil=True, error_model="numpy")
def divide_rows(  # noqa: PLR0917  numba takes no keyword-only arguments
    rows: Array, first: int, n: int, width: int, stride: int, sums: Array
) -> Any:
    """Divide each of n rows of `width`, `stride` apart, by its sum, in place."""
    for i in range(n):
        factor = every(f4(1.0) / sums[i])
        for c in range(first + i * stride, first + i * stride + width, 8):
            store(rows, c, multiply(load(rows, c), factor))
