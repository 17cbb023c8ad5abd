"""Products with weights of which whole 3 × 3 kernels are dropped, as by structured SWAT: forward pass and grad_input.

A thread takes a square of 4 × 4 pixels of one vector of samples. It copies what these read to one place, channel by
channel, with zeros for what lies outside the image. Each of the 36 vectors of a channel is then read once per kernel
and used up to nine times, and the sums stay in registers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, prange

from swatcost.kernels.axes import Axis
from swatcost.kernels.compiled import compiled, in_threads
from swatcost.kernels.packing import Weights
from swatcost.kernels.vectors import KERNEL, LANES, TILE, add_convolved, filled, load, store

_WINDOW = TILE + KERNEL - 1  # pixels, that a row of the square reads
_VECTOR = (0,)
_SUMS = (0,) * TILE**2


@dataclass(frozen=True)
class WholeKernels:
    """The kernels that are kept, result by result, in the order in which a product reads them.

    Result o reads kernels starts[o] to starts[o + 1]. Kernel k has values[9 · k] and what follows, from the pixel of
    the smallest shift on; `channels` are those that it reads.
    """

    values: Any
    channels: Any
    starts: Any


def are_whole(weights: Weights, rows: Axis, columns: Axis) -> bool:
    """Whether kernels of 3 × 3 neighbouring pixels are kept or dropped whole.

    Of an image of one or two pixels a kernel reads mostly what lies outside, which products by single weights leave
    out.
    """
    _, _, height, width = weights.shape
    if height != KERNEL or width != KERNEL or min(rows.count, columns.count) < KERNEL:
        return False
    return all(map(_are_neighbours, (rows, columns))) and bool(
        _are_whole(weights.places, weights.begins, weights.ends, KERNEL**2)
    )


def _are_neighbours(axis: Axis) -> bool:
    steps = axis.step == axis.stride == 1 and len(axis.shifts) == KERNEL
    return steps and axis.shifts[-1] - axis.shifts[0] == KERNEL - 1


def kernels_for_outputs(weights: Weights, rows: Axis, columns: Axis, groups: int) -> WholeKernels:
    """The order of the forward pass: filter by filter."""
    filters, channels, _, _ = weights.shape
    firsts, numbers, own = _kernels(weights)
    read = own + numbers // (filters // groups) * channels
    return _in_order(weights, rows, columns, firsts, numbers, read, filters)


def kernels_for_inputs(weights: Weights, rows: Axis, columns: Axis, groups: int) -> WholeKernels:
    """The order of grad_input: channel by channel."""
    filters, channels, _, _ = weights.shape
    firsts, numbers, own = _kernels(weights)
    results = own + numbers // (filters // groups) * channels
    return _in_order(weights, rows, columns, firsts, results, numbers, groups * channels)


def _kernels(weights: Weights) -> tuple[Any, Any, Any]:
    """Of every kernel that is kept: where its values begin, its filter, and its channel in its group."""
    counts = (weights.ends - weights.begins) // KERNEL**2
    before = np.cumsum(counts) - counts
    firsts = np.repeat(weights.begins - before * KERNEL**2, counts) + np.arange(counts.sum()) * KERNEL**2
    return firsts, np.repeat(np.arange(len(counts)), counts), weights.places[firsts] // KERNEL**2


def _in_order(
    weights: Weights, rows: Axis, columns: Axis, firsts: Any, results: Any, read: Any, count: int
) -> WholeKernels:
    """Kernels by one of `count` results, to each of which they keep their order, with values by increasing shifts."""
    starts = np.append(0, np.cumsum(np.bincount(results, minlength=count)))
    values, channels = np.empty(len(firsts) * KERNEL**2, np.float32), np.empty(len(firsts), np.int64)
    places = np.array([row * KERNEL + column for row in rows.taps for column in columns.taps])
    _sort(weights.values, firsts, results, read, places, starts[:-1].copy(), values, channels)
    return WholeKernels(values, channels, starts)


def multiply_kernels(
    operand: Any, channels: int, samples: int, kernels: WholeKernels, rows: Axis, columns: Axis, bias: Any, result: Any
) -> None:
    """As `weight_products.multiply`, for whole kernels."""
    _multiply_kernels(
        operand, channels, samples, kernels.values, kernels.channels, kernels.starts,
        (rows.count, rows.shifts[0], rows.size), (columns.count, columns.shifts[0], columns.size), bias,
        result.reshape(-1), get_num_threads(), _VECTOR, _SUMS,
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


@compiled
def _sort(
    given: Any, firsts: Any, results: Any, read: Any, places: Any, next_of: Any, values: Any, channels: Any
) -> None:
    for kernel in range(len(firsts)):
        to = next_of[results[kernel]]
        next_of[results[kernel]] += 1
        channels[to] = read[kernel]
        for place in range(len(places)):
            values[to * len(places) + place] = given[firsts[kernel] + places[place]]


@compiled
def _copy_window(
    vector: Any, operand: Any, channels: int, samples: int, sample: int, top: int, height: int, left: int, width: int,
    window: Any,
) -> None:  # fmt: skip
    """Copies a square of pixels from row `top` and column `left` on: (channels, 6, 6, LANES), zeros outside."""
    apart = _WINDOW**2 * LANES
    for row in range(_WINDOW):
        for column in range(_WINDOW):
            to = (row * _WINDOW + column) * LANES
            if 0 <= top + row < height and 0 <= left + column < width:
                base = ((top + row) * width + left + column) * channels * samples + sample
                for channel in range(channels):
                    store(window, to + channel * apart, load(vector, operand, base + channel * samples))
            else:
                for channel in range(channels):
                    store(window, to + channel * apart, filled(vector, np.float32(0)))


@in_threads
def _multiply_kernels(
    operand: Any, channels: int, samples: int, values: Any, read: Any, starts: Any, rows: Any, columns: Any, bias: Any,
    result: Any, threads: int, vector: Any, like: Any,
) -> None:  # fmt: skip
    row_count, row_shift, height = rows
    column_count, column_shift, width = columns
    down, across = (row_count + TILE - 1) // TILE, (column_count + TILE - 1) // TILE
    chunks, filters = samples // LANES, len(starts) - 1
    tasks = down * across * chunks
    for thread in prange(threads):
        window = np.empty(channels * _WINDOW**2 * LANES, np.float32)
        square = np.empty(TILE**2 * LANES, np.float32)
        for task in range(thread * tasks // threads, (thread + 1) * tasks // threads):
            sample, rest = task % chunks * LANES, task // chunks
            top, left = rest // across * TILE, rest % across * TILE
            _copy_window(
                vector, operand, channels, samples, sample, top + row_shift, height, left + column_shift, width, window
            )
            for number in range(filters):
                sums = filled(like, bias[number])
                for kernel in range(starts[number], starts[number + 1]):
                    sums = add_convolved(sums, values, kernel * KERNEL**2, window, read[kernel] * _WINDOW**2 * LANES)
                store(square, 0, sums)
                for row in range(min(TILE, row_count - top)):
                    for column in range(min(TILE, column_count - left)):
                        pixel = (top + row) * column_count + left + column
                        found = load(vector, square, (row * TILE + column) * LANES)
                        store(result, (pixel * filters + number) * samples + sample, found)
