"""Batch-last copies of activations, and back."""

from typing import Any

from numba import prange

from swatcost.kernels.compiled import in_threads
from swatcost.kernels.vectors import LANES


def batch_last(given: Any, copy: Any) -> None:
    """Copies (samples, channels, pixels) to (pixels, channels, samples); samples beyond the last are zeros."""
    _batch_last(given.reshape(-1), copy.reshape(-1), *given.shape, copy.shape[2])


@in_threads
def _batch_last(given: Any, copy: Any, samples: int, channels: int, pixels: int, padded: int) -> None:
    for task in prange((pixels + LANES - 1) // LANES * channels):
        first, channel = task // channels * LANES, task % channels
        last = min(pixels, first + LANES)
        for sample in range(0, padded, LANES):
            few = min(LANES, max(0, samples - sample))
            for pixel in range(first, last):
                to = (pixel * channels + channel) * padded + sample
                source = (sample * channels + channel) * pixels + pixel
                for each in range(few):
                    copy[to + each] = given[source + each * channels * pixels]
                for each in range(few, LANES):
                    copy[to + each] = 0


def batch_first(given: Any, copy: Any) -> None:
    """Copies (pixels, channels, samples) to (samples, channels, pixels), without the samples that pad them."""
    _batch_first(given.reshape(-1), copy.reshape(-1), *copy.shape, given.shape[2])


@in_threads
def _batch_first(given: Any, copy: Any, samples: int, channels: int, pixels: int, padded: int) -> None:
    for task in prange((pixels + LANES - 1) // LANES * channels):
        first, channel = task // channels * LANES, task % channels
        last = min(pixels, first + LANES)
        for sample in range(samples):
            to = (sample * channels + channel) * pixels
            source = channel * padded + sample
            for pixel in range(first, last):
                copy[to + pixel] = given[source + pixel * channels * padded]
