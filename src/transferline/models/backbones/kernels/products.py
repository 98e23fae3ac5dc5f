r"""Small matrix products inside a kernel: tiles whose sums stay in registers.

A tile is $C_{rc} = I_{rc} + \sum_k A_{rk} B_{kc}$ with 6 rows and 16 columns; one load of B
serves six rows, one of A two vectors. On blocks that fit in the cache, with B in panels, this is
faster than calling a library, and what comes before and after the product finds its operands in
the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from transferline.compilation import compiled
from transferline.models.backbones.kernels.lanes import (
    LANES,
    cgutils,
    emitted,
    fused,
    place,
    read,
    spread,
    write,
)

Array = NDArray[np.float32]

PANEL = 16  # columns of a tile
ROWS = 6, 4, 2, 1  # of tiles


def _variable(builder: Any, value: Any) -> Any:
    """Return a variable that holds a value; LLVM keeps it in a register."""
    variable = cgutils.alloca_once(builder, value.type)
    builder.store(value, variable)
    return variable


def _emit_tile(  # noqa: PLR0917
    context: Any, builder: Any, kinds: Any, args: Any, rows: int, vectors: int
) -> None:
    """Emit the tile of so many rows and vectors."""
    _, a0, row, step, _, b0, width, count, _, s0, along, _, o0, stride = args

    def at(which: int, base: Any, r: int, by: Any, v: int) -> Any:
        index = builder.add(base, builder.mul(by, ir.Constant(by.type, r)))
        index = builder.add(index, ir.Constant(by.type, LANES * v))
        return place(context, builder, kinds[which], args[which], index)

    grid = [(r, v) for r in range(rows) for v in range(vectors)]
    sums = {rv: _variable(builder, read(builder, at(8, s0, rv[0], along, rv[1]))) for rv in grid}
    # Pointers that walk, not indices: these are multiplied anew at every step.
    left = _variable(builder, place(context, builder, kinds[0], args[0], a0))
    right = _variable(builder, place(context, builder, kinds[4], args[4], b0))
    apart = [builder.mul(row, ir.Constant(row.type, r)) for r in range(rows)]
    with cgutils.for_range(builder, count):
        from_a, from_b = builder.load(left), builder.load(right)
        b_s = [
            read(builder, builder.gep(from_b, [ir.Constant(row.type, LANES * v)]))
            for v in range(vectors)
        ]
        for r in range(rows):
            a_ = spread(builder, builder.load(builder.gep(from_a, [apart[r]])))
            for v in range(vectors):
                builder.store(fused(builder, a_, b_s[v], builder.load(sums[r, v])), sums[r, v])
        builder.store(builder.gep(from_a, [step]), left)
        builder.store(builder.gep(from_b, [width]), right)
    for r, v in grid:
        write(builder, builder.load(sums[r, v]), at(11, o0, r, stride, v))


@emitted
def _tile(  # noqa: PLR0917
    typing: Any, a: Any, a0: Any, row: Any, step: Any, b: Any, b0: Any, width: Any, count: Any,
    start: Any, s0: Any, along: Any, out: Any, o0: Any, stride: Any, rows: Any, vectors: Any,
) -> Any:  # fmt: skip
    """The tile of so many `rows` (one of `ROWS`) and `vectors`; else as `product`."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        *rest, rows, vectors = args
        for r in ROWS:
            for v in (1, 2):
                is_this = builder.and_(
                    builder.icmp_signed("==", rows, ir.Constant(rows.type, r)),
                    builder.icmp_signed("==", vectors, ir.Constant(rows.type, v)),
                )
                with builder.if_then(is_this):
                    _emit_tile(context, builder, signature.args, rest, r, v)
        return context.get_dummy_value()

    i = types.intp
    return types.void(a, i, i, i, b, i, i, i, start, i, i, out, i, i, i, i), emit


@emitted
def _never_inlined(typing: Any) -> Any:
    """Make the function that calls it one that others call: compiled once, not at each place."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), emit


@compiled(nogil=True)
def product(  # noqa: PLR0917, D417  numba takes no keyword-only arguments
    a: Array, a0: int, row: int, step: int, rows: int,
    b: Array, b0: int, width: int, panel: int, columns: int, count: int,
    start: Array, s0: int, along: int, out: Array, o0: int, stride: int,
) -> Any:  # fmt: skip
    """out[r, c] = start[r, c] + sum over k < count of a[r, k] b[k, c]; all arrays are flat.

    Args:
        a: `a[r, k]` is `a[a0 + r row + k step]`.
        b: of a column c that begins a tile, `b[k, c + ...]` is `b[b0 + c panel + k width + ...]`:
            rows of `width` with `panel = 1`; for what `pack` made, `width = PANEL` and
            `panel = count`.
        columns: a multiple of 8.
        start: `start[s0 + r along + c]`: `out` itself to add to it, `along = 0` for a bias.
        out: `out[o0 + r stride + c]`.
    """
    _never_inlined()
    for c in range(0, columns, PANEL):
        vectors = 2 if columns - c > LANES else 1
        r = 0
        while r < rows:
            left = rows - r
            taken = 6 if left >= 6 else 4 if left >= 4 else min(left, 2)
            _tile(
                a, a0 + r * row, row, step, b, b0 + c * panel, width, count,
                start, s0 + r * along + c, along, out, o0 + r * stride + c, stride, taken, vectors,
            )  # fmt: skip
            r += taken


@compiled(nogil=True)
def pack(  # noqa: PLR0917
    b: Array, b0: int, down: int, across: int, count: int, columns: int, out: Array
) -> Any:
    """Copy `b[k, c] = b[b0 + k down + c across]` into panels of 16 columns.

    `out` holds `count` times `columns`, these rounded up to 16; the rest of the last panel is
    not touched.
    """
    for c in range(0, columns, 16):
        n = min(columns - c, 16)
        for k in range(count):
            for i in range(n):
                out[c * count + k * 16 + i] = b[b0 + k * down + (c + i) * across]
