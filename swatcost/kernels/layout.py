"""Batch-last copies of activations, and back."""

from typing import Any

from numba import prange

from swatcost.kernels.compiled import in_threads
from swatcost.kernels.vectors import LANES, transpose

_RUN = 64  # pixels that a thread takes at a time


def batch_last(given: Any, copy: Any) -> None:
    """Copies (samples, channels, pixels) to (pixels, channels, samples); samples beyond the last are zeros."""
    _batch_last(given.reshape(-1), copy.reshape(-1), *_one_channel(given.shape), copy.shape[2])


def batch_first(given: Any, copy: Any) -> None:
    """Copies (pixels, channels, samples) to (samples, channels, pixels), without the samples that pad them."""
    _batch_first(given.reshape(-1), copy.reshape(-1), *_one_channel(copy.shape), given.shape[2])


def _one_channel(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Channels of one pixel lie as pixels of one channel do."""
    samples, channels, pixels = shape
    return (samples, 1, channels) if pixels == 1 else shape


@in_threads
def _batch_last(given: Any, copy: Any, samples: int, channels: int, pixels: int, padded: int) -> None:
    for task in prange((pixels + _RUN - 1) // _RUN * channels):
        begin, channel = task // channels * _RUN, task % channels
        for sample in range(0, padded, LANES):
            for first in range(begin, min(pixels, begin + _RUN), LANES):
                to = (first * channels + channel) * padded + sample
                source = (sample * channels + channel) * pixels + first
                if sample + LANES <= samples and first + LANES <= pixels:
                    transpose(given, source, channels * pixels, copy, to, channels * padded)
                    continue
                few = min(LANES, max(0, samples - sample))
                for pixel in range(min(LANES, pixels - first)):
                    for each in range(few):
                        copy[to + pixel * channels * padded + each] = given[source + each * channels * pixels + pixel]
                    for each in range(few, LANES):
                        copy[to + pixel * channels * padded + each] = 0


@in_threads
def _batch_first(given: Any, copy: Any, samples: int, channels: int, pixels: int, padded: int) -> None:
    for task in prange((pixels + _RUN - 1) // _RUN * channels):
        begin, channel = task // channels * _RUN, task % channels
        for sample in range(0, samples, LANES):
            for first in range(begin, min(pixels, begin + _RUN), LANES):
                to = (sample * channels + channel) * pixels + first
                source = (first * channels + channel) * padded + sample
                if sample + LANES <= samples and first + LANES <= pixels:
                    transpose(given, source, channels * padded, copy, to, channels * pixels)
                    continue
                for each in range(min(LANES, samples - sample)):
                    for pixel in range(min(LANES, pixels - first)):
                        copy[to + each * channels * pixels + pixel] = given[source + pixel * channels * padded + each]
