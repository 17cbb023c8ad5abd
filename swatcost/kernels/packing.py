"""The weights that are not zero, in the order in which products read them."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numba import get_num_threads, prange

from swatcost.kernels.axes import Axis
from swatcost.kernels.compiled import compiled, in_threads
from swatcost.kernels.vectors import LANES, compress

_ROWS = 64  # of weights that a thread takes at a time


@dataclass(frozen=True)
class Weights:
    """The weights of a layer whose magnitude exceeds a threshold, filter by filter, in the order of the dense tensor.

    `shape` is that of the dense weight: filters, channels of a group, height and width of the kernel. Filter f has
    values[begins[f]:ends[f]]; `places` are their places within the filter.
    """

    shape: tuple[int, int, int, int]
    values: Any
    places: Any
    begins: Any
    ends: Any

    @property
    def count(self) -> int:
        """How many weights there are."""
        return int((self.ends - self.begins).sum())

    @staticmethod
    def above(threshold: float, dense: Any) -> "Weights":
        """Those of a contiguous weight (filters, channels, height, width) whose magnitude exceeds a threshold."""
        filters, length = dense.shape[0], dense[0].size if len(dense) else 0
        values, places = np.empty(dense.size, np.float32), np.empty(dense.size, np.int32)
        begins, ends = np.empty(filters, np.int64), np.empty(filters, np.int64)
        _compact(dense.reshape(-1), np.float32(threshold), filters, length, values, places, begins, ends)
        return Weights(dense.shape, values, places, begins, ends)


@dataclass(frozen=True)
class Packed:
    """Weights in the order in which a product reads them: for each result, tap by tap.

    Result o reads values[starts[o, t]:starts[o, t + 1]] at the t-th pair of a row's and a column's tap; `offsets` say
    where their operands lie, from the pixel and sample at hand on.
    """

    values: Any
    offsets: Any
    starts: Any


def for_outputs(weights: Weights, rows: Axis, columns: Axis, groups: int, samples: int) -> Packed:
    """The order of the forward pass: filter by filter, of inputs (height, width, channels, samples)."""
    filters, channels, _, _ = weights.shape
    slots, shifts, channel = _places(weights.shape, rows, columns)
    offsets = (shifts * channels * groups + channel) * samples
    starts = np.zeros((filters, len(rows.taps) * len(columns.taps) + 1), np.int64)
    values, found = np.empty(weights.count, np.float32), np.empty(weights.count, np.int32)
    _by_filter(
        weights.values, weights.places, weights.begins, weights.ends, slots, offsets, channels * samples,
        filters // groups, starts, values, found,
    )  # fmt: skip
    return Packed(values, found, starts)


def for_inputs(weights: Weights, rows: Axis, columns: Axis, groups: int, samples: int) -> Packed:
    """The order of grad_input: channel by channel, of output gradients (height, width, filters, samples)."""
    filters, channels, height, width = weights.shape
    slots, shifts, channel = _places(weights.shape, rows, columns)
    taps = len(rows.taps) * len(columns.taps)
    starts = np.zeros((groups * channels, taps + 1), np.int64)
    values, found = np.empty(weights.count, np.float32), np.empty(weights.count, np.int32)
    _by_channel(
        weights.values, weights.places, weights.begins, weights.ends,
        np.where(slots < 0, slots, channel * (taps + 1) + slots), shifts * filters * samples, samples, channels,
        height * width, taps, groups, starts.reshape(-1), values, found, get_num_threads(),
    )  # fmt: skip
    return Packed(values, found, starts)


def _places(shape: tuple[int, int, int, int], rows: Axis, columns: Axis) -> tuple[Any, Any, Any]:
    """For every place in a filter: the number of its pair of taps, or −1 if it is not read; how many pixels away it
    reads; and its channel.
    """
    _, channels, height, width = shape
    slots, shifts = np.full((height, width), -1, np.int64), np.zeros((height, width), np.int64)
    for slot, ((row, down), (column, right)) in enumerate(
        product(zip(rows.taps, rows.shifts, strict=True), zip(columns.taps, columns.shifts, strict=True))
    ):
        slots[row, column], shifts[row, column] = slot, down * columns.size + right
    channel = np.repeat(np.arange(channels), height * width)
    return np.tile(slots.reshape(-1), channels), np.tile(shifts.reshape(-1), channels), channel


@in_threads
def _compact(
    dense: Any, threshold: Any, filters: int, length: int, values: Any, places: Any, begins: Any, ends: Any
) -> None:
    for block in prange((filters + _ROWS - 1) // _ROWS):
        found = block * _ROWS * length  # no block has more, so that each can begin before others have ended
        for row in range(block * _ROWS, min(filters, (block + 1) * _ROWS)):
            begins[row] = found
            whole = length - length % LANES
            for place in range(0, whole, LANES):
                found += compress(
                    dense, row * length + place, threshold, np.int32(place), np.int32(1), values, places, found
                )
            for place in range(whole, length):
                weight = dense[row * length + place]
                if abs(weight) > threshold:
                    values[found] = weight
                    places[found] = place
                    found += 1
            ends[row] = found


@in_threads
def _by_filter(
    values: Any, places: Any, begins: Any, ends: Any, slots: Any, offsets: Any, of_group: int, filters: int,
    starts: Any, packed: Any, found: Any,
) -> None:  # fmt: skip
    """Sorts each filter's weights by their slot; `filters` are those of a group."""
    rows, taps = starts.shape[0], starts.shape[1] - 1
    first = np.zeros(rows + 1, np.int64)
    for row in range(rows):
        first[row + 1] = first[row] + ends[row] - begins[row]
    for row in prange(rows):
        counts = np.zeros(taps + 1, np.int64)
        for each in range(begins[row], ends[row]):
            slot = slots[places[each]]
            if slot >= 0:
                counts[slot + 1] += 1
        counts[0] = first[row]
        for tap in range(taps):
            counts[tap + 1] += counts[tap]
        for tap in range(taps + 1):
            starts[row, tap] = counts[tap]
        base = row // filters * of_group
        for each in range(begins[row], ends[row]):
            place = places[each]
            slot = slots[place]
            if slot >= 0:
                packed[counts[slot]] = values[each]
                found[counts[slot]] = base + offsets[place]
                counts[slot] += 1


