"""The gradient of a weight from sparse activations: a dense result, of convolutions and linear layers.

An activation that is not zero is multiplied by the gradients of all filters at a pixel and sample, which lie side by
side in a copy: a few vectors. Sums of one channel and one position of the kernel stay in registers over a block of
pixels, whose gradients stay in the cache while all channels pass.
"""

from typing import Any

import numpy as np
from numba import get_num_threads, prange

from swatcost.kernels.axes import Axis, as_array
from swatcost.kernels.compiled import compiled, in_threads
from swatcost.kernels.layout import Matrices, exchange, turned
from swatcost.kernels.memory import in_whole_lines
from swatcost.kernels.vectors import LANES, add_product, compress, element, filled, load, store

_TALL, _WIDE = 2, 4  # pixels of a block
POSITIONS = 512
"""Pixels × samples of a block."""

_CHANNELS = 16  # whose activations are picked out at a time


def lanes_of(filters: int) -> tuple[int, ...]:
    """The vectors that hold the gradients of some filters at a time: one, two or four."""
    for like in ((0, 0, 0, 0), (0, 0)):
        lanes = len(like) * LANES
        if filters % lanes == 0 or filters > 4 * lanes:
            return like
    return (0,)


def beside(gradient: Any, copy: Any) -> None:
    """Copies an output gradient (pixels, filters, samples) so that the filters of a pixel and sample lie side by side.

    copy: (blocks of filters, pixels, samples, filters of a block); filters beyond the last are zeros.
    """
    pixels, filters, samples = gradient.shape
    lanes, given, of_copy = copy.shape[3], gradient.reshape(-1), Matrices(samples * copy.shape[3], copy.shape[3])
    at_once = filters // lanes if pixels == 1 else 0  # with one pixel, whole blocks can be copied in one call
    if at_once:
        exchange(given, copy, Matrices(lanes * samples, samples), of_copy, count=at_once, lines=lanes, columns=samples)
    for number in range(at_once, len(copy)):
        few, own = min(lanes, filters - number * lanes), given[number * lanes * samples :]
        pixel = Matrices(filters * samples, samples)
        exchange(own, copy[number], pixel, of_copy, count=pixels, lines=few, columns=samples)
        copy[number, :, :, few:] = 0


