"""Products of linear layers with sparse weights: the forward pass and the gradient of the input.

A layer's operands can be larger than the cache next to the processor: 2048 inputs of 64 samples take half a megabyte.
So a thread takes the inputs a tile at a time, in one place, and with each tile all the weights that read it, or add to
it in grad_input.
"""

from typing import Any

import numpy as np
from numba import get_num_threads, prange

from swatcost.kernels.compiled import in_threads
from swatcost.kernels.memory import in_lines
from swatcost.kernels.packing import Weights, first_from
from swatcost.kernels.vectors import LANES, add_product, add_scaled, element, fetch, filled, load, store
from swatcost.kernels.weight_products import chunks

_TILE = 8 * 1024
"""Numbers in a tile: 32 KiB, about what the cache next to a processor holds."""

_AHEAD = 16
"""How many filters ahead weights are fetched."""


def multiply_rows(operand: Any, weights: Weights, samples: int, bias: Any, result: Any) -> None:
    """Writes the output of a linear layer (filters, samples).

    operand: flat, of (inputs, samples), a multiple of LANES samples. bias: one number for each filter.
    """
    inputs, filters = weights.shape[1], weights.shape[0]
    for first, like in chunks(samples, widest=4):
        tasks, parts, tiles = _shared(like, samples - first, most_parts=filters)
        _multiply_rows(
            like, operand, weights.values, weights.places, weights.begins, weights.ends, inputs, samples, first, tasks,
            parts, tiles, bias, result.reshape(-1),
        )  # fmt: skip


def gradient_of_rows(operand: Any, weights: Weights, samples: int, result: Any) -> None:
    """Writes the gradient of a linear layer's input (inputs, samples).

    operand: flat, of (filters, samples), a multiple of LANES samples.
    """
    inputs = weights.shape[1]
    for first, like in chunks(samples, widest=4):
        wide = _TILE // (LANES * len(like))
        tasks, parts, tiles = _shared(like, samples - first, most_parts=-(-inputs // wide))
        _gradient_of_rows(
            like, operand, weights.values, weights.places, weights.begins, weights.ends, inputs, samples, first, tasks,
            parts, tiles, result.reshape(-1),
        )  # fmt: skip


def _shared(like: tuple[int, ...], samples: int, most_parts: int) -> tuple[int, int, Any]:
    """How a product is shared among threads: the number of tasks, into how many parts the results of each run of
    samples are divided, and a tile per thread.
    """
    threads, lanes = get_num_threads(), LANES * len(like)
    runs = samples // lanes
    parts = 1 if runs >= 4 * threads else max(1, min(most_parts, threads))
    return runs * parts, parts, in_lines(threads, _TILE)


@in_threads
def _multiply_rows(
    like: Any, operand: Any, values: Any, places: Any, begins: Any, ends: Any, inputs: int, samples: int, first: int,
    tasks: int, parts: int, tiles: Any, bias: Any, result: Any,
) -> None:  # fmt: skip
    filters, threads = len(begins), len(tiles)
    for thread in prange(threads):
        lanes, tile = len(like) * LANES, tiles[thread]
        wide = len(tile) // lanes
        for task in range(thread * tasks // threads, (thread + 1) * tasks // threads):
            sample, part = first + task // parts * lanes, task % parts
            low, high = part * filters // parts, (part + 1) * filters // parts
            reached = begins[low:high].copy()
            for row in range(low, high):
                store(result, row * samples + sample, filled(like, bias[row]))
            for begin in range(0, inputs, wide):
                beyond = min(inputs, begin + wide)
                for place in range(begin, beyond):
                    store(tile, (place - begin) * lanes, load(like, operand, place * samples + sample))
                for row in range(low, high):
                    later = min(row + _AHEAD, high - 1) - low
                    fetch(values, reached[later])
                    fetch(places, reached[later])
                    each, end = reached[row - low], ends[row]
                    sums = load(like, result, row * samples + sample)
                    while each < end and element(places, each) < beyond:
                        sums = add_product(sums, element(values, each), tile, (element(places, each) - begin) * lanes)
                        each += 1
                    store(result, row * samples + sample, sums)
                    reached[row - low] = each


@in_threads
def _gradient_of_rows(
    like: Any, operand: Any, values: Any, places: Any, begins: Any, ends: Any, inputs: int, samples: int, first: int,
    tasks: int, parts: int, tiles: Any, result: Any,
) -> None:  # fmt: skip
    filters, threads = len(begins), len(tiles)
    for thread in prange(threads):
        lanes, tile = len(like) * LANES, tiles[thread]
        wide = len(tile) // lanes
        reached = np.empty(filters, np.int64)
        for task in range(thread * tasks // threads, (thread + 1) * tasks // threads):
            sample, part = first + task // parts * lanes, task % parts
            count = (inputs + wide - 1) // wide
            low, high = part * count // parts, (part + 1) * count // parts
            for row in range(filters):
                reached[row] = first_from(places, begins[row], ends[row], low * wide)
            for begin in range(low * wide, min(inputs, high * wide), wide):
                beyond = min(inputs, begin + wide)
                for place in range(beyond - begin):
                    store(tile, place * lanes, filled(like, np.float32(0)))
                for row in range(filters):
                    later = min(row + _AHEAD, filters - 1)
                    fetch(values, reached[later])
                    fetch(places, reached[later])
                    each, end = reached[row], ends[row]
                    gradients = load(like, operand, row * samples + sample)
                    while each < end and element(places, each) < beyond:
                        at = (element(places, each) - begin) * lanes
                        store(tile, at, add_scaled(load(like, tile, at), element(values, each), gradients))
                        each += 1
                    reached[row] = each
                for place in range(begin, beyond):
                    store(result, place * samples + sample, load(like, tile, (place - begin) * lanes))