@compiled
def _from(places: Any, begin: int, end: int, least: int) -> int:
    """The first of places[begin:end], which increase, that is not below `least`."""
    while begin < end:
        middle = (begin + end) // 2
        if places[middle] < least:
            begin = middle + 1
        else:
            end = middle
    return begin


@in_threads
def _by_channel(
    values: Any, places: Any, begins: Any, ends: Any, slots: Any, offsets: Any, samples: int, channels: int,
    area: int, taps: int, groups: int, starts: Any, packed: Any, found: Any, threads: int,
) -> None:  # fmt: skip
    """Sorts the weights of all filters of a group by channel and slot; each thread takes some channels."""
    filters = len(begins)
    parts = min(threads, channels)
    for part in prange(parts * groups):
        group, share = part // parts, part % parts
        low, high = share * channels // parts, (share + 1) * channels // parts
        for row in range(group * filters // groups, (group + 1) * filters // groups):
            for each in range(
                _from(places, begins[row], ends[row], low * area), _from(places, begins[row], ends[row], high * area)
            ):
                slot = slots[places[each]]
                if slot >= 0:
                    starts[group * channels * (taps + 1) + slot + 1] += 1
    before = 0
    for channel in range(groups * channels):
        at = channel * (taps + 1)
        starts[at] = before
        for tap in range(taps):
            starts[at + tap + 1] += starts[at + tap]
        before = starts[at + taps]
    ends_of = starts.copy()
    for part in prange(parts * groups):
        group, share = part // parts, part % parts
        low, high = share * channels // parts, (share + 1) * channels // parts
        for row in range(group * filters // groups, (group + 1) * filters // groups):
            for each in range(
                _from(places, begins[row], ends[row], low * area), _from(places, begins[row], ends[row], high * area)
            ):
                place = places[each]
                slot = slots[place]
                if slot >= 0:
                    at = group * channels * (taps + 1) + slot
                    packed[ends_of[at]] = values[each]
                    found[ends_of[at]] = offsets[place] + row * samples
                    ends_of[at] += 1
