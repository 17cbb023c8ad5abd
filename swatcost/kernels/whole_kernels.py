"""Products with weights of which whole 3 × 3 kernels are dropped, as by structured SWAT: forward pass and grad_input.

A thread takes a square of 4 × 4 pixels of one vector of samples. It copies what these read to one place, channel by
channel, with zeros for what lies outside the image. Each of the 36 vectors of a channel is then read once per kernel
and used up to nine times, and the sums stay in registers.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import get_num_threads, prange

from swatcost.kernels.axes import Axis
from swatcost.kernels.compiled import compiled, in_threads
from swatcost.kernels.memory import in_lines
from swatcost.kernels.packing import Weights
from swatcost.kernels.vectors import KERNEL, LANES, TILE, add_convolved, filled, load, store

_AREA = KERNEL**2
_WINDOW = TILE + KERNEL - 1  # pixels that a row of the square reads
_VECTOR = (0,)
_SUMS = (0,) * TILE**2


@dataclass(frozen=True)
class WholeKernels:
    """The kernels W[f, c] of a layer whose L1 norm exceeds a threshold, zeros within them included.

    `shape` is that of the dense weight: filters, channels of a group, height and width of the kernel. Result r of a
    product, a filter in the forward pass and a channel in grad_input, has kernels starts[r] to starts[r + 1], which
    read `channels`; the values of each lie side by side.
    """

    shape: tuple[int, int, int, int]
    values: Any
    channels: Any
    starts: Any

    @staticmethod
    def above(threshold: float, dense: Any) -> "WholeKernels":
        """Those of a contiguous weight (filters, channels, height, width), by filter."""
        filters, channels, height, width = dense.shape
        area, flat = height * width, dense.reshape(-1)
        kept, counts = np.empty((filters, channels), np.bool_), np.empty(filters, np.int64)
        _compare(flat, np.float32(threshold), area, kept, counts)
        starts = np.append(0, np.cumsum(counts))
        values, read = np.empty(starts[-1] * area, np.float32), np.empty(starts[-1], np.int64)
        _compact(flat, kept, area, starts, values, read)
        return WholeKernels(dense.shape, values, read, starts)

    @cached_property
    def one_by_one(self) -> Weights:
        """The same, weight by weight."""
        area = self.shape[2] * self.shape[3]
        places = self.channels[:, None] * area + np.arange(area)
        ends = self.starts * area
        return Weights(self.shape, self.values, places.astype(np.int32).reshape(-1), ends[:-1], ends[1:])

    def can_multiply(self, rows: Axis, columns: Axis) -> bool:
        """Whether `multiply_kernels` can compute a product: only with 3 × 3 kernels over neighbouring pixels.

        Of an image of one or two pixels a kernel reads mostly what lies outside, which products by single weights
        leave out.
        """
        return min(rows.count, columns.count) >= KERNEL and all(map(_are_neighbours, (rows, columns)))

    def for_outputs(self, groups: int) -> "WholeKernels":
        """The kernels by filter, reading the channels of all groups."""
        if groups == 1:
            return self
        filters, channels, *_ = self.shape
        first = np.arange(filters) // (filters // groups) * channels
        return WholeKernels(
            self.shape, self.values, self.channels + np.repeat(first, np.diff(self.starts)), self.starts
        )

    def for_inputs(self, groups: int) -> "WholeKernels":
        """The kernels by channel, rotated by 180°, reading filters."""
        filters, channels, *_ = self.shape
        starts, sources = np.zeros(groups * channels + 1, np.int64), np.empty_like(self.channels)
        read, values = np.empty_like(self.channels), np.empty_like(self.values)
        _sort(self.channels, self.starts, channels, filters // groups, starts, sources, read)
        _rotate(self.values, sources, values)
        return WholeKernels(self.shape, values, read, starts)


def _are_neighbours(axis: Axis) -> bool:
    steps = axis.step == axis.stride == 1 and len(axis.shifts) == KERNEL
    return steps and axis.shifts[-1] - axis.shifts[0] == KERNEL - 1


def multiply_kernels(
    operand: Any, channels: int, samples: int, kernels: WholeKernels, rows: Axis, columns: Axis, bias: Any, result: Any
) -> None:
    """As `weight_products.multiply`, for whole kernels."""
    _multiply_kernels(
        operand, channels, samples, kernels.values, kernels.channels, kernels.starts,
        (rows.count, rows.shifts[0], rows.size), (columns.count, columns.shifts[0], columns.size), bias,
        result.reshape(-1), in_lines(get_num_threads(), (channels * _WINDOW**2 + TILE**2) * LANES), _VECTOR, _SUMS,
    )  # fmt: skip


@in_threads
def _compare(dense: Any, threshold: Any, area: int, kept: Any, counts: Any) -> None:
    filters, channels = kept.shape
    for row in prange(filters):
        count = 0
        for channel in range(channels):
            first = (row * channels + channel) * area
            norm = abs(dense[first])
            if area == _AREA:  # a loop of known length
                for place in range(1, _AREA):
                    norm += abs(dense[first + place])
            else:
                for place in range(1, area):
                    norm += abs(dense[first + place])
            kept[row, channel] = norm > threshold
            count += norm > threshold
        counts[row] = count


@in_threads
def _compact(dense: Any, kept: Any, area: int, starts: Any, values: Any, read: Any) -> None:
    filters, channels = kept.shape
    for row in prange(filters):
        found = starts[row]
        for channel in range(channels):
            if kept[row, channel]:
                read[found] = channel
                for place in range(area):
                    values[found * area + place] = dense[(row * channels + channel) * area + place]
                found += 1


@compiled
def _sort(channels_of: Any, starts: Any, channels: int, filters: int, ends: Any, sources: Any, read: Any) -> None:
    """Sorts kernels by channel, of those of all groups; `channels` and `filters` are the numbers in a group.

    ends: zeros, of which those after the first become the ends of the channels' kernels.
    """
    for row in range(len(starts) - 1):
        base = row // filters * channels + 1
        for kernel in range(starts[row], starts[row + 1]):
            ends[base + channels_of[kernel]] += 1
    for channel in range(len(ends) - 1):
        ends[channel + 1] += ends[channel]
    next_of = ends[:-1].copy()
    for row in range(len(starts) - 1):
        base = row // filters * channels
        for kernel in range(starts[row], starts[row + 1]):
            to = next_of[base + channels_of[kernel]]
            next_of[base + channels_of[kernel]] += 1
            sources[to] = kernel
            read[to] = row


@in_threads
def _rotate(given: Any, sources: Any, values: Any) -> None:
    for kernel in prange(len(sources)):
        for place in range(_AREA):
            values[kernel * _AREA + place] = given[sources[kernel] * _AREA + _AREA - 1 - place]


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
    result: Any, scratch: Any, vector: Any, like: Any,
) -> None:  # fmt: skip
    row_count, row_shift, height = rows
    column_count, column_shift, width = columns
    down, across = (row_count + TILE - 1) // TILE, (column_count + TILE - 1) // TILE
    chunks, filters = samples // LANES, len(starts) - 1
    tasks, threads = down * across * chunks, len(scratch)
    for thread in prange(threads):
        window = scratch[thread]  # and beyond it, the square
        square = channels * _WINDOW**2 * LANES
        for task in range(thread * tasks // threads, (thread + 1) * tasks // threads):
            sample, rest = task % chunks * LANES, task // chunks
            top, left = rest // across * TILE, rest % across * TILE
            _copy_window(
                vector, operand, channels, samples, sample, top + row_shift, height, left + column_shift, width, window
            )
            for number in range(filters):
                sums = filled(like, bias[number])
                for kernel in range(starts[number], starts[number + 1]):
                    sums = add_convolved(sums, values, kernel * _AREA, window, read[kernel] * _WINDOW**2 * LANES)
                store(window, square, sums)
                for row in range(min(TILE, row_count - top)):
                    for column in range(min(TILE, column_count - left)):
                        pixel = (top + row) * column_count + left + column
                        found = load(vector, window, square + (row * TILE + column) * LANES)
                        store(result, (pixel * filters + number) * samples + sample, found)
