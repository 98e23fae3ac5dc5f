r"""The network from the features of a pair to one bias per head, block by block in the cache.

Linear, BatchNorm and GELU for each size: with $u_l = s_l \odot z_l + t_l$ the BatchNorm of layer l
as scale and offset, $z_{l+1} = W_{l+1}\, \mathrm{GELU}(u_l)$; before the first layer there is a
BatchNorm only. In evaluation all layers of a block of pairs follow each other without leaving the
cache. In training the statistics of a layer are those of all pairs, so one layer of all pairs
follows the other; the way back computes them again, when the rest of the network needs no memory.
Backwards,
$g_z = s (g_u - \overline{g_u} - \hat z\, \overline{g_u \hat z})$, where the means
over all pairs are there once the layer above is done; without statistics of its own,
$g_z = s\, g_u$. Biases of layers are part of the offsets $t$ and get no gradient here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferline.compilation import compiled
from transferline.models.backbones.kernels.elementary import gelu, gelu_and_slope
from transferline.models.backbones.kernels.lanes import (
    add,
    every,
    fma,
    load,
    multiply,
    store,
    subtract,
)
from transferline.models.backbones.kernels.products import Array, pack, product

BLOCK = 96  # pairs that pass all steps together, in the cache
_GAP = 16

Sums = NDArray[np.float64]
f4 = np.float32


@compiled(nogil=True, error_model="numpy")
def activated(  # noqa: PLR0917  numba takes no keyword-only arguments
    z: Array, first: int, n: int, scale: Array, offset: Array, bends: bool, out: Array, stride: int
) -> Any:
    """Scale, offset and (if it `bends`) GELU of n rows."""
    width = len(scale)
    for c in range(0, width, 8):
        s, t = load(scale, c), load(offset, c)
        for i in range(n):
            u = fma(load(z, first + i * width + c), s, t)
            store(out, i * stride + c, gelu(u) if bends else u)


@compiled(nogil=True, error_model="numpy")
def _collect(  # noqa: PLR0917
    z: Array, first: int, n: int, width: int, before: int, statistics: Sums
) -> Any:
    """Merge n rows into mean and sum of squared distances `statistics [2, width]` of `before`."""
    for c in range(0, width, 8):
        sums = every(f4(0.0))
        for i in range(n):
            sums = add(sums, load(z, first + i * width + c))
        mean = multiply(sums, every(f4(1.0) / f4(n)))
        squares = every(f4(0.0))
        for i in range(n):
            x = subtract(load(z, first + i * width + c), mean)
            squares = fma(x, x, squares)
        means, spreads = np.empty(8, np.float32), np.empty(8, np.float32)
        store(means, 0, mean)
        store(spreads, 0, squares)
        for k in range(8):
            step = means[k] - statistics[0, c + k]
            statistics[0, c + k] += step * n / (before + n)
            statistics[1, c + k] += spreads[k] + step * step * before * n / (before + n)


@compiled(nogil=True, error_model="numpy")
def collect(z: Array, rows: int, statistics: Sums) -> Any:
    """Mean and sum of squared distances of the columns of all rows."""
    width = statistics.shape[1]
    for r in range(0, rows, BLOCK):
        _collect(z, r * width, min(BLOCK, rows - r), width, r, statistics)


@compiled(nogil=True, error_model="numpy")
def layer_forward(  # noqa: PLR0917
    z: Array, pairs: int, scale: Array, offset: Array, bends: bool, weight: Array, out: Array,
    statistics: Sums,
) -> Any:  # fmt: skip
    """z_(l+1) of all pairs, and mean and sum of squared distances of its columns."""
    width = len(scale)
    outputs = len(weight) // width
    panels = np.empty(width * ((outputs + 15) // 16 * 16), np.float32)
    pack(weight, 0, 1, width, width, outputs, panels)
    stride = width + _GAP
    block, nothing = np.empty(BLOCK * stride, np.float32), np.zeros(outputs, np.float32)
    for r in range(0, pairs, BLOCK):
        n = min(BLOCK, pairs - r)
        activated(z, r * width, n, scale, offset, bends, block, stride)
        product(
            block, 0, stride, 1, n, panels, 0, 16, width, outputs, width,
            nothing, 0, 0, out, r * outputs, outputs,
        )  # fmt: skip
        _collect(out, r * outputs, n, outputs, r, statistics)


@compiled(nogil=True, error_model="numpy")
def all_layers(  # noqa: PLR0917
    x: Array, pairs: int, widths: NDArray[np.int64], scales: Array, offsets: Array,
    weights: Array, bends_last: bool, out: Array,
) -> Any:  # fmt: skip
    """Every layer of every pair; scales, offsets and weights of all layers end to end."""
    last = len(widths) - 1
    most = widths.max() + _GAP
    panels, at = np.empty(((widths[1:] + 15) // 16 * 16 * widths[:-1]).sum(), np.float32), 0
    w0 = 0
    for k in range(last):
        i, o = widths[k], widths[k + 1]
        size = i * ((o + 15) // 16 * 16)
        pack(weights, w0, 1, i, i, o, panels[at : at + size])
        w0, at = w0 + i * o, at + size
    block, z = np.empty(BLOCK * most, np.float32), np.empty(BLOCK * most, np.float32)
    nothing = np.zeros(most, np.float32)
    for r in range(0, pairs, BLOCK):
        n = min(BLOCK, pairs - r)
        for i in range(r * widths[0], (r + n) * widths[0], 8):
            store(z, i - r * widths[0], load(x, i))
        s0, at = 0, 0
        for k in range(last):
            i, o = widths[k], widths[k + 1]
            s = slice(s0, s0 + i)
            activated(z, 0, n, scales[s], offsets[s], k > 0, block, most)
            product(block, 0, most, 1, n, panels, at, 16, i, o, i, nothing, 0, 0, z, 0, o)
            s0, at = s0 + i, at + i * ((o + 15) // 16 * 16)
        activated(z, 0, n, scales[s0:], offsets[s0:], bends_last, block, widths[last])
        for i in range(0, n * widths[last], 8):
            store(out, r * widths[last] + i, load(block, i))


@compiled(nogil=True, error_model="numpy")
def _add_up(  # noqa: PLR0917
    grad: Array, g0: int, step: int, z: Array, z0: int, n: int, factor: Array, shift: Array,
    sums: Sums,
) -> Any:  # fmt: skip
    """Add sums of the gradient, and of its product with zhat = factor z + shift, to `sums`."""
    width = len(factor)
    parts = np.empty(16, np.float32)
    for c in range(0, width, 8):
        plain, products = every(f4(0.0)), every(f4(0.0))
        a, b = load(factor, c), load(shift, c)
        for i in range(n):
            g = load(grad, g0 + i * step + c)
            plain = add(plain, g)
            products = fma(g, fma(load(z, z0 + i * width + c), a, b), products)
        store(parts, 0, plain)
        store(parts, 8, products)
        for k in range(8):
            sums[0, c + k] += parts[k]
            sums[1, c + k] += parts[8 + k]


@compiled(nogil=True, error_model="numpy")
def top_backward(  # noqa: PLR0917
    grad: Array, pairs: int, z: Array, scale: Array, offset: Array, bends: bool,
    factor: Array, shift: Array, out: Array, step: int, sums: Sums,
) -> Any:  # fmt: skip
    """g_u of the last layer of that of the results, into rows of `out` that stand `step` apart."""
    width = len(scale)
    for r in range(0, pairs, BLOCK):
        n = min(BLOCK, pairs - r)
        for c in range(0, width, 8):
            s, t = load(scale, c), load(offset, c)
            for i in range(r, r + n):
                g = load(grad, i * width + c)
                if bends:
                    g = multiply(g, gelu_and_slope(fma(load(z, i * width + c), s, t))[1])
                store(out, i * step + c, g)
        _add_up(out, r * step, step, z, r * width, n, factor, shift, sums)


@compiled(nogil=True, error_model="numpy")
def layer_backward(  # noqa: PLR0917
    grad: Array, step: int, pairs: int, z: Array, of_grad: Array, of_z: Array, rest: Array,
    below: Array, scale: Array, offset: Array, bends: bool, factor: Array, shift: Array,
    weight: Array, grad_weight: Array, sums: Sums,
) -> Any:  # fmt: skip
    """One layer down: g_u of the layer `below` replaces that of this one in `grad`.

    g_z of this layer is `of_grad * g_u + of_z * z + rest`. `scale` to `shift` belong to the
    layer below; sums of its gradient are added to `sums`.
    """
    outputs, width = len(of_grad), len(scale)
    panels = np.empty(outputs * ((width + 15) // 16 * 16), np.float32)
    pack(weight, 0, width, 1, outputs, width, panels)
    far, stride = outputs + _GAP, width + _GAP
    given, block = np.empty(BLOCK * far, np.float32), np.empty(BLOCK * stride, np.float32)
    slopes, nothing = np.empty(BLOCK * stride, np.float32), np.zeros(width, np.float32)
    for r in range(0, pairs, BLOCK):
        n = min(BLOCK, pairs - r)
        for c in range(0, outputs, 8):
            a, b, d = load(of_grad, c), load(of_z, c), load(rest, c)
            for i in range(n):
                g = fma(load(grad, (r + i) * step + c), a, d)
                store(given, i * far + c, fma(load(z, (r + i) * outputs + c), b, g))
        for c in range(0, width, 8):
            s, t = load(scale, c), load(offset, c)
            for i in range(n):
                u = fma(load(below, (r + i) * width + c), s, t)
                slope = every(f4(1.0))
                if bends:
                    u, slope = gelu_and_slope(u)
                store(block, i * stride + c, u)
                store(slopes, i * stride + c, slope)
        product(
            given, 0, 1, far, outputs, block, 0, stride, 1, width, n,
            grad_weight, 0, width, grad_weight, 0, width,
        )  # fmt: skip
        product(
            given, 0, far, 1, n, panels, 0, 16, outputs, width, outputs,
            nothing, 0, 0, block, 0, stride,
        )  # fmt: skip
        for i in range(n):
            for c in range(0, width, 8):
                g = multiply(load(block, i * stride + c), load(slopes, i * stride + c))
                store(grad, (r + i) * step + c, g)
        _add_up(grad, r * step, step, below, r * width, n, factor, shift, sums)