def add_products(
    operand: Any, threshold: float, copy: Any, rows: Axis, columns: Axis, samples: int, channels: tuple[int, int, int],
    kernel_width: int, across: int, sums: Any,
) -> None:  # fmt: skip
    """Adds to the gradient of a weight the products of those inputs that the axes name.

    operand: flat, of (height, width, channels, samples), whose width is `across`; numbers whose magnitude does not
    exceed the threshold count as zeros. copy: the output gradient, by `beside`. channels: the first of a group, their
    count, and those of all groups. sums: (channels, kernel height × width, blocks of filters × filters of a block).
    """
    taps = np.array([[row * kernel_width + column for column in columns.taps] for row in rows.taps], np.int64)
    if not taps.size:
        return
    like = (0,) * (copy.shape[3] // LANES)
    tall, wide = min(_TALL, rows.count), min(_WIDE, columns.count)
    deep = min(samples, max(LANES, POSITIONS // (tall * wide) // LANES * LANES))
    _add_products(
        like, operand, np.float32(threshold), copy.reshape(-1), copy.shape[0], rows.numbers, as_array(rows.shifts),
        columns.numbers, as_array(columns.shifts), taps, samples, channels, across, tall, wide, deep, sums.reshape(-1),
        sums.shape[1], min(get_num_threads(), channels[1]),
    )  # fmt: skip


def products_of_rows(operand: Any, threshold: float, copy: Any, samples: int, result: Any) -> None:
    """Writes the gradient of a linear layer's weight (filters, inputs), from a block of samples.

    operand: flat, of (inputs, samples). copy: the output gradient, by `beside`.
    """
    filters, inputs = result.shape
    values, places = np.empty(inputs * samples, np.float32), np.empty(inputs * samples, np.int32)
    ends = np.empty(inputs, np.int64)
    _products_of_rows(
        (0,) * (copy.shape[3] // LANES), operand, np.float32(threshold), copy.reshape(-1), copy.shape[0], samples,
        inputs, filters, values, places, ends, result.reshape(-1), in_whole_lines(result, inputs),
    )  # fmt: skip


def arranged(sums: Any, gradient: Any) -> None:
    """Writes sums (channels, kernel height × width, filters) to the gradient (filters, channels, kernel …)."""
    channels, window, padded = sums.shape
    places = channels * window
    exchange(
        sums, gradient, Matrices(0, padded), Matrices(0, places), count=1, lines=places, columns=len(gradient),
        past_cache=True,
    )  # fmt: skip


@compiled
def _add_run(
    like: Any, values: Any, places: Any, begin: int, end: int, copy: Any, shift: int, sums: Any, at: int
) -> None:
    found = load(like, sums, at)
    for each in range(begin, end):
        found = add_product(found, element(values, each), copy, shift + element(places, each))
    store(sums, at, found)


@in_threads
def _add_products(
    like: Any, operand: Any, threshold: Any, copy: Any, blocks: int, rows: Any, row_shifts: Any, columns: Any,
    column_shifts: Any, taps: Any, samples: int, channels: Any, across: int, tall: int, wide: int, deep: int,
    sums: Any, window: int, threads: int,
) -> None:  # fmt: skip
    row_count, row_start, row_stride, _, height = rows
    column_count, column_start, column_stride, _, width = columns
    first, count, total = channels
    lanes = len(like) * LANES
    room = tall * wide * deep
    for thread in prange(threads):
        values, places = np.empty(_CHANNELS * room, np.float32), np.empty(_CHANNELS * room, np.int32)
        ends = np.empty((_CHANNELS, tall * wide + 1), np.int64)
        low, high = thread * count // threads, (thread + 1) * count // threads
        for top in range(0, row_count, tall):
            bottom = min(row_count, top + tall)
            for left in range(0, column_count, wide):
                right = min(column_count, left + wide)
                held = right - left
                for sample in range(0, samples, deep):
                    beyond = min(samples, sample + deep)
                    for channel in range(low, high, _CHANNELS):
                        few = min(high - channel, _CHANNELS)
                        for each in range(few):
                            ends[each, 0] = each * room
                        for pixel in range((bottom - top) * held):
                            row, column = top + pixel // held, left + pixel % held
                            source = (row_start + row_stride * row) * across + column_start + column_stride * column
                            there = (row * width + column) * samples
                            for each in range(few):
                                at = (source * total + first + channel + each) * samples
                                found = ends[each, pixel]
                                for place in range(sample, beyond, LANES):
                                    found += compress(
                                        operand, at + place, threshold, np.int32((there + place) * lanes),
                                        np.int32(lanes), values, places, found,
                                    )  # fmt: skip
                                ends[each, pixel + 1] = found
                        for block in range(blocks):
                            copied = block * height * width * samples * lanes
                            for each in range(few):
                                for row in range(len(row_shifts)):
                                    up = max(top, -row_shifts[row])
                                    down = min(bottom, height - row_shifts[row])
                                    for column in range(len(column_shifts)):
                                        begin = max(left, -column_shifts[column]) - left
                                        end = min(right, width - column_shifts[column]) - left
                                        shift = row_shifts[row] * width + column_shifts[column]
                                        source = copied + shift * samples * lanes
                                        at = (channel + each) * window + taps[row, column]
                                        to = (at * blocks + block) * lanes
                                        if begin == 0 and end == held:
                                            if up < down:
                                                _add_run(
                                                    like, values, places, ends[each, (up - top) * held],
                                                    ends[each, (down - top) * held], copy, source, sums, to,
                                                )  # fmt: skip
                                        elif begin < end:
                                            for line in range(up - top, down - top):
                                                _add_run(
                                                    like, values, places, ends[each, line * held + begin],
                                                    ends[each, line * held + end], copy, source, sums, to,
                                                )  # fmt: skip


@in_threads
def _products_of_rows(
    like: Any, operand: Any, threshold: Any, copy: Any, blocks: int, samples: int, inputs: int, filters: int,
    values: Any, places: Any, ends: Any, result: Any, past: bool,
) -> None:  # fmt: skip
    lanes = len(like) * LANES
    for task in prange((inputs + _CHANNELS - 1) // _CHANNELS):
        for number in range(task * _CHANNELS, min(inputs, (task + 1) * _CHANNELS)):
            found = number * samples
            for sample in range(0, samples, LANES):
                found += compress(
                    operand, number * samples + sample, threshold, np.int32(sample * lanes), np.int32(lanes), values,
                    places, found,
                )  # fmt: skip
            ends[number] = found
    for block in prange(blocks):
        tile = np.zeros(LANES * lanes, np.float32)
        source = block * samples * lanes
        for first in range(0, inputs, LANES):
            few = min(LANES, inputs - first)
            for each in range(few):
                sums = filled(like, np.float32(0))
                for place in range((first + each) * samples, ends[first + each]):
                    sums = add_product(sums, element(values, place), copy, source + element(places, place))
                store(tile, each * lanes, sums)
            for number in range(block * lanes, min(filters, (block + 1) * lanes), LANES):
                held = min(LANES, filters - number)
                if few == held == LANES:
                    turned(tile, number - block * lanes, lanes, result, number * inputs + first, inputs, past)
                    continue
                for row in range(held):
                    for each in range(few):
                        result[(number + row) * inputs + first + each] = tile[
                            each * lanes + number - block * lanes + row
                        ]
