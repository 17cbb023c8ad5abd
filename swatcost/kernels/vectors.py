"""Vectors of float32 for kernels: a few side by side are a tuple, which stays in registers while a loop adds to it.

Each operation is a function in Python, which defines it and checks its bounds when numba is switched off
(NUMBA_DISABLE_JIT=1), and one instruction or two of LLVM, which compiled kernels call. On processors whose vectors are
shorter, LLVM splits them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
"""Numbers in a vector: 512 bits of them."""

TILE, KERNEL = 4, 3
"""Pixels along one side of a square whose sums stay in registers, and weights along one side of a kernel."""

Vectors = tuple[Any, ...]


def filled(like: tuple[int, ...], value: Any) -> Vectors:
    """`len(like)` vectors whose lanes all equal `value`."""
    return tuple(np.full(LANES, value, np.float32) for _ in like)


def load(like: tuple[int, ...], array: Any, at: int) -> Vectors:
    """`len(like)` vectors, read from array[at:]."""
    return tuple(_part(array, at, place).copy() for place in range(len(like)))


def element(array: Any, at: int) -> Any:
    """array[at], where `at` is not negative: compiled code need not find out."""
    if at < 0:
        raise IndexError(f"{at} of {len(array)}")
    return array[at]


def fetch(array: Any, at: int) -> None:
    """Starts loading array[at] into the cache, without waiting for it."""


def store(array: Any, at: int, vectors: Vectors) -> None:
    """Writes vectors to array[at] and what follows."""
    for place, each in enumerate(vectors):
        _part(array, at, place)[:] = each


def add_product(sums: Vectors, factor: Any, array: Any, at: int) -> Vectors:
    """sums + factor × the vectors from array[at] on: one load and one fused multiply-add each."""
    return tuple(each + factor * _part(array, at, place) for place, each in enumerate(sums))


def add_scaled(sums: Vectors, factor: Any, vectors: Vectors) -> Vectors:
    """sums + factor × vectors: one fused multiply-add each."""
    return tuple(each + factor * other for each, other in zip(sums, vectors, strict=True))


def add_convolved(sums: Vectors, factors: Any, first: int, window: Any, at: int) -> Vectors:
    """sums + the products of a kernel and a window, each of whose vectors is read once.

    sums: 4 × 4 pixels; the kernel: 3 × 3 factors from `first` on; the window: 6 × 6 vectors from window[at] on.
    """
    found = list(sums)
    for read, pairs in enumerate(_READERS):
        vector = _part(window, at, read)
        for pixel, weight in pairs:
            found[pixel] = found[pixel] + factors[first + weight] * vector
    return tuple(found)


def _readers() -> list[list[tuple[int, int]]]:
    """For every vector of the window of `add_convolved`, the pixels that read it, each with the weight it meets."""
    pixels = [(row, column) for row in range(TILE) for column in range(TILE)]
    return [
        [
            (TILE * row + column, KERNEL * (down - row) + right - column)
            for row, column in pixels
            if 0 <= down - row < KERNEL and 0 <= right - column < KERNEL
        ]
        for down in range(TILE + KERNEL - 1)
        for right in range(TILE + KERNEL - 1)
    ]


_READERS = _readers()


def compress(array: Any, at: int, threshold: Any, first: Any, step: Any, values: Any, places: Any, to: int) -> int:
    """Appends those of the LANES numbers from array[at] on whose magnitude exceeds a threshold; returns their count.

    They go to values[to] and what follows, and first + step × their lane to places. LANES numbers are written, of which
    the last are arbitrary.
    """
    given = _part(array, at, 0)
    kept = np.flatnonzero(np.abs(given) > threshold)
    for result, found, arbitrary in ((values, given[kept], np.nan), (places, first + step * kept, -(2**31))):
        _part(result, to, 0)[: len(kept)] = found
        _part(result, to, 0)[len(kept) :] = arbitrary
    return len(kept)


def transpose(array: Any, at: int, apart: int, result: Any, to: int, between: int) -> None:
    """Copies a square of LANES × LANES numbers: result[to + between · i + j] = array[at + apart · j + i]."""
    square = np.stack([_part(array, at + apart * row, 0) for row in range(LANES)])
    for row in range(LANES):
        _part(result, to + between * row, 0)[:] = square[:, row]


def transpose_past(array: Any, at: int, apart: int, result: Any, to: int, between: int) -> None:
    """As `transpose`, to whole lines of memory, past the cache: without reading them first."""
    if result.ctypes.data % (4 * LANES) or to % LANES or between % LANES:
        raise IndexError("not whole lines")
    transpose(array, at, apart, result, to, between)


def _part(array: Any, at: int, place: int) -> Any:
    """One vector of an array. Raises IndexError if any of it lies outside."""
    begin = at + place * LANES
    if begin < 0 or begin + LANES > len(array):
        raise IndexError(f"{begin} to {begin + LANES - 1} of {len(array)}")
    return array[begin : begin + LANES]


_instructions: Any = intrinsic  # its type would have callers pass numba's typing context


class _VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


_VECTOR, _FLOATS = _VectorType(), ir.VectorType(ir.FloatType(), LANES)
_BYTE = ir.IntType(8).as_pointer()
_INT32, _INTS, _BITS = ir.IntType(32), ir.VectorType(ir.IntType(32), LANES), ir.VectorType(ir.IntType(1), LANES)


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any, place: int = 0, of: Any = _FLOATS) -> Any:
    """The address of one vector of an array."""
    data = context.make_array(kind)(context, builder, array).data
    index = builder.add(at, ir.Constant(at.type, place * LANES))
    return builder.bitcast(builder.gep(data, [index]), of.as_pointer())


def _read(builder: Any, pointer: Any) -> Any:
    found = builder.load(pointer)
    found.align = 4
    return found


def _write(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, pointer).align = 4


def _write_past(builder: Any, value: Any, pointer: Any) -> None:
    """Writes a whole line of memory past the cache."""
    stored = builder.store(value, pointer)
    stored.align = 4 * LANES
    stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_INT32, 1)]))


def _everywhere(builder: Any, value: Any, kind: Any) -> Any:
    """A number in every lane."""
    anything = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(anything, value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, anything, ir.Constant(_INTS, [0] * LANES))


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """A function of LLVM's own."""
    kind = ir.FunctionType(result, [each.type for each in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}"), arguments)


@_instructions
def _filled(typing: Any, like: Any, value: Any) -> Any:
    kind = types.UniTuple(_VECTOR, len(like))

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, kind, [_everywhere(builder, arguments[1], _FLOATS)] * kind.count)

    return kind(like, types.float32), code


