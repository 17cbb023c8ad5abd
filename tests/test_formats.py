"""Predicted bytes of storage formats against real masks that were really encoded."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy
import pytest

from swatcost.memory.storage_formats import FORMATS, RUN_BITS, index_bits, smallest

Array = numpy.ndarray[Any, Any]


def packed(numbers: list[int], bits: int) -> bytes:
    """Numbers of so many bits, one after another."""
    return numpy.packbits([number >> bit & 1 for number in numbers for bit in reversed(range(bits))]).tobytes()


def whole(numbers: Array, bits: int) -> bytes:
    return numbers.astype(f"uint{bits}").tobytes()


def encoded(name: str, matrix: Array) -> list[bytes]:
    """A matrix in a format: every part of it as bytes."""
    rows, columns = numpy.nonzero(matrix)
    values = matrix[rows, columns].tobytes()
    if name == "dense":
        return [matrix.tobytes()]
    if name == "bitmap":
        return [numpy.packbits(matrix != 0).tobytes(), values]
    if name == "coo":
        return [whole(rows, index_bits(matrix.shape[0])), whole(columns, index_bits(matrix.shape[1])), values]
    if name == "csr":
        pointers = numpy.concatenate([[0], numpy.cumsum((matrix != 0).sum(1))])
        return [whole(columns, index_bits(matrix.shape[1])), whole(pointers, index_bits(matrix.size + 1)), values]
    if name == "rle":
        runs, kept, gap = [], [], 0
        for value in matrix.reshape(-1):
            if value == 0 and gap < 2**RUN_BITS - 1:
                gap += 1
            else:  # a value, or a zero that ends a run that became too long
                runs.append(gap)
                kept.append(value)
                gap = 0
        return [packed(runs, RUN_BITS), numpy.array(kept, matrix.dtype).tobytes()]
    assert name == "n:m"
    return [values, packed([int(column) % 4 for column in columns], 2)]


@lru_cache(maxsize=1)  # every format is tried on it in turn
def random_matrix(rows: int, columns: int, density: float, dtype: Any = numpy.float32) -> Array:
    random = numpy.random.default_rng(3)
    matrix = random.normal(size=(rows, columns)).astype(dtype)
    matrix.reshape(-1)[random.permutation(matrix.size)[round(density * matrix.size) :]] = 0
    return matrix


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "n:m"])
@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("rows", "columns", "dtype"), [(64, 576, numpy.float32), (300, 70_000, numpy.float16)])
def test_predicted_bytes_are_those_of_the_encoding(
    name: str, density: float, rows: int, columns: int, dtype: Any
) -> None:
    if name == "rle" and columns > 1000:
        rows, columns = 16, 5_000  # the encoder above is a loop
    matrix = random_matrix(rows, columns, density, dtype)
    real = sum(map(len, encoded(name, matrix)))
    predicted = FORMATS[name].size(rows, columns, numpy.count_nonzero(matrix), matrix.itemsize)
    # run lengths are an expectation over where zeros lie; everything else is exact
    assert predicted == pytest.approx(real, rel=0.01 if name == "rle" else 0, abs=1)


def test_two_of_four() -> None:
    matrix = numpy.array([[1, 0, 0, 2, 0, 3, 4, 0]] * 16, numpy.float32)
    real = sum(map(len, encoded("n:m", matrix)))
    assert FORMATS["n:m"].size(16, 8, 64, 4) == real == 64 * 4 + 64 * 2 / 8


@pytest.mark.parametrize("name", list(FORMATS))
def test_break_even_is_where_the_sizes_meet(name: str) -> None:
    rows, columns = 64, 4096
    density = FORMATS[name].break_even_density(rows, columns, 4)
    dense = rows * columns * 4
    if name == "dense":
        assert density == 0
        return
    at = [FORMATS[name].size(rows, columns, each * rows * columns, 4) for each in (density - 0.001, density + 0.001)]
    assert at[0] < dense < at[1]


def test_the_smallest_format_follows_the_density() -> None:
    assert smallest(64, 4096, 64 * 4096, 4) == "dense"
    assert smallest(64, 4096, 64 * 4096 // 2, 4) == "bitmap"
    assert smallest(64, 4096, 64 * 41, 4) == "csr"
    assert smallest(64, 4096, 64, 4) == "coo"  # 64 · (1 + 2 + 4) bytes; CSR has 65 pointers of 4
    assert smallest(64, 4096, 64 * 4096 // 2, 4, pattern=True) == "bitmap"  # 1 bit a place, not 2 a value: the same
