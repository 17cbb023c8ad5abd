"""The cycles of one pass: with zeros skipped by the front end, or with every line costing a cycle."""

from math import ceil, sqrt
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from swatcost.accelerator.architecture import Architecture
from swatcost.accelerator.cycles import Cycles, Slots
from swatcost.accelerator.mapping import Filters, Mask

Counts = npt.NDArray[np.int64]

_SAMPLED_LINES = 2048
"""Lines of a randomly drawn operand that are walked at most, in one round of tiles; longer walks are extrapolated."""

_importing = Lock()
"""Layers run in threads. If an import fails in two at once, Python gives one of them an unfinished module."""


class _Walked(NamedTuple):
    """The counts of each tile, int64 [tiles] each: its cycles, and slots for one window.

    `busy` did work, `ragged` are beyond the last channel, `waiting` belong to filters with no work in reach while
    another had some, and `present` are all slots of existing filters.
    """

    cycles: Counts
    busy: Counts
    ragged: Counts
    waiting: Counts
    present: Counts


def unmapped_pass(macs: float, architecture: Architecture) -> Cycles:
    """Work known only by its amount [MACs], with every slot busy."""
    cycles = macs / architecture.macs_per_cycle
    return Cycles(cycles, cycles, cycles, Slots(busy=macs))


def dense_pass(filters: Filters, architecture: Architecture) -> Cycles:
    """A pass in which nothing is skipped."""
    cycles = filters.dense_cycles(architecture)
    slots = Slots(busy=filters.macs, ragged=cycles * architecture.macs_per_cycle - filters.macs)
    return Cycles(cycles, cycles, filters.macs / architecture.macs_per_cycle, slots)


def walked_pass(filters: Filters, mask: Mask, architecture: Architecture) -> Cycles:
    """A pass whose filters are all walked: mask is bool [groups · filters, positions, channels], False for zeros."""
    walked = _walk(mask, filters.filters, filters.groups, architecture)
    whole_rounds = np.append(walked.cycles, np.zeros(-len(walked.cycles) % architecture.tiles, dtype=np.int64))
    slowest = whole_rounds.reshape(-1, architecture.tiles).max(axis=1)
    return _cycles(filters, walked, float(slowest.sum()), 1.0, architecture)


def sampled_pass(filters: Filters, sparsity: float, numbers: np.random.Generator, architecture: Architecture) -> Cycles:
    """A pass whose operand has randomly placed zeros: one round of tiles is walked, over a sample of its lines."""
    every_tile = filters.tiles(architecture.rows)
    rows = min(filters.filters, min(every_tile, architecture.tiles) * architecture.rows)
    length = min(filters.channels, _SAMPLED_LINES * architecture.lanes)
    kept = numbers.random((rows, 1, length), dtype=np.float32) >= sparsity
    walked = _walk(kept, rows, 1, architecture)
    longer = filters.lines(architecture.lanes) / ceil(length / architecture.lanes)
    mean = walked.cycles.mean()
    # a sum of many lines deviates from its mean by the square root of their number
    one_round = mean * longer + (walked.cycles.max() - mean) * sqrt(longer)
    cycles = np.full(ceil(every_tile / architecture.tiles), one_round).sum()
    repeated = [np.repeat(each, ceil(every_tile / len(each)))[:every_tile] for each in walked]
    whole = _Walked(*repeated)
    share = walked.present.sum() / whole.present.sum() if whole.present.any() else 1.0  # all zeros: nothing to scale
    scale = longer * filters.groups * filters.filters / rows * share
    return _cycles(filters, whole, float(cycles), scale, architecture)


def _walk(mask: Mask, filters: int, groups: int, architecture: Architecture) -> _Walked:
    """The counts of all tiles' walks; a tile's filters belong to one group."""
    with _importing:
        from swatcost.accelerator import schedule  # imports numba, which a dense step does not need

    lanes = architecture.lanes
    of_group = schedule.tiles_of(filters, architecture.rows)
    starts = [of_group[:-1] + group * filters for group in range(groups)]
    ends = np.append(np.concatenate(starts), groups * filters)
    ahead, aside = connections(architecture)
    padding = schedule.padding_of(mask.shape[1], mask.shape[2], lanes)
    lines = schedule.packed(mask, lanes)
    counted = schedule.walk(lines, ends, architecture.shape.lookahead, ahead, aside, lanes, padding)
    cycles, busy, ragged, waiting, _ = counted.T  # in the order of schedule's columns
    return _Walked(cycles, busy, ragged, waiting, cycles * np.diff(ends) * lanes)


def connections(architecture: Architecture) -> tuple[Counts, Counts]:
    """Offsets as arrays: lines ahead, and lanes aside modulo the lanes; empty for a full crossbar."""
    offsets = () if architecture.shape.kind == "X" else architecture.shape.offsets(architecture.lanes)
    ahead = np.array([step for step, _ in offsets], dtype=np.int64)
    aside = np.array([lane % architecture.lanes for _, lane in offsets], dtype=np.int64)
    return ahead, aside


def _cycles(filters: Filters, walked: _Walked, cycles: float, scale: float, architecture: Architecture) -> Cycles:
    """The cycles and slots of a sample, from the cycles of one block of windows, all rounds together.

    `scale` is the whole pass relative to the walked part.
    """
    in_tiles, *of_window = (float(each.sum()) * scale for each in walked)
    windows = filters.windows
    busy, padded, waiting, present = (each * windows for each in of_window)
    in_walks = in_tiles * architecture.rows * architecture.lanes * windows  # in working tiles
    in_rounds = cycles * architecture.tiles * architecture.rows * architecture.lanes * windows
    sparse = cycles * filters.window_blocks
    every = sparse * architecture.macs_per_cycle
    tiles = len(walked.cycles)
    places = ceil(tiles / architecture.tiles) * architecture.tiles
    idle = in_rounds - in_walks
    missing = min(idle, in_rounds * ((places - tiles) / places))  # of tiles missing in the last round
    slots = Slots(
        busy=busy,
        ragged=padded + (in_walks - present) + missing + (every - in_rounds),
        unfilled=present - busy - padded - waiting,
        filters=waiting,
        tiles=idle - missing,
    )
    return Cycles(filters.dense_cycles(architecture), sparse, busy / architecture.macs_per_cycle, slots)
