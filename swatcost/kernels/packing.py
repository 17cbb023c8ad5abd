"""The weights that are not zero, in the order in which products read them."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numba import get_num_threads, prange

from swatcost.kernels.axes import Axis
from swatcost.kernels.compiled import compiled, in_threads
from swatcost.kernels.vectors import LANES, compress

_LISTS = 512  # of weights that are written in turn


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
        begins, ends = np.empty(filters, np.int64), np.empty(filters, np.int64)
        threads = get_num_threads()
        bounds, counts = np.arange(threads + 1) * filters // threads, np.empty(threads, np.int64)  # of each thread
        room = np.empty(dense.size, np.float32), np.empty(dense.size, np.int32)  # if all count; not kept
        _compact(dense.reshape(-1), np.float32(threshold), length, bounds, *room, begins, ends, counts)
        starts = np.append(0, np.cumsum(counts))
        values, places = np.empty(starts[-1], np.float32), np.empty(starts[-1], np.int32)
        apart = bounds[:-1] * length - starts[:-1]
        _move(*room, apart, starts, values, places)
        moved = np.repeat(apart, np.diff(bounds))
        return Weights(dense.shape, values, places, begins - moved, ends - moved)


@dataclass(frozen=True)
class Packed:
    """Weights in the order in which a product reads them: for each result, tap by tap.

    Result o reads values[starts[o, t]:starts[o, t + 1]] at the t-th pair of a row's and a column's tap. `offsets` say
    how far their operands lie from the first channel of the pixel at hand, in channels.
    """

    values: Any
    offsets: Any
    starts: Any


def for_outputs(weights: Weights, rows: Axis, columns: Axis, groups: int) -> Packed:
    """The order of the forward pass: filter by filter, of inputs (height, width, channels, samples)."""
    filters, channels, height, width = weights.shape
    if height == width == groups == 1 and rows.shifts == columns.shifts == (0,):
        return Packed(weights.values, weights.places, np.stack((weights.begins, weights.ends), 1))
    slots, shifts, channel = _places(weights.shape, rows, columns)
    starts = np.empty((filters, len(rows.taps) * len(columns.taps) + 1), np.int64)
    values, found = np.empty(weights.count, np.float32), np.empty(weights.count, np.int32)
    _by_filter(
        weights.values, weights.places, weights.begins, weights.ends, slots, shifts * channels * groups + channel,
        channels, filters // groups, starts, values, found,
    )  # fmt: skip
    return Packed(values, found, starts)


def for_inputs(weights: Weights, rows: Axis, columns: Axis, groups: int) -> Packed:
    """The order of grad_input: channel by channel, of output gradients (height, width, filters, samples)."""
    filters, channels, height, width = weights.shape
    slots, shifts, channel = _places(weights.shape, rows, columns)
    taps = len(rows.taps) * len(columns.taps)
    starts = np.zeros((groups * channels, taps + 1), np.int64)
    values, found = np.empty(weights.count, np.float32), np.empty(weights.count, np.int32)
    _by_channel(
        weights.values, weights.places, weights.begins, weights.ends,
        np.where(slots < 0, slots, channel * (taps + 1) + slots), shifts * filters, channels, height * width, taps,
        groups, starts.reshape(-1), values, found, min(get_num_threads(), channels),
    )  # fmt: skip
    return Packed(values, found, starts)


def _places(shape: tuple[int, int, int, int], rows: Axis, columns: Axis) -> tuple[Any, Any, Any]:
    """For every place in a filter: the number of its pair of taps, or −1 if it is not read; how many pixels away it
    reads; and its channel.
    """
    _, channels, height, width = shape
    slots, shifts = np.full((height, width), -1, np.int32), np.zeros((height, width), np.int32)
    for slot, ((row, down), (column, right)) in enumerate(
        product(zip(rows.taps, rows.shifts, strict=True), zip(columns.taps, columns.shifts, strict=True))
    ):
        slots[row, column], shifts[row, column] = slot, down * columns.size + right
    channel = np.repeat(np.arange(channels, dtype=np.int32), height * width)
    return np.tile(slots.reshape(-1), channels), np.tile(shifts.reshape(-1), channels), channel


@in_threads
def _compact(
    dense: Any, threshold: Any, length: int, bounds: Any, values: Any, places: Any, begins: Any, ends: Any, counts: Any
) -> None:
    """Each thread takes the filters between two bounds, and writes from where the first begins in the dense tensor.

    What is found never lies beyond what was read, so the arbitrary numbers of `compress` do not, either.
    """
    whole = length - length % LANES
    for thread in prange(len(counts)):
        first = bounds[thread] * length
        found = first
        for row in range(bounds[thread], bounds[thread + 1]):
            begins[row] = found
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
        counts[thread] = found - first


@in_threads
def _move(values: Any, places: Any, apart: Any, starts: Any, to_values: Any, to_places: Any) -> None:
    for thread in prange(len(apart)):
        distance = apart[thread]
        for each in range(starts[thread], starts[thread + 1]):
            to_values[each] = values[each + distance]
            to_places[each] = places[each + distance]


@in_threads
def _by_filter(
    values: Any, places: Any, begins: Any, ends: Any, slots: Any, offsets: Any, channels: int, filters: int,
    starts: Any, packed: Any, found: Any,
) -> None:  # fmt: skip
    """Sorts each filter's weights by their slot; `channels` and `filters` are those of a group."""
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
        base = row // filters * channels
        for each in range(begins[row], ends[row]):
            place = places[each]
            slot = slots[place]
            if slot >= 0:
                packed[counts[slot]] = values[each]
                found[counts[slot]] = base + offsets[place]
                counts[slot] += 1


