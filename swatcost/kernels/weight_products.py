"""Products of convolutions with sparse weights: the forward pass and the gradient of the input.

A weight that is not zero is multiplied by a run of samples, 64 where there are as many: a few vectors, whose sums stay
in registers while all weights of a filter are added at one pixel.
"""

from collections.abc import Iterator
from typing import Any

from numba import prange

from swatcost.kernels.axes import Axis, as_array
from swatcost.kernels.compiled import compiled, in_threads
from swatcost.kernels.packing import Packed
from swatcost.kernels.vectors import LANES, add_product, element, filled, store

_RUN = 8  # pixels of a row that a thread takes at a time
_TASKS = 16  # that a product is to have at least


def multiply(
    operand: Any, channels: int, samples: int, packed: Packed, rows: Axis, columns: Axis, bias: Any, result: Any
) -> None:
    """Writes the results of a product, at those pixels that the axes name.

    operand: flat, of (height, width, channels, samples); result: (height, width, filters, samples), contiguous. A
    multiple of LANES samples. bias: one number for each filter.
    """
    filters, across = result.shape[2], result.shape[1]
    runs = rows.count * -(-columns.count // _RUN)
    blocks = 1 if runs >= _TASKS else min(max(1, filters // LANES), -(-_TASKS // max(1, runs)))
    for first, like in chunks(samples, widest=4):
        _multiply(
            like, operand, packed.values, packed.offsets, packed.starts, rows.numbers, as_array(rows.shifts),
            columns.numbers, as_array(columns.shifts), channels, samples, first,
            (samples - first) // (LANES * len(like)), filters, blocks, across, bias, result.reshape(-1),
        )  # fmt: skip


def chunks(samples: int, widest: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yields (first sample, like) for runs of `widest`, half as many, … 1 vectors, each over all samples it can."""
    first = 0
    while widest:
        if samples - first >= LANES * widest:
            yield first, (0,) * widest
            first += (samples - first) // (LANES * widest) * LANES * widest
        widest //= 2


@compiled
def inside(shifts: Any, position: int, size: int) -> tuple[int, int]:
    """The half-open range of increasing shifts with 0 <= position + shift < size."""
    low, high = 0, len(shifts)
    while low < high and position + shifts[low] < 0:
        low += 1
    while high > low and position + shifts[high - 1] >= size:
        high -= 1
    return low, high


@compiled
def _add_run(sums: Any, values: Any, offsets: Any, begin: int, end: int, operand: Any, base: int, samples: int) -> Any:
    for each in range(begin, end):
        sums = add_product(sums, element(values, each), operand, base + element(offsets, each) * samples)
    return sums


@in_threads
def _multiply(
    like: Any, operand: Any, values: Any, offsets: Any, starts: Any, rows: Any, row_shifts: Any, columns: Any,
    column_shifts: Any, channels: int, samples: int, first: int, chunks: int, filters: int, blocks: int, across: int,
    bias: Any, result: Any,
) -> None:  # fmt: skip
    row_count, row_start, row_stride, row_step, height = rows
    column_count, column_start, column_stride, column_step, width = columns
    apart = len(column_shifts)
    runs = (column_count + _RUN - 1) // _RUN
    lanes = len(like) * LANES
    for task in prange(row_count * runs * chunks * blocks):
        block, rest = task % blocks, task // blocks
        sample, rest = first + rest % chunks * lanes, rest // chunks
        run, row = rest % runs, rest // runs
        top, bottom = inside(row_shifts, row * row_step, height)
        for column in range(run * _RUN, min(column_count, (run + 1) * _RUN)):
            left, right = inside(column_shifts, column * column_step, width)
            base = (row * row_step * width + column * column_step) * channels * samples + sample
            pixel = (row_start + row_stride * row) * across + column_start + column_stride * column
            for number in range(block * filters // blocks, (block + 1) * filters // blocks):
                sums = filled(like, bias[number])
                if right - left == apart:
                    begin, end = starts[number, top * apart], starts[number, bottom * apart]
                    sums = _add_run(sums, values, offsets, begin, end, operand, base, samples)
                else:
                    for tap in range(top, bottom):
                        begin, end = starts[number, tap * apart + left], starts[number, tap * apart + right]
                        sums = _add_run(sums, values, offsets, begin, end, operand, base, samples)
                store(result, (pixel * filters + number) * samples + sample, sums)
