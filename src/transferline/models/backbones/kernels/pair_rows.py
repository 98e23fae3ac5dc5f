"""The features of all pairs within sets, row by row: `pair_features` without indices of pairs.

With `published` every operation is that of `pair_features`, in its order: nothing is contracted
to a fused multiplication and addition, so that the rounding is the same, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferline.compilation import compiled
from transferline.models.backbones.kernels.packed import flat
from transferline.models.backbones.kernels.products import Array

WIDTH = 8  # of a row: four features, and zeros

f4 = np.float32
_FLOOR, _PI, _TURN = f4(1e-8), f4(math.pi), f4(2 * math.pi)


@compiled(inline="always")
def _floored(x: Any) -> Any:
    return _FLOOR if x < _FLOOR else x  # this order keeps NaN


@compiled(nogil=True, error_model="numpy")
def _published_mass2(columns: Array, t: int, a: int, b: int) -> Any:
    energy = columns[4 * t + a] + columns[4 * t + b]
    px = columns[5 * t + a] + columns[5 * t + b]
    py = columns[6 * t + a] + columns[6 * t + b]
    pz = columns[7 * t + a] + columns[7 * t + b]
    return energy * energy - (px * px + py * py + pz * pz)


@compiled(nogil=True, error_model="numpy")
def _stable_mass2(  # noqa: PLR0917  numba takes no keyword-only arguments
    columns: Array, t: int, a: int, b: int, rapidity: float, angle: float
) -> Any:
    pt_a, pt_b = columns[a], columns[b]
    square_a, square_b = columns[3 * t + a] ** 2, columns[3 * t + b] ** 2
    transverse = np.sqrt((square_a + pt_a * pt_a) * (square_b + pt_b * pt_b))
    momenta = pt_a * pt_b
    above = square_a * (pt_b * pt_b) + square_b * (pt_a * pt_a) + square_a * square_b
    sinh, sin = np.sinh(f4(0.5) * rapidity), np.sin(f4(0.5) * angle)
    apart = transverse * (sinh * sinh) + momenta * (sin * sin)
    return square_a + square_b + f4(2.0) * above / _floored(transverse + momenta) + f4(4.0) * apart


@compiled(nogil=True, error_model="numpy")
def _fill(columns: Array, t: int, starts: NDArray[np.int64], published: bool, out: Array) -> Any:
    row = 0
    for s in range(len(starts) - 1):
        for a in range(starts[s], starts[s + 1]):
            for b in range(starts[s], a + 1):
                rapidity = columns[t + a] - columns[t + b]
                angle = columns[2 * t + a] - columns[2 * t + b] + _PI
                # The remainder of what lies between -pi and 3 pi.
                angle = angle - _TURN if angle >= _TURN else angle
                angle = (angle + _TURN if angle < 0 else angle) - _PI
                delta = np.sqrt(rapidity * rapidity + angle * angle)
                softer = min(columns[a], columns[b])
                if published:
                    mass2 = _published_mass2(columns, t, a, b)
                else:
                    mass2 = _stable_mass2(columns, t, a, b, rapidity, angle)
                out[row] = np.log(_floored(softer * delta))
                out[row + 1] = np.log(_floored(softer / _floored(columns[a] + columns[b])))
                out[row + 2] = np.log(_floored(delta))
                out[row + 3] = np.log(_floored(mass2))
                for k in range(4, WIDTH):
                    out[row + k] = f4(0.0)
                row += WIDTH


def pair_rows(columns: Tensor, counts: Tensor, published: bool) -> Tensor:
    """Return features of the pairs a >= b within sets of `counts [n]` rows, `[pairs, 8]`.

    Args:
        columns: `[t, 8]` of `pair_columns`, float32 on the CPU; phi within -pi and pi.
        counts: `[n]` rows of each set.
        published: see `pair_features`.
    """
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts.numpy())))
    out = torch.empty(int((counts * (counts + 1)).sum()) // 2, WIDTH, dtype=torch.float32)
    _fill(flat(columns.t().contiguous()), len(columns), starts, published, flat(out))
    return out
