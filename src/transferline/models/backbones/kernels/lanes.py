"""Eight float32 side by side: what numba lacks to write a kernel that surely is vector code.

The compiler's own vectoriser gives up on the loops that matter here (small matrix products,
softmax over a row) or reloads their operands; with values of this type the code is what it says.
Eight floats are one register of AVX2, half of one of AVX-512, two of NEON: LLVM splits or
keeps them, the same code runs everywhere. Indices count floats of a flat array and are trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_model

LANES = 8

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)
_ZERO = ir.Constant(ir.IntType(32), 0)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__("float32 x 8")


@register_model(_Lanes)
class _LanesModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)  # type: ignore[no-untyped-call]  # numba


lanes = _Lanes()

Emit = Callable[..., Any]

cgutils: Any = _cgutils  # numba is untyped there


def emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of compiled code of one that emits it, see `numba.extending.intrinsic`.

    Its first argument, the typing context, is none of the resulting function's.
    """
    return cast("Callable[..., Any]", intrinsic(function))


def constant(value: float) -> Any:
    """All lanes the same, known while compiling."""
    return ir.Constant(_FLOATS, [value] * LANES)


def place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Pointer to element `index` of a flat array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def read(builder: Any, pointer: Any) -> Any:
    """Eight floats from a pointer to the first, which need not be aligned."""
    return builder.load(builder.bitcast(pointer, _FLOATS.as_pointer()), align=4)


def write(builder: Any, value: Any, pointer: Any) -> None:
    """Eight floats to a pointer to the first, which need not be aligned."""
    builder.store(value, builder.bitcast(pointer, _FLOATS.as_pointer()), align=4)


def spread(builder: Any, value: Any, kind: Any = _FLOATS) -> Any:
    """One number into all lanes."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, _ZERO)
    return builder.shuffle_vector(first, nothing, ir.Constant(_INTS, [0] * LANES))


def fused(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """X * y + z."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    return builder.call(
        cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), [x, y, z]
    )


@emitted
def load(typing: Any, array: Any, index: Any) -> Any:
    """array[index : index + 8]."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return read(builder, place(context, builder, signature.args[0], *args))

    return lanes(array, types.intp), emit


@emitted
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + 8] = value."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        write(builder, args[2], place(context, builder, signature.args[0], *args[:2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), emit


@emitted
def transpose(  # noqa: PLR0917
    typing: Any, array: Any, index: Any, row: Any, out: Any, place_: Any, stride: Any
) -> Any:
    """out[place + c stride + r] = array[index + r row + c] of 8 rows r and columns c."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, index, row, out, place_, stride = args

        def at(kind: Any, base: Any, first: Any, by: Any, i: int) -> Any:
            far = builder.mul(by, ir.Constant(by.type, i))
            return place(context, builder, kind, base, builder.add(first, far))

        rows = [read(builder, at(signature.args[0], array, index, row, i)) for i in range(LANES)]
        for step in (4, 2, 1):  # swap blocks beside the diagonal, ever smaller ones
            upper = [i if not i & step else LANES + i - step for i in range(LANES)]
            lower = [i + step if not i & step else LANES + i for i in range(LANES)]
            for i in range(LANES):
                if not i & step:
                    two = rows[i], rows[i + step]
                    rows[i] = builder.shuffle_vector(*two, ir.Constant(_INTS, upper))
                    rows[i + step] = builder.shuffle_vector(*two, ir.Constant(_INTS, lower))
        for i in range(LANES):
            write(builder, rows[i], at(signature.args[3], out, place_, stride, i))
        return context.get_dummy_value()

    i = types.intp
    return types.void(array, i, i, out, i, i), emit


@emitted
def every(typing: Any, value: Any) -> Any:
    """One number in all lanes."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, args[0])

    return lanes(types.float32), emit


@emitted
def fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """X * y + z, rounded once."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return fused(builder, *args)

    return lanes(lanes, lanes, lanes), emit


def _binary(operation: str) -> Any:
    @emitted
    def function(typing: Any, x: Any, y: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, operation)(*args)

        return lanes(lanes, lanes), emit

    return function


add, subtract, multiply, divide = (_binary(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


def _unary(name: str) -> Any:
    @emitted
    def function(typing: Any, x: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(_FLOATS, [_FLOATS])
            full = f"llvm.{name}.v{LANES}f32"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), args)

        return lanes(lanes), emit

    return function


floor = _unary("floor")


@emitted
def larger(typing: Any, x: Any, y: Any) -> Any:
    """The larger one, lane by lane; y where one is NaN."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return lanes(lanes, lanes), emit


@emitted
def smaller(typing: Any, x: Any, y: Any) -> Any:
    """The smaller one, lane by lane; y where one is NaN."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return lanes(lanes, lanes), emit


@emitted
def where_negative(typing: Any, x: Any, yes: Any, no: Any) -> Any:
    """`yes` in the lanes where x < 0, else `no`."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, yes, no = args
        return builder.select(builder.fcmp_ordered("<", x, constant(0.0)), yes, no)

    return lanes(lanes, lanes, lanes), emit


@emitted
def power_of_two(typing: Any, k: Any) -> Any:
    """2 ** k of whole numbers -126 <= k <= 127: they become the bits of the exponent."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = builder.fptosi(args[0], _INTS)
        biased = builder.add(whole, ir.Constant(_INTS, [127] * LANES))
        bits = builder.shl(biased, ir.Constant(_INTS, [23] * LANES))
        return builder.bitcast(bits, _FLOATS)

    return lanes(lanes), emit


def _across(name: str, join: Emit) -> Any:
    @emitted
    def function(typing: Any, x: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, nothing = args[0], ir.Constant(_FLOATS, ir.Undefined)
            for step in (4, 2, 1):
                turned = ir.Constant(_INTS, [(i + step) % LANES for i in range(LANES)])
                x = join(builder, x, builder.shuffle_vector(x, nothing, turned))
            return builder.extract_element(x, _ZERO)

        return types.float32(lanes), emit

    function.__name__ = name
    return function


total = _across("total", lambda builder, x, y: builder.fadd(x, y))
largest = _across(
    "largest", lambda builder, x, y: builder.select(builder.fcmp_ordered(">", x, y), x, y)
)


@emitted
def kept(  # noqa: PLR0917
    typing: Any, value: Any, index: Any, low: Any, high: Any, limit: Any
) -> Any:
    """`value`, or 0 in the lanes whose random number is below `limit`: dropout without a mask.

    The number is a hash of the element's place (`index`, `index + 1`, ...) and of the key
    (`low`, `high`), so that going backwards finds the same ones; two rounds of a
    multiply-xorshift mixer on 32 bits. All but `value` are uint32.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, *numbers = args
        index, low, high, limit = (spread(builder, number, _INTS) for number in numbers)

        def shifted(x: Any, bits: int) -> Any:
            return builder.xor(x, builder.lshr(x, ir.Constant(_INTS, [bits] * LANES)))

        def times(x: Any, factor: int) -> Any:
            return builder.mul(x, ir.Constant(_INTS, [factor] * LANES))

        x = builder.add(index, ir.Constant(_INTS, list(range(LANES))))
        x = times(shifted(builder.xor(x, low), 16), 0x7FEB352D)
        x = times(builder.add(shifted(x, 15), high), 0x846CA68B)
        enough = builder.icmp_unsigned(">=", shifted(x, 16), limit)
        return builder.select(enough, value, constant(0.0))

    return lanes(lanes, types.uint32, types.uint32, types.uint32, types.uint32), emit