@_instructions
def _load(typing: Any, like: Any, array: Any, at: Any) -> Any:
    kind = types.UniTuple(_VECTOR, len(like))

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, given, begin = arguments
        places = [_pointer(context, builder, array, given, begin, place) for place in range(kind.count)]
        return context.make_tuple(builder, kind, [_read(builder, each) for each in places])

    return kind(like, array, types.intp), code


@_instructions
def _element(typing: Any, array: Any, at: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given, begin = arguments
        data = context.make_array(array)(context, builder, given).data
        return builder.load(builder.gep(data, [begin]))

    return array.dtype(array, types.intp), code


@_instructions
def _fetch(typing: Any, array: Any, at: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given, begin = arguments
        address = builder.bitcast(builder.gep(context.make_array(array)(context, builder, given).data, [begin]), _BYTE)
        to_read_near_data = [ir.Constant(_INT32, each) for each in (0, 3, 1)]
        _call(builder, "prefetch.p0i8", ir.VoidType(), address, *to_read_near_data)
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@_instructions
def _store(typing: Any, array: Any, at: Any, vectors: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given, begin, values = arguments
        for place in range(vectors.count):
            value = builder.extract_value(values, place)
            _write(builder, value, _pointer(context, builder, array, given, begin, place))
        return context.get_dummy_value()

    return types.void(array, types.intp, vectors), code


@_instructions
def _add_product(typing: Any, sums: Any, factor: Any, array: Any, at: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        before, number, given, begin = arguments
        factors = _everywhere(builder, number, _FLOATS)
        after = []
        for place in range(sums.count):
            read = _read(builder, _pointer(context, builder, array, given, begin, place))
            added = builder.extract_value(before, place)
            after.append(_call(builder, f"fma.v{LANES}f32", _FLOATS, factors, read, added))
        return context.make_tuple(builder, sums, after)

    return sums(sums, types.float32, array, types.intp), code


@_instructions
def _add_scaled(typing: Any, sums: Any, factor: Any, vectors: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        before, number, given = arguments
        factors = _everywhere(builder, number, _FLOATS)
        pairs = [
            (builder.extract_value(given, place), builder.extract_value(before, place)) for place in range(sums.count)
        ]
        after = [_call(builder, f"fma.v{LANES}f32", _FLOATS, factors, other, added) for other, added in pairs]
        return context.make_tuple(builder, sums, after)

    return sums(sums, types.float32, vectors), code


@_instructions
def _add_convolved(typing: Any, sums: Any, factors: Any, first: Any, window: Any, at: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        before, given, number, read, begin = arguments
        data = context.make_array(factors)(context, builder, given).data
        numbers = [
            builder.load(builder.gep(data, [builder.add(number, number.type(place))])) for place in range(KERNEL**2)
        ]
        weights = [_everywhere(builder, each, _FLOATS) for each in numbers]
        after = [builder.extract_value(before, pixel) for pixel in range(sums.count)]
        for place, pairs in enumerate(_READERS):
            vector = _read(builder, _pointer(context, builder, window, read, begin, place))
            for pixel, weight in pairs:
                after[pixel] = _call(builder, f"fma.v{LANES}f32", _FLOATS, weights[weight], vector, after[pixel])
        return context.make_tuple(builder, sums, after)

    return sums(sums, factors, types.intp, window, types.intp), code


def _above(builder: Any, numbers: Any, threshold: Any) -> Any:
    """Whether the magnitude of each number exceeds a threshold."""
    magnitudes = _call(builder, f"fabs.v{LANES}f32", _FLOATS, numbers)
    return builder.fcmp_ordered(">", magnitudes, _everywhere(builder, threshold, _FLOATS))


def _population(context: Any, builder: Any, which: Any) -> Any:
    """How many lanes are true."""
    bits = builder.bitcast(which, ir.IntType(LANES))
    return builder.zext(_call(builder, f"ctpop.i{LANES}", bits.type, bits), context.get_value_type(types.intp))


@_instructions
def _compress(
    typing: Any, array: Any, at: Any, threshold: Any, first: Any, step: Any, values: Any, places: Any, to: Any
) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given, begin, least, number, apart, numbers, where, end = arguments
        read = _read(builder, _pointer(context, builder, array, given, begin))
        kept = _above(builder, read, least)
        lanes = builder.mul(_everywhere(builder, apart, _INTS), ir.Constant(_INTS, list(range(LANES))))
        found = builder.add(_everywhere(builder, number, _INTS), lanes)
        for value, kind, suffix, into, arrays in (
            (read, _FLOATS, "f32", numbers, values),
            (found, _INTS, "i32", where, places),
        ):
            name = f"experimental.vector.compress.v{LANES}{suffix}"
            packed = _call(builder, name, kind, value, kept, ir.Constant(kind, ir.Undefined))
            _write(builder, packed, _pointer(context, builder, arrays, into, end, of=kind))
        return _population(context, builder, kept)

    return types.intp(array, types.intp, types.float32, types.int32, types.int32, values, places, types.intp), code


def _transposed(array: Any, result: Any, write: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given, begin, pitch, taken, end, spacing = arguments

        def row(place: int, first: Any, step: Any, kind: Any, of: Any) -> Any:
            return _pointer(context, builder, kind, of, builder.add(first, builder.mul(step, first.type(place))))

        rows = [_read(builder, row(place, begin, pitch, array, given)) for place in range(LANES)]
        half = LANES // 2
        while half:  # exchanges the two off-diagonal quarters of every square of 2 · half rows
            for place in (each for each in range(LANES) if not each & half):
                upper, lower = rows[place], rows[place + half]
                for number, start in ((place, 0), (place + half, half)):
                    lanes = [LANES * bool(lane & half) + start + (lane & ~half) for lane in range(LANES)]
                    rows[number] = builder.shuffle_vector(upper, lower, ir.Constant(_INTS, lanes))
            half //= 2
        for place, each in enumerate(rows):
            write(builder, each, row(place, end, spacing, result, taken))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, result, types.intp, types.intp), code


@_instructions
def _transpose(typing: Any, array: Any, at: Any, apart: Any, result: Any, to: Any, between: Any) -> Any:
    return _transposed(array, result, _write)


@_instructions
def _transpose_past(typing: Any, array: Any, at: Any, apart: Any, result: Any, to: Any, between: Any) -> Any:
    return _transposed(array, result, _write_past)


_CODE: tuple[tuple[Callable[..., Any], Any], ...] = (
    (filled, lambda like, value: lambda like, value: _filled(like, value)),
    (load, lambda like, array, at: lambda like, array, at: _load(like, array, at)),
    (element, lambda array, at: lambda array, at: _element(array, at)),
    (fetch, lambda array, at: lambda array, at: _fetch(array, at)),
    (store, lambda array, at, vectors: lambda array, at, vectors: _store(array, at, vectors)),
    (
        add_product,
        lambda sums, factor, array, at: lambda sums, factor, array, at: _add_product(sums, factor, array, at),
    ),
    (add_scaled, lambda sums, factor, vectors: lambda sums, factor, vectors: _add_scaled(sums, factor, vectors)),
    (
        add_convolved,
        lambda sums, factors, first, window, at: (
            lambda sums, factors, first, window, at: _add_convolved(sums, factors, first, window, at)
        ),
    ),
    (
        transpose,
        lambda array, at, apart, result, to, between: (
            lambda array, at, apart, result, to, between: _transpose(array, at, apart, result, to, between)
        ),
    ),
    (
        transpose_past,
        lambda array, at, apart, result, to, between: (
            lambda array, at, apart, result, to, between: _transpose_past(array, at, apart, result, to, between)
        ),
    ),
    (
        compress,
        lambda array, at, threshold, first, step, values, places, to: (
            lambda array, at, threshold, first, step, values, places, to: _compress(
                array, at, threshold, first, step, values, places, to
            )
        ),
    ),
)
"""Each operation in Python, and what numba compiles in its place: a function of types that gives one of values."""

for _function, _typed in _CODE:  # LLVM would not inline the longest by itself, and keep its sums in memory
    overload(_function, strict=False, inline="always")(_typed)
