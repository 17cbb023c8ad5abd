"""Products with weights of which whole kernels are dropped, as by structured SWAT: forward pass and grad_input.

The three weights of a kernel's row meet the same inputs at neighbouring pixels. Four pixels are computed at a time, so
that an input that was read is used up to three times.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange

from swatcost.kernels.axes import Axis, as_array
from swatcost.kernels.compiled import compiled, in_threads
from swatcost.kernels.packing import Weights
from swatcost.kernels.vectors import LANES, add_product, filled, store
from swatcost.kernels.weight_products import chunks, inside

_WIDE = 3  # weights of a kernel's row
_TILE = 4  # pixels


@dataclass(frozen=True)
class WholeKernels:
    """The kernels that are kept, result by result, in the order in which a product reads them.

    Result o reads kernels starts[o] to starts[o + 1]. Kernel k has values[firsts[k]] and what follows; `channels` are
    those that it reads.
    """

    values: Any
    firsts: Any
    channels: Any
    starts: Any


def are_whole(weights: Weights, rows: Axis, columns: Axis) -> bool:
    """Whether kernels are kept or dropped whole, three weights wide, and read neighbouring pixels."""
    _, _, height, width = weights.shape
    if width != _WIDE or columns.step != 1 or rows.step != 1 or columns.stride != 1:
        return False
    together = len(columns.shifts) == _WIDE and columns.shifts[-1] - columns.shifts[0] == _WIDE - 1
    return together and bool(_are_whole(weights.places, weights.begins, weights.ends, height * width))


def kernels_for_outputs(weights: Weights, groups: int) -> WholeKernels:
    """The order of the forward pass: filter by filter."""
    filters, channels, _, _ = weights.shape
    counts, firsts, own = _kernels(weights)
    read = own + np.repeat(np.arange(filters) // (filters // groups) * channels, counts)
    return WholeKernels(weights.values, firsts, read.astype(np.int32), np.append(0, np.cumsum(counts)))


def kernels_for_inputs(weights: Weights, groups: int) -> WholeKernels:
    """The order of grad_input: channel by channel."""
    filters, channels, _, _ = weights.shape
    counts, firsts, own = _kernels(weights)
    of_filter = np.repeat(np.arange(filters), counts)
    result = own + of_filter // (filters // groups) * channels
    order = np.argsort(result, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(result, minlength=groups * channels)))
    return WholeKernels(weights.values, firsts[order], of_filter[order].astype(np.int32), starts)


def _kernels(weights: Weights) -> tuple[Any, Any, Any]:
    """How many kernels each filter keeps, where the values of each begin, and its channel in its group."""
    area = weights.shape[2] * weights.shape[3]
    counts = (weights.ends - weights.begins) // area
    before = np.cumsum(counts) - counts
    firsts = np.repeat(weights.begins - before * area, counts) + np.arange(counts.sum()) * area
    return counts, firsts, weights.places[firsts] // area


def multiply_kernels(
    operand: Any, channels: int, samples: int, kernels: WholeKernels, rows: Axis, columns: Axis, bias: Any, result: Any
) -> None:
    """As `weight_products.multiply`, for whole kernels."""
    for first, like in chunks(samples, widest=2):
        _multiply_kernels(
            like, operand, kernels.values, kernels.firsts, kernels.channels, kernels.starts, rows.numbers,
            as_array(rows.shifts), as_array(rows.taps), columns.numbers,
            as_array(columns.shifts), as_array(columns.taps), channels, samples, first,
            (samples - first) // (LANES * len(like)), result.shape[2], result.shape[1], bias, result.reshape(-1),
        )  # fmt: skip


@compiled
def _are_whole(places: Any, begins: Any, ends: Any, area: int) -> bool:
    for row in range(len(begins)):
        if (ends[row] - begins[row]) % area:
            return False
        for begin in range(begins[row], ends[row], area):
            if places[begin] % area or places[begin + area - 1] != places[begin] + area - 1:
                return False
    return True


@in_threads
def _multiply_kernels(
    like: Any, operand: Any, values: Any, firsts: Any, read: Any, starts: Any, rows: Any, row_shifts: Any,
    row_taps: Any, columns: Any, column_shifts: Any, column_taps: Any, channels: int, samples: int, first: int,
    chunks: int, filters: int, across: int, bias: Any, result: Any,
) -> None:  # fmt: skip
    row_count, row_start, row_stride, _, height = rows
    column_count, column_start, _, _, width = columns
    tiles = (column_count + _TILE - 1) // _TILE
    right, down = channels * samples, width * channels * samples
    for task in prange(row_count * tiles * chunks):
        sample = first + task % chunks * len(like) * LANES
        tile, row = task // chunks % tiles, task // chunks // tiles
        top, bottom = inside(row_shifts, row, height)
        begin = tile * _TILE
        column = begin + column_shifts[0]
        to = ((row_start + row_stride * row) * across + column_start + begin) * filters * samples + sample
        if begin + _TILE <= column_count and column + 1 >= 0 and column + _TILE < width:
            before, after = np.float32(column >= 0), np.float32(column + _TILE + 1 < width)
            base = row * down + column * right + sample
            outer = base + right if column < 0 else base
            last = base + _TILE * right if column + _TILE + 1 >= width else base + (_TILE + 1) * right
            for number in range(filters):
                one = two = three = four = filled(like, bias[number])
                for kernel in range(starts[number], starts[number + 1]):
                    apart = read[kernel] * samples
                    for tap in range(top, bottom):
                        at = firsts[kernel] + row_taps[tap] * _WIDE
                        left = values[at + column_taps[0]]
                        middle = values[at + column_taps[1]]
                        beside = values[at + column_taps[2]]
                        line = apart + row_shifts[tap] * down
                        one = add_product(one, left * before, operand, outer + line)
                        line_at = base + line
                        one = add_product(one, middle, operand, line_at + right)
                        two = add_product(two, left, operand, line_at + right)
                        one = add_product(one, beside, operand, line_at + 2 * right)
                        two = add_product(two, middle, operand, line_at + 2 * right)
                        three = add_product(three, left, operand, line_at + 2 * right)
                        two = add_product(two, beside, operand, line_at + 3 * right)
                        three = add_product(three, middle, operand, line_at + 3 * right)
                        four = add_product(four, left, operand, line_at + 3 * right)
                        three = add_product(three, beside, operand, line_at + 4 * right)
                        four = add_product(four, middle, operand, line_at + 4 * right)
                        four = add_product(four, beside * after, operand, last + line)
                at = to + number * samples
                store(result, at, one)
                store(result, at + filters * samples, two)
                store(result, at + 2 * filters * samples, three)
                store(result, at + 3 * filters * samples, four)
            continue
        for place in range(begin, min(column_count, begin + _TILE)):
            low, high = inside(column_shifts, place, width)
            base = row * down + place * right + sample
            for number in range(filters):
                sums = filled(like, bias[number])
                for kernel in range(starts[number], starts[number + 1]):
                    for tap in range(top, bottom):
                        at = firsts[kernel] + row_taps[tap] * _WIDE
                        line = base + read[kernel] * samples + row_shifts[tap] * down
                        for each in range(low, high):
                            weight = values[at + column_taps[each]]
                            sums = add_product(sums, weight, operand, line + column_shifts[each] * right)
                store(result, to + ((place - begin) * filters + number) * samples, sums)
