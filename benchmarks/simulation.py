"""Times and memory of the accelerator simulation: against a plain loop, and by network and shape."""

from __future__ import annotations

import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

import swatcost
from swatcost.accelerator import Architecture, MaskSource, load_architecture, simulate
from swatcost.accelerator.mapping import forward_lines, grouped
from swatcost.accelerator.schedule import CYCLES, packed, padding_of, tiles_of, walk
from swatcost.network.passes import PASSES

SPARSITY = 0.8
NETWORKS = ("resnet18", "resnet50", "resnet101", "wide_resnet50_2")
LOOKAHEAD = ("T1,5", "T2,5", "T4,5", "T8,5")
LOOKASIDE = ("T2,0", "T2,1", "T2,3", "T2,5", "T2,9", "T2,13")
_ROUNDS = 5


def lines_of(name: str) -> list[Any]:
    """Each layer's filters in the order of the forward walk, bool [filters, positions, channels]."""
    network, masks = swatcost.load(name), MaskSource()
    plan = swatcost.estimate(network, weights=SPARSITY).plan
    return [
        forward_lines(layer, grouped(layer, masks.of(layer, sparsity.weight, place, whole_kernels=False)))
        for place, (layer, sparsity) in enumerate(plan.by_layer(network))
    ]


def _offsets(architecture: Architecture) -> tuple[Any, Any]:
    offsets = np.array(architecture.shape.offsets(architecture.lanes), dtype=np.int64)
    return offsets[:, 0].copy(), offsets[:, 1] % architecture.lanes


def walked(lines: list[Any], architecture: Architecture) -> list[Any]:
    """Cycles of each layer's tiles, layer by layer; includes packing the masks."""
    ahead, aside = _offsets(architecture)
    lanes, lookahead = architecture.lanes, architecture.shape.lookahead
    found = []
    for mask in lines:
        padding = padding_of(mask.shape[1], mask.shape[2], lanes)
        ends = tiles_of(len(mask), architecture.rows)
        found.append(walk(packed(mask, lanes), ends, lookahead, ahead, aside, lanes, padding)[:, CYCLES])
    return found


def plainly_walked(lines: list[Any], architecture: Architecture) -> list[Any]:
    """The same by the plain loop; includes arranging the masks in lines of lanes."""
    from benchmarks.plain_walk import plain_walk

    ahead, aside = _offsets(architecture)
    found = []
    for mask in lines:
        filters, positions, channels = mask.shape
        whole = np.zeros((filters, positions, -(-channels // architecture.lanes) * architecture.lanes), dtype=bool)
        whole[:, :, :channels] = mask
        whole = whole.reshape(filters, -1, architecture.lanes)
        found.append(plain_walk(whole, architecture.rows, architecture.shape.lookahead, ahead, aside))
    return found


def beside_the_plain_loop() -> dict[str, float]:
    """Time [s] of ResNet-50's layers; both loops must give the same cycles, tile by tile."""
    from benchmarks.bench import in_turns

    architecture, lines, network = load_architecture("bit-tactical"), lines_of("resnet50"), swatcost.load("resnet50")
    for ours, plain in zip(walked(lines, architecture), plainly_walked(lines, architecture), strict=True):
        assert ours.tolist() == plain.tolist()
    halves = lines[::2], lines[1::2]

    def on_two_threads() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda half: walked(half, architecture), halves))

    def simulated(threads: int) -> Callable[[], Any]:
        return lambda: simulate(network, weights=SPARSITY, passes=("forward",), threads=threads)

    return in_turns(
        {
            "`simulate`, with drawing masks, two threads": simulated(2),
            "`simulate`, with drawing masks, one thread": simulated(1),
            "its loop alone, two threads": on_two_threads,
            "its loop alone, one thread": lambda: walked(lines, architecture),
            "a plain loop compiled with numba, one thread": lambda: plainly_walked(lines, architecture),
        },
        _ROUNDS,
    )


def memory() -> float:
    """The peak resident set [MiB] of a process that simulates ResNet-50's forward pass once."""
    simulate("resnet50", weights=SPARSITY, passes=("forward",), threads=2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def of_networks() -> dict[str, list[float]]:
    """Millions of weights, and time [s] of the forward pass and of a training step."""
    from benchmarks.bench import in_turns

    networks = {name: swatcost.load(name) for name in NETWORKS}
    settings: dict[str, Any] = {"weights": SPARSITY, "acts": SPARSITY, "threads": 2}
    calls = {
        (name, passes): partial(simulate, network, passes=passes, **settings)
        for name, network in networks.items()
        for passes in (("forward",), PASSES)
    }
    seconds = in_turns({str(key): call for key, call in calls.items()}, _ROUNDS)
    return {
        name: [
            sum(layer.weight_elements for layer in network.weight_layers) / 1e6,
            *(seconds[str(key)] for key in calls if key[0] == name),
        ]
        for name, network in networks.items()
    }


def of_shapes() -> dict[str, float]:
    """Time [s] of the loop alone over ResNet-50's forward pass, one thread, by shape."""
    from benchmarks.bench import in_turns

    lines, architecture = lines_of("resnet50"), load_architecture("bit-tactical")
    machines = [architecture.with_shape(shape) for shape in dict.fromkeys([*LOOKAHEAD, *LOOKASIDE])]
    return in_turns({each.shape.name: partial(walked, lines, each) for each in machines}, _ROUNDS)


def section(elsewhere: Callable[[str], Any]) -> list[str]:
    """This section of the report, each measurement in a separate process."""
    from benchmarks.cases import markdown
    from swatcost.accelerator import parse_shape

    seconds, resident = elsewhere("beside_the_plain_loop()"), elsewhere("memory()")
    plain = list(seconds.values())[-1]
    networks, shapes = elsewhere("of_networks()"), elsewhere("of_shapes()")
    rows = [[name, f"{each:.2f} s", f"{plain / each:.1f}×"] for name, each in seconds.items()]
    growth = [
        [name, f"{weights:.1f} M", f"{forward:.2f} s", f"{1000 * forward / weights:.0f} ms", f"{step:.2f} s"]
        for name, (weights, forward, step) in networks.items()
    ]
    by_shape = [
        [parse_shape(shape).name, f"{shapes[parse_shape(shape).name]:.2f} s"] for shape in [*LOOKAHEAD, *LOOKASIDE]
    ]
    return [
        "## Simulating an accelerator",
        f"All 54 layers of ResNet-50 forward, {SPARSITY:.0%} sparse, T⟨2,5⟩, after a first run. Both loops must "
        "give the same cycles, tile by tile.",
        markdown([["", "time", "plain loop's time"], *rows]),
        f"Peak resident set of a process that simulates once with two threads: {resident:.0f} MiB.",
        "By network size, two threads; time grows roughly with the number of weights:",
        markdown([["", "weights", "forward", "per million weights", "training step"], *growth]),
        "By shape, the loop alone over ResNet-50 forward, one thread: growing lookahead, then growing lookaside.",
        markdown([["", "time"], *by_shape]),
    ]
