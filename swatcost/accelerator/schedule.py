"""The front end itself: which weights share a cycle. Compiled by numba.

A tile's filters are lines of lanes, T of them, walked from first to last. Line t of filter f is one word,
`lines[f, t]`, with lane l in bit l. The rule, for h lines of lookahead:

- a line that is zero in every filter of the tile is free, unless the h lines before it were free;
- any other line costs a cycle, in which each filter fills its empty slots. Repeatedly, of the slots that can take a
  weight, the one with the most candidates (the lowest lane on ties) takes its first candidate in the order of the
  offsets, whose place is then empty.

Source: Delmas Lascorz et al., "Bit-Tactical", ASPLOS 2019.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from swatcost.common.errors import MissingPackageError

try:
    import numba
except ImportError:
    raise MissingPackageError("simulating needs numba: pip install 'swatcost[simulate]'") from None

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

CYCLES, BUSY, RAGGED, WAITING, UNSKIPPED = range(5)
"""The counts of a tile's walk: cycles; slots (a lane of a filter in a cycle) that did work, that were idle beyond the
last channel, and that belong to filters with no work in reach while another filter had some; and cycles of zero lines
that came after h free ones."""


def _compiled(function: Callable[..., Any]) -> Any:
    """Compiled, and cached for the next process if a cache folder is writable."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache is writable
        return numba.njit(nogil=True)(function)


_PLANES = 7  # bits of a counter: a slot has at most h + d < 128 candidates


@_compiled
def _ones(word: np.uint64) -> Any:
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@_compiled
def _turned(word: np.uint64, aside: int, lanes: int, full: np.uint64) -> Any:
    """Bit l of the result is bit (l + aside) mod lanes of the word."""
    if aside == 0:
        return word
    return ((word >> np.uint64(aside)) | (word << np.uint64(lanes - aside))) & full


@_compiled
def _most_candidates(slots: np.uint64, seen: Words, counts: Words) -> Any:
    """The slot with the most candidates, the lowest on ties: `counts` counts all slots at once, one word per bit."""
    used = 0
    for each in range(len(seen)):
        carry, plane = seen[each] & slots, 0
        while carry:
            if plane == used:
                counts[plane] = np.uint64(0)
                used += 1
            both = counts[plane] & carry
            counts[plane] ^= carry
            carry, plane = both, plane + 1
    for plane in range(used - 1, -1, -1):
        if slots & counts[plane]:
            slots &= counts[plane]
    return slots & (~slots + np.uint64(1))


@_compiled
def _filled(
    lines: Words, t: int, ahead: Counts, aside: Counts, lanes: int, full: np.uint64, seen: Words, counts: Words
) -> Any:
    """The busy slots of one filter's line t after promotion, which removes the promoted weights from later lines."""
    busy, last = lines[t], len(lines) - 1
    reach = np.uint64(0)
    for each in range(len(ahead)):
        later = t + ahead[each]
        seen[each] = _turned(lines[later], aside[each], lanes, full) if later <= last else np.uint64(0)
        reach |= seen[each]
    slots = reach & ~busy
    while slots:
        slot = slots
        if slots & (slots - np.uint64(1)):
            slot = _most_candidates(slots, seen, counts)
        chosen = 0
        while not seen[chosen] & slot:
            chosen += 1
        step = ahead[chosen]
        lines[t + step] &= ~_turned(slot, (lanes - aside[chosen]) % lanes, lanes, full)
        busy |= slot
        reach = np.uint64(0)
        for other in range(len(ahead)):
            if ahead[other] == step:
                seen[other] = _turned(lines[t + step], aside[other], lanes, full)
            reach |= seen[other]
        slots = reach & ~busy
    return busy


@_compiled
def _filled_from_any_lane(lines: Words, t: int, lookahead: int, full: np.uint64) -> Any:
    """`_filled` with a full crossbar: earlier lines first, from any lane."""
    busy = lines[t]
    for later in range(t + 1, min(t + lookahead, len(lines) - 1) + 1):
        empty = full & ~busy
        while empty and lines[later]:
            lines[later] &= lines[later] - np.uint64(1)
            busy |= empty & (~empty + np.uint64(1))
            empty = full & ~busy
    return busy


@_compiled
def walk(
    lines: Words, ends: Counts, lookahead: int, ahead: Counts, aside: Counts, lanes: int, padding: Words
) -> Counts:
    """The counts of each tile's walk, int64 [tiles, 5]; consumes `lines`, uint64 [filters, T].

    Tile n holds the filters from ends[n] to ends[n + 1]. ahead and aside are the offsets, aside modulo lanes; if they
    are empty, a slot takes weights from every lane (a full crossbar). padding [T] marks the lanes beyond the last
    channel.
    """
    full = ~np.uint64(0) >> np.uint64(64 - lanes)
    counted = np.zeros((len(ends) - 1, 5), dtype=np.int64)
    seen, counts = np.zeros(len(ahead), dtype=np.uint64), np.zeros(_PLANES, dtype=np.uint64)
    for tile in range(len(ends) - 1):
        free = 0
        for t in range(lines.shape[1]):
            there = np.uint64(0)
            for each in range(ends[tile], ends[tile + 1]):
                there |= lines[each, t]
            if not there and free < lookahead:
                free += 1
                continue
            free = 0
            counted[tile, CYCLES] += 1
            counted[tile, UNSKIPPED] += not there
            for each in range(ends[tile], ends[tile + 1]):
                if len(ahead):
                    busy = _filled(lines[each], t, ahead, aside, lanes, full, seen, counts)
                else:
                    busy = _filled_from_any_lane(lines[each], t, lookahead, full)
                counted[tile, BUSY] += _ones(busy)
                counted[tile, RAGGED] += _ones(padding[t] & ~busy)
                if not busy:
                    counted[tile, WAITING] += _ones(full & ~padding[t])
    return counted


def tiles_of(filters: int, rows: int) -> npt.NDArray[np.int64]:
    """Where each tile's filters end: `rows` filters per tile, the rest in the last one."""
    return np.append(np.arange(0, filters, rows, dtype=np.int64), filters)


def packed(mask: npt.NDArray[np.bool_], lanes: int) -> Words:
    """Lines of lanes as words, uint64 [filters, T], from a mask [filters, kernel positions, channels].

    The channels of each position start a new line: T = positions · ceil(channels / lanes).
    """
    filters, positions, channels = mask.shape
    blocks = -(-channels // lanes)
    if channels % lanes:
        whole = np.zeros((filters, positions, blocks * lanes), dtype=bool)
        whole[:, :, :channels] = mask
        mask = whole
    bits = np.packbits(mask.reshape(filters, positions * blocks, lanes), axis=-1, bitorder="little")
    words = np.zeros((*bits.shape[:2], 8), dtype=np.uint8)
    words[..., : bits.shape[-1]] = bits
    found: Any = words.view("<u8")[..., 0]
    return np.ascontiguousarray(found, dtype=np.uint64)


def padding_of(positions: int, channels: int, lanes: int) -> Words:
    """The lanes that no channel fills, for each line of a filter, uint64 [T]."""
    idle: Words = packed(np.ones((1, positions, channels), dtype=bool), lanes)[0] ^ np.uint64((1 << lanes) - 1)
    return idle