@compiled
def first_from(places: Any, begin: int, end: int, least: int) -> int:
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
    values: Any, places: Any, begins: Any, ends: Any, slots: Any, shifts: Any, channels: int, area: int, taps: int,
    groups: int, starts: Any, packed: Any, found: Any, threads: int,
) -> None:  # fmt: skip
    """Sorts the weights of all filters of a group by channel and slot.

    Each thread takes some channels, a few at a time, so that the ends of their lists stay in the cache.
    """
    filters = len(begins) // groups
    few = max(1, _LISTS // max(1, taps))
    for task in prange(threads * groups):
        group, thread = task // threads, task % threads
        low, high = thread * channels // threads, (thread + 1) * channels // threads
        first = group * filters
        before = 0
        for row in range(first):
            before += ends[row] - begins[row]
        reached = np.empty(filters, np.int64)
        for row in range(filters):
            reached[row] = first_from(places, begins[first + row], ends[first + row], low * area)
            before += reached[row] - begins[first + row]
        for channel in range(low, high, few):
            beyond = min(high, channel + few)
            base = group * channels * (taps + 1)
            until = np.empty(filters, np.int64)
            for row in range(filters):
                each, end = reached[row], ends[first + row]
                while each < end and places[each] < beyond * area:
                    slot = slots[places[each]]
                    if slot >= 0:
                        starts[base + slot + 1] += 1
                    each += 1
                until[row] = each
            for number in range(channel, beyond):
                at = base + number * (taps + 1)
                starts[at] = before
                for tap in range(taps):
                    starts[at + tap + 1] += starts[at + tap]
                before = starts[at + taps]
            begin = base + channel * (taps + 1)
            next_of = starts[begin : base + beyond * (taps + 1)].copy()
            for row in range(filters):
                for each in range(reached[row], until[row]):
                    place = places[each]
                    slot = slots[place]
                    if slot >= 0:
                        at = base + slot - begin
                        packed[next_of[at]] = values[each]
                        found[next_of[at]] = shifts[place] + first + row
                        next_of[at] += 1
                reached[row] = until[row]
