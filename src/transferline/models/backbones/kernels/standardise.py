r"""LayerNorm without scale and offset, of one row: $\hat x = (x - \bar x) / \sqrt{s^2 + \epsilon}$.

Backwards, with $\bar{}$ the mean over the row,
$g_x = (\hat g - \overline{\hat g} - \hat x\, \overline{\hat g \hat x}) / \sqrt{s^2 + \epsilon}$.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transferline.compilation import compiled
from transferline.models.backbones.kernels.lanes import (
    add,
    every,
    fma,
    load,
    multiply,
    store,
    subtract,
    total,
)
from transferline.models.backbones.kernels.products import Array

f4 = np.float32


@compiled(nogil=True, error_model="numpy")
def standardise(rows: Array, first: int, width: int, eps: float) -> Any:
    """Standardise `rows[first : first + width]` in place; return the factor."""
    one = f4(1.0) / f4(width)
    sums = every(f4(0.0))
    for i in range(first, first + width, 8):
        sums = add(sums, load(rows, i))
    mean = every(total(sums) * one)
    sums = every(f4(0.0))
    for i in range(first, first + width, 8):
        x = subtract(load(rows, i), mean)
        sums = fma(x, x, sums)
    factor = f4(1.0) / np.sqrt(total(sums) * one + f4(eps))
    for i in range(first, first + width, 8):
        store(rows, i, multiply(subtract(load(rows, i), mean), every(factor)))
    return factor


@compiled(nogil=True, error_model="numpy")
def standardise_backward(  # noqa: PLR0917  numba takes no keyword-only arguments
    grad: Array, first: int, width: int, x: Array, x0: int, factor: float
) -> Any:
    """Turn `grad` of the standardised row `x[x0 : x0 + width]` into that of the row, in place."""
    one = f4(1.0) / f4(width)
    sums, products = every(f4(0.0)), every(f4(0.0))
    for i in range(0, width, 8):
        g = load(grad, first + i)
        sums, products = add(sums, g), fma(g, load(x, x0 + i), products)
    mean, slope = every(total(sums) * one), every(f4(0.0) - total(products) * one)
    for i in range(0, width, 8):
        g = fma(slope, load(x, x0 + i), subtract(load(grad, first + i), mean))
        store(grad, first + i, multiply(g, every(f4(factor))))
