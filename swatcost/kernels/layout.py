"""Copies of arrays whose lines become columns: batch-last activations and back, and the gradients of a weight."""

from typing import Any, NamedTuple

from numba import prange

from swatcost.kernels.compiled import compiled, in_threads
from swatcost.kernels.memory import in_whole_lines
from swatcost.kernels.vectors import LANES, transpose, transpose_past

_RUN = 64  # columns that a thread takes at a time


class Matrices(NamedTuple):
    """Matrices of one size in an array: how far apart they begin, and how far apart the lines of each do."""

    apart: int
    pitch: int


def batch_last(given: Any, copy: Any) -> None:
    """Copies (samples, channels, pixels) to (pixels, channels, samples); samples beyond the last are zeros."""
    samples, channels, pixels = given.shape
    padded = copy.shape[2]
    if pixels == 1:  # channels of one pixel lie as pixels of one channel do
        channels, pixels = 1, channels
    first, last = Matrices(pixels, channels * pixels), Matrices(padded, channels * padded)
    exchange(given, copy, first, last, count=channels, lines=samples, columns=pixels)
    copy[:, :, samples:] = 0


def batch_first(given: Any, copy: Any) -> None:
    """Copies (pixels, channels, samples) to (samples, channels, pixels), without the samples that pad them."""
    samples, channels, pixels = copy.shape
    padded = given.shape[2]
    if pixels == 1:
        channels, pixels = 1, channels
    first, last = Matrices(pixels, channels * pixels), Matrices(padded, channels * padded)
    exchange(given, copy, last, first, count=channels, lines=pixels, columns=samples)


def exchange(
    given: Any, copy: Any, these: Matrices, those: Matrices, *, count: int, lines: int, columns: int,
    past_cache: bool = False,
) -> None:  # fmt: skip
    """Transposes `count` matrices of lines and columns.

    copy[m · those.apart + column · those.pitch + line] = given[m · these.apart + line · these.pitch + column]

    `past_cache` says that the copy is not read soon.
    """
    past = past_cache and in_whole_lines(copy, *those)
    _exchange(given.reshape(-1), copy.reshape(-1), *these, *those, count, lines, columns, past)


@compiled
def turned(array: Any, at: int, apart: int, result: Any, to: int, between: int, past: bool) -> None:
    """As `transpose`, or as `transpose_past`."""
    if past:
        transpose_past(array, at, apart, result, to, between)
    else:
        transpose(array, at, apart, result, to, between)


@in_threads
def _exchange(
    given: Any, copy: Any, apart: int, pitch: int, between: int, spacing: int, count: int, lines: int, columns: int,
    past: bool,
) -> None:  # fmt: skip
    for task in prange((columns + _RUN - 1) // _RUN * count):
        begin, number = task // count * _RUN, task % count
        for line in range(0, lines, LANES):
            for column in range(begin, min(columns, begin + _RUN), LANES):
                source, to = number * apart + line * pitch + column, number * between + column * spacing + line
                if line + LANES <= lines and column + LANES <= columns:
                    turned(given, source, pitch, copy, to, spacing, past)
                    continue
                for right in range(min(LANES, columns - column)):
                    for down in range(min(LANES, lines - line)):
                        copy[to + right * spacing + down] = given[source + down * pitch + right]
