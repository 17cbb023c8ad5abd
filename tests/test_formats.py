"""Predicted bytes of storage formats against real masks that were really encoded, by hand, and laws that they keep."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from swatcost.memory.storage_formats import FORMATS, RUN_BITS, Format, formats_of, index_bits, n_of_m, smallest

from .by_hand import cannot_be_changed

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
@pytest.mark.parametrize(
    ("rows", "columns", "dtype"), [(64, 576, numpy.float32), (300, 300, numpy.float16), (2, 70_000, numpy.float16)]
)
def test_predicted_bytes_are_those_of_the_encoding(
    name: str, density: float, rows: int, columns: int, dtype: Any
) -> None:
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
    assert smallest(64, 4096, 64 * 4096, 4).name == "dense"
    assert smallest(64, 4096, 64 * 4096 // 2, 4).name == "bitmap"
    assert smallest(64, 4096, 64 * 41, 4).name == "csr"
    assert smallest(64, 4096, 64, 4).name == "coo"  # 64 · (1 + 2 + 4) bytes; CSR has 65 pointers of 4
    # 2:4: 1 bit per place, or 2 bits for each of half as many values: the same
    assert smallest(64, 4096, 64 * 4096 // 2, 4, pattern=(2, 4)).name == "bitmap"


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_indices_grow_when_one_place_is_too_many(bits: int) -> None:
    assert index_bits(1) == 8
    assert (index_bits(2**bits), index_bits(2**bits + 1)) == (bits, 2 * bits)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("dense", 1200 * 4),
        ("bitmap", 150 + 10 * 4),
        ("csr", 10 * (2 + 4) + 4 * 2),  # indices of 400 columns, and 4 pointers of up to 1200, in 2 bytes each
        ("coo", 10 * (1 + 2 + 4)),  # one of 3 rows in a byte
        ("n:m", 10 * 4 + 10 * 2 / 8),
    ],
)
def test_sizes_by_hand(name: str, size: float) -> None:
    """Three rows of 400 columns with 10 values of 4 bytes."""
    assert FORMATS[name].size(3, 400, 10, 4) == size


def test_run_lengths_by_hand() -> None:
    size = FORMATS["rle"].size
    assert size(1, 32, 32, 4) == 32 * 4.5  # no zeros, 4 bits each
    assert size(1, 32, 0, 4) == 2 * 4.5  # nothing but two runs of 16
    # half are zero: a gap has 16 or more with probability 1/65536, and each value brings that many more entries
    assert size(2, 16, 16, 4) == pytest.approx(16 / (1 - 1 / 65_536) * 4.5, rel=1e-12)
    assert size(1, 10, 9, 1) == pytest.approx(9 / (1 - 1e-16) * 1.5)


def test_a_format_cannot_be_changed() -> None:
    assert all(map(cannot_be_changed, FORMATS.values()))


def test_other_groups() -> None:
    assert n_of_m(1, 16, 2, 4, group=8) == 2 * (4 + 3 / 8)
    assert n_of_m(1, 16, 2, 4, group=9) == 2 * (4 + 4 / 8)
    assert n_of_m(1, 16, 2, 4) == 2 * (4 + 2 / 8)
    assert smallest(4, 600, 600, 4, pattern=(4, 16)).size(4, 600, 600, 4) == 600 * (4 + 4 / 8)  # 300 of a bitmap's bits
    # 3:8 of 2400 places: 900 values with 3 bits each take 337.5 bytes beside them, a bitmap 300; 2 bits would take 225
    assert smallest(4, 600, 900, 4, pattern=(3, 8)).name == "bitmap"
    assert formats_of((2, 8))["n:m"].break_even_density(3, 400, 4) == round(4 / (4 + 3 / 8), 6)
    assert formats_of(None)["n:m"].break_even_density(3, 400, 4) == round(4 / (4 + 2 / 8), 6)


def test_pointers_tell_apart_every_number_of_values() -> None:
    """Of 255 places there are 0 to 255 values, which a byte holds; of 256, 0 to 256."""
    assert FORMATS["csr"].size(1, 255, 0, 4) == 2
    assert FORMATS["csr"].size(1, 256, 0, 4) == FORMATS["csr"].size(1, 257, 0, 4) == 4


def test_bits_need_not_fill_bytes() -> None:
    assert FORMATS["bitmap"].size(3, 4, 0, 4) == 1.5
    assert FORMATS["rle"].size(1, 40, 0, 4) == 2.5 * 4.5


@pytest.mark.parametrize(
    ("name", "density"),
    [
        ("dense", 0.0),
        ("bitmap", (4800 - 150) / (1200 * 4)),
        ("csr", (4800 - 8) / (1200 * 6)),
        ("coo", 4800 / (1200 * 7)),
        ("n:m", 4 / 4.25),
    ],
)
def test_break_even_by_hand(name: str, density: float) -> None:
    """Three rows of 400 columns, 4800 bytes: where values, indices and what is there anyway take as much."""
    assert FORMATS[name].break_even_density(3, 400, 4) == round(density, 6)


def test_break_even_has_ends() -> None:
    always = Format("half", "half of every value", lambda rows, columns, nnz, value_bytes: nnz * value_bytes / 2)
    assert always.break_even_density(3, 400, 4) == 1.0
    assert FORMATS["bitmap"].break_even_density(1, 8, 1 / 8) == 0.0  # a bit a place is all that the values take
    assert FORMATS["coo"].break_even_density(1, 1, 4) == round(4 / 6, 6)
    just = Format("whole", "as large when full", lambda rows, columns, nnz, value_bytes: nnz * value_bytes)
    assert just.break_even_density(1, 8, 4) == 1.0


def test_a_pattern_that_is_not_there_is_not_used() -> None:
    assert [each.name for each in FORMATS.values() if each.needs_pattern] == ["n:m"]
    assert smallest(4, 600, 600, 4).name == "bitmap"  # 300 + 2400
    assert smallest(4, 600, 600, 4, pattern=(1, 4)).name == "n:m"  # 150 + 2400
    with pytest.raises(TypeError):
        smallest(4, 600, 600, 4, (1, 4))  # type: ignore[misc]  # it is given by name


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(FORMATS)), st.integers(1, 300), st.integers(1, 3000), st.sampled_from([1, 2, 4, 8]),
    st.floats(0, 1),
)  # fmt: skip
def test_laws(name: str, rows: int, columns: int, value_bytes: int, density: float) -> None:
    """Sizes rise with the values, the smallest is no larger than dense, and break-even parts smaller from larger."""
    size, whole, places = FORMATS[name].size, rows * columns * value_bytes, rows * columns
    assert size(rows, columns, density * places, value_bytes) <= size(rows, columns, places, value_bytes) * (1 + 1e-12)
    best = smallest(rows, columns, density * places, value_bytes)
    assert best.size(rows, columns, density * places, value_bytes) <= whole
    even = FORMATS[name].break_even_density(rows, columns, value_bytes)
    assume(abs(density - even) > 1e-6)
    assert (size(rows, columns, density * places, value_bytes) < whole) == (density < even)
