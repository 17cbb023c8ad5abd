"""Sizes of storage formats for sparse tensors, one function per format.

A tensor has rows × columns elements of value_bytes each, of which nnz are not zero: for a weight (F, C, R, S) a row is
a filter, for activations (N, C, H, W) an image. Indices have the smallest sufficient width of 8, 16, 32 or 64 bits;
everything is packed without gaps. All sizes are in bytes.

Sources: bitmap, coordinates, compressed rows and run lengths as surveyed by Sze et al., "Efficient Processing of Deep
Neural Networks", 2020, Section 8.2; N:M as Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

_INDEX_BITS = (8, 16, 32, 64)
RUN_BITS = 4
"""Bits per run length: up to 15 zeros before a value. The format is Eyeriss's (Chen et al., JSSC 2017, with 5 bits)."""


def index_bits(places: float) -> int:
    """The smallest index width, 8, 16, 32 or 64 bits, for `places` positions.

    >>> index_bits(256), index_bits(257)
    (8, 16)
    """
    return next(bits for bits in _INDEX_BITS if places <= 2**bits)


def dense(rows: float, columns: float, nnz: float, value_bytes: float) -> float:
    """Every value: rows · columns · b."""
    return rows * columns * value_bytes


def bitmap(rows: float, columns: float, nnz: float, value_bytes: float) -> float:
    """One bit per element, and the values: rows · columns / 8 + nnz · b.

    >>> bitmap(2, 8, nnz=3, value_bytes=4)  # 16 bits, 3 values
    14.0
    """
    return rows * columns / 8 + nnz * value_bytes


def coordinates(rows: float, columns: float, nnz: float, value_bytes: float) -> float:
    """COO: a row index and a column index per value.

    >>> coordinates(2, 8, nnz=3, value_bytes=4)  # 3 · (1 + 1 + 4)
    18.0
    """
    return nnz * ((index_bits(rows) + index_bits(columns)) / 8 + value_bytes)


def compressed_rows(rows: float, columns: float, nnz: float, value_bytes: float) -> float:
    """CSR: a column index per value, and rows + 1 pointers to the beginnings and ends of rows.

    Pointers are wide enough for a tensor without zeros.

    >>> compressed_rows(2, 8, nnz=3, value_bytes=4)  # 3 · (1 + 4), and 3 pointers of one byte
    18.0
    """
    return nnz * (index_bits(columns) / 8 + value_bytes) + (rows + 1) * index_bits(rows * columns + 1) / 8


def run_lengths(rows: float, columns: float, nnz: float, value_bytes: float) -> float:
    """The number of zeros before each value, in RUN_BITS bits; a longer run stores explicit zeros in between.

    Zeros are assumed at random positions, with density d = nnz / (rows · columns): a gap of k · 2^RUN_BITS zeros or
    more has probability q^k with q = (1 − d)^(2^RUN_BITS), so each value needs q / (1 − q) extra entries on average.

    >>> run_lengths(1, 8, nnz=8, value_bytes=4)  # 8 · (4 + 0.5), no zero anywhere
    36.0
    """
    places = rows * columns
    q = (1 - nnz / places) ** (2**RUN_BITS)
    entries = nnz / (1 - q) if q < 1 else places / 2**RUN_BITS
    return float(entries * (RUN_BITS / 8 + value_bytes))


def n_of_m(rows: float, columns: float, nnz: float, value_bytes: float, group: int = 4) -> float:
    """N:M: the values, and the position of each in its group of M, in the fewest bits that suffice for M positions.

    >>> n_of_m(1, 8, nnz=4, value_bytes=4)  # 2:4: 4 · (4 + 2 bits)
    17.0
    >>> n_of_m(1, 16, nnz=4, value_bytes=4, group=8)  # 2:8: 4 · (4 + 3 bits)
    17.5
    """
    return nnz * (value_bytes + (group - 1).bit_length() / 8)


@dataclass(frozen=True)
class Format:
    """A storage format for sparse tensors; if `needs_pattern`, only for tensors that keep N of every M values."""

    name: str
    title: str
    size: Callable[[float, float, float, float], float]
    needs_pattern: bool = False

    def break_even_density(self, rows: float, columns: float, value_bytes: float) -> float:
        """The density [-] from which the format is no smaller than the dense tensor; 0 if it never is smaller.

        >>> FORMATS["bitmap"].break_even_density(1, 1000, 4)  # the bitmap is 1/32 of the dense size
        0.96875
        """
        places, whole = rows * columns, dense(rows, columns, 0, value_bytes)
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            if self.size(rows, columns, middle * places, value_bytes) < whole:
                low = middle
            else:
                high = middle
        return round(high, 6)


FORMATS = {
    each.name: each
    for each in (
        Format("dense", "every value", dense),
        Format("bitmap", "one bit per element, and the values", bitmap),
        Format("csr", "compressed rows: column indices and row pointers", compressed_rows),
        Format("coo", "coordinates: row and column indices", coordinates),
        Format("rle", f"run lengths of {RUN_BITS} bits", run_lengths),
        Format("n:m", "positions within groups", n_of_m, needs_pattern=True),
    )
}


def formats_of(pattern: tuple[int, int] | None) -> Mapping[str, Format]:
    """The formats for a tensor with N of every M values: positions take as many bits as M needs.

    Without a pattern, those for M = 4, the pattern of sparse tensor cores.
    """
    if pattern is None:
        return FORMATS
    return FORMATS | {"n:m": replace(FORMATS["n:m"], size=partial(n_of_m, group=pattern[1]))}


def smallest(
    rows: float, columns: float, nnz: float, value_bytes: float, *, pattern: tuple[int, int] | None = None
) -> Format:
    """The smallest format; N:M only if the tensor has such a pattern, (N, M)."""
    usable = [each for each in formats_of(pattern).values() if pattern or not each.needs_pattern]
    return min(usable, key=lambda each: each.size(rows, columns, nnz, value_bytes))
