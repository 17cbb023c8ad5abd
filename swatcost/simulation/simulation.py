"""A training step on a weight-skipping accelerator: a network, an architecture, masks → a Simulation."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swatcost.accelerator import mapping
from swatcost.accelerator.architecture import Architecture, device_of, load_architecture
from swatcost.accelerator.cycles import Cycles, LayerCycles, Simulation, Slots
from swatcost.accelerator.mapping import Filters
from swatcost.accelerator.masks import MaskSource
from swatcost.common.errors import SwatcostError
from swatcost.counting.costs import PASSES, Pass
from swatcost.estimate import Estimate, estimate
from swatcost.methods import LayerSparsity, Method
from swatcost.network import Network
from swatcost.network.layer import Layer

if TYPE_CHECKING:
    import numpy.typing as npt

_SAMPLED_LINES = 2048
"""Lines of activations that are walked at most, in one round of tiles; longer walks are taken to go on alike."""

_DRAWN = MaskSource()


def simulate(
    network: Network | str | Path | Estimate,
    *,
    arch: str | Path | Architecture = "bit-tactical",
    shape: str | None = None,
    masks: MaskSource = _DRAWN,
    passes: tuple[Pass, ...] = PASSES,
    threads: int | None = None,
    progress: Callable[[str], object] = lambda layer: None,
    **settings: Any,
) -> Simulation:
    """Simulates a network's training step on an architecture.

    settings are those of `swatcost.estimate` (weights, acts, method, distribution, batch_size, …) but for the device;
    an Estimate brings its own. shape replaces the architecture's promotion shape, such as "L4,3". threads are as many
    as there are processors; progress is called with each layer's name as it is done. The numbers do not depend on
    threads.

    Raises SwatcostError for what cannot be used.
    """
    architecture = arch if isinstance(arch, Architecture) else load_architecture(arch)
    if shape is not None:
        architecture = architecture.with_shape(shape)
    device = device_of(architecture)
    if isinstance(network, Estimate):
        if settings:
            raise SwatcostError(f"{next(iter(settings))}: an Estimate has its settings already, leave it out")
        chosen = replace(network, device=device)
    else:
        chosen = estimate(network, device=device, **settings)
    places: dict[str, int] = {}
    tasks = [
        (layer, sparsity, places.setdefault(layer.weight, len(places)))
        for layer, sparsity in chosen.plan.by_layer(chosen.network)
    ]
    pruned = any(sparsity.weight for _, sparsity, _ in tasks) or masks.brings_zeros(chosen.network)
    simulator = _Simulator(
        architecture, masks, chosen.plan.method, chosen.plan.pattern, pruned, chosen.network, chosen.batch_size, passes
    )
    found: dict[int, LayerCycles] = {}
    by_size = sorted(range(len(tasks)), key=lambda number: -tasks[number][0].weight_elements)
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        waiting = {pool.submit(simulator.layer, *tasks[number]): number for number in by_size}
        try:
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                progress(tasks[waiting[done]][0].name)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    layers = tuple(found[number] for number in range(len(tasks)))
    return Simulation(estimate=chosen, architecture=architecture, masks=masks, layers=layers)


@dataclass(frozen=True)
class _Simulator:
    architecture: Architecture
    masks: MaskSource
    method: Method
    pattern: tuple[int, int] | None
    pruned: bool  # whether any weight is zero: without, nothing is scheduled and every line costs a cycle
    network: Network
    batch_size: int
    passes: tuple[Pass, ...]

    def layer(self, layer: Layer, sparsity: LayerSparsity, place: int) -> LayerCycles:
        if not layer.is_weight_layer:
            return LayerCycles(layer=layer, sparsity=sparsity, passes=self._product(layer))
        images = layer.images / self.network.batch_size
        columns = self.architecture.columns
        forward = mapping.forward_filters(layer, images, columns)
        backward = mapping.grad_input_filters(layer, images, columns)
        found: dict[Pass, Cycles] = {}
        skips = {each: self.pruned and "weight" in self.method.sparse[each] for each in ("forward", "grad_input")}
        mask = None
        if any(skips.values()):
            kept = self.masks.of(
                layer, sparsity.weight, place, whole_kernels=self.method.structured, pattern=self.pattern
            )
            mask = mapping.grouped(layer, kept)
        if "forward" in self.passes:
            lines = mapping.forward_lines(layer, mask) if mask is not None and skips["forward"] else None
            found["forward"] = self._walked(forward, lines)
        if "grad_input" in self.passes and layer.input_needs_grad:
            lines = mapping.grad_input_lines(layer, mask) if mask is not None and skips["grad_input"] else None
            found["grad_input"] = self._walked(backward, lines)
        if "grad_weight" in self.passes and layer.weight_trains:
            found["grad_weight"] = self._grad_weight(layer, sparsity, images, place)
        return LayerCycles(layer=layer, sparsity=sparsity, passes=found)

    def _product(self, layer: Layer) -> dict[Pass, Cycles]:
        if layer.kind == "custom":
            works = [self._elsewhere(macs / self.network.batch_size) for macs in layer.custom_macs]
            named: dict[Pass, Cycles] = {"forward": works[0], "grad_input": works[1]}
            return {each: cycles for each, cycles in named.items() if each in self.passes}
        forward, right, left = (
            self._walked(each, None)
            for each in mapping.product_filters(layer, self.network.batch_size, self.architecture.columns)
        )
        gradients = (left if layer.input_needs_grad else Cycles()) + (right if layer.weight_trains else Cycles())
        both: dict[Pass, Cycles] = {"forward": forward, "grad_input": gradients}
        return {each: cycles for each, cycles in both.items() if each in self.passes}

    def _elsewhere(self, macs: float) -> Cycles:
        """Work of which only the amount is known, at full use."""
        cycles = macs / self.architecture.macs_per_cycle
        return Cycles(cycles, cycles, cycles, Slots(busy=macs))

    def _walked(self, filters: Filters, mask: npt.NDArray[np.bool_] | None) -> Cycles:
        """A pass whose filters are all walked; without a mask, one that this machine runs densely."""
        architecture = self.architecture
        dense = filters.dense_cycles(architecture)
        if mask is None:
            slots = Slots(busy=filters.macs, ragged=dense * architecture.macs_per_cycle - filters.macs)
            return Cycles(dense, dense, filters.macs / architecture.macs_per_cycle, slots)
        counted = self._counts(mask, filters.filters, filters.groups)
        per_round = self._rounds(counted[:, _CYCLES])
        return self._cycles(filters, counted, per_round, float(per_round.sum()), 1.0)

    def _cycles(
        self, filters: Filters, counted: npt.NDArray[np.int64], per_round: npt.NDArray[Any], cycles: float, scale: float
    ) -> Cycles:
        """What was counted as cycles and slots of a sample; `scale` is the whole of what was walked over that."""
        architecture = self.architecture
        blocks, windows = filters.window_blocks, filters.windows
        totals = counted.sum(axis=0) * scale
        sparse = cycles * blocks
        lanes, busy = totals[_CYCLES] * architecture.rows * architecture.lanes, totals[_BUSY] * windows
        walked = lanes * windows  # slots of windows that exist, in tiles that are at work
        present = totals[_PRESENT] * windows
        ragged = totals[_RAGGED] * windows + (walked - present)
        waiting = totals[_WAITING] * windows
        unfilled = present - busy - totals[_RAGGED] * windows - waiting
        every = sparse * architecture.macs_per_cycle
        in_tiles = cycles * architecture.tiles * architecture.rows * architecture.lanes * windows
        rounds = ceil(len(counted) / architecture.tiles)
        absent = (rounds * architecture.tiles - len(counted)) / (rounds * architecture.tiles)
        idle = in_tiles - walked
        missing = min(idle, in_tiles * absent)
        slots = Slots(
            busy=busy,
            ragged=ragged + missing + (every - in_tiles),
            unfilled=unfilled,
            filters=waiting,
            tiles=idle - missing,
        )
        return Cycles(filters.dense_cycles(architecture), sparse, busy / architecture.macs_per_cycle, slots)

    def _grad_weight(self, layer: Layer, sparsity: LayerSparsity, images: float, place: int) -> Cycles:
        operands = self.method.sparse["grad_weight"]
        operand = "activation" if "activation" in operands or "output" not in operands else "output"
        filters = mapping.grad_weight_filters(layer, images, self.architecture.columns, self.batch_size, operand)
        share = sparsity.of(operand) if operand in operands else 0.0
        if not share:
            return self._walked(filters, None)
        architecture = self.architecture
        lines = filters.lines(architecture.lanes)
        tiles = min(filters.tiles(architecture.rows), architecture.tiles)
        rows = min(filters.filters, tiles * architecture.rows)
        length = min(filters.channels, _SAMPLED_LINES * architecture.lanes)
        kept = self.masks.numbers(place, 1).random((rows, 1, length), dtype=np.float32) >= share
        counted = self._counts(kept, rows, 1)
        longer = lines / ceil(length / architecture.lanes)
        cycles = counted[:, _CYCLES]
        # a sum of many lines strays from its mean as the square root of their number
        one_round = cycles.mean() * longer + (cycles.max() - cycles.mean()) * sqrt(longer)
        rounds = ceil(filters.tiles(architecture.rows) / architecture.tiles)
        every = np.full(rounds, one_round)
        scale = longer * filters.groups * filters.filters / rows
        whole = np.repeat(counted, ceil(filters.tiles(architecture.rows) / len(counted)), axis=0)
        whole = whole[: filters.tiles(architecture.rows)]
        return self._cycles(
            filters, whole, every, float(every.sum()), scale * counted[:, _PRESENT].sum() / whole[:, _PRESENT].sum()
        )

    def _counts(self, mask: npt.NDArray[np.bool_], filters: int, groups: int) -> npt.NDArray[np.int64]:
        """What each tile's walk counts, with the slots of filters that exist as one more column."""
        from swatcost.accelerator import schedule

        architecture = self.architecture
        lines = schedule.packed(mask, architecture.lanes)
        of_group = schedule.tiles_of(filters, architecture.rows)
        starts = [of_group[:-1] + group * filters for group in range(groups)]
        ends = np.append(np.concatenate(starts), groups * filters)
        ahead, aside = _connections(architecture)
        padding = schedule.padding_of(mask.shape[1], mask.shape[2], architecture.lanes)
        counted = schedule.walk(lines, ends, architecture.shape.lookahead, ahead, aside, architecture.lanes, padding)
        present = counted[:, schedule.CYCLES] * np.diff(ends) * architecture.lanes
        return np.column_stack([counted, present])

    def _rounds(self, cycles: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The slowest of each set of tiles that work together."""
        tiles = self.architecture.tiles
        whole = np.append(cycles, np.zeros(-len(cycles) % tiles, dtype=np.int64))
        slowest: npt.NDArray[np.int64] = whole.reshape(-1, tiles).max(axis=1)
        return slowest


_CYCLES, _BUSY, _RAGGED, _WAITING, _UNSKIPPED, _PRESENT = range(6)


def _connections(architecture: Architecture) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Offsets as arrays: lines ahead, and lanes aside modulo the lanes; none for a full crossbar."""
    offsets = () if architecture.shape.kind == "X" else architecture.shape.offsets(architecture.lanes)
    ahead = np.array([step for step, _ in offsets], dtype=np.int64)
    aside = np.array([lane % architecture.lanes for _, lane in offsets], dtype=np.int64)
    return ahead, aside
