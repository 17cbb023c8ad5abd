"""Times of sparse kernels beside torch's dense one and the machine's limits; --write puts them into SPARSE_KERNELS.md.

Run as `make kernels`, or `python -m benchmarks.sparse_kernels`, while nothing else runs. `--measured FILE` keeps what
was measured, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import markdown
from benchmarks.kernel_contenders import (
    BOTH_GRADIENTS,
    CSR,
    DENSE,
    OWN,
    SPARSEPROP,
    Contender,
    Measured,
    contenders,
    trial,
)
from benchmarks.sparse_steps import Steps, measured_steps, report_of_steps
from swatcost.network.passes import PASSES, Pass
from swatcost.reference.measured_operations import Convolution, Linear
from swatcost.reference.measured_peaks import COPIED, peaks
from swatcost.reference.quiet import DISTURBED, watched
from swatcost.reference.this_machine import machine
from swatcost.reference.timer import Timing, together
from swatcost.report.numbers import seconds

RESULTS = Path(__file__).parent / "SPARSE_KERNELS.md"
DENSITIES = (0.2, 0.1, 0.05)
AIMED, AIM = 0.1, 2.0  # density [-], speedup over dense, in every pass of the layers of THREE_BY_THREE
_BYTES = 4  # per number in fp32
_TRIES, _STEADY = 3, 0.25  # tries, until no spread of a dense or own kernel's times is larger than this [-]
_FAR_SLOWER = 8  # times the dense kernel's time [-]

THREE_BY_THREE: tuple[Measured, ...] = tuple(
    Convolution(batch, channels, channels, side, 3)
    for channels, sides in ((64, (56, 32)), (128, (28, 16)), (256, (14, 8)), (512, (7, 4)))
    for side in sides
    for batch in (32, 64)
)
"""ResNet's on ImageNet, and those of CIFAR's networks."""

OTHERS: tuple[Measured, ...] = (
    Convolution(32, 64, 128, 28, 3, 2), Convolution(64, 64, 128, 28, 3, 2),
    Convolution(32, 256, 64, 14, 1), Convolution(64, 256, 64, 14, 1),
    Convolution(32, 1024, 256, 14, 1), Convolution(64, 1024, 256, 14, 1),
    Linear(64, 2048, 2048), Linear(512, 1024, 1024), Linear(4096, 768, 3072),
)  # fmt: skip

SHAPES = {each.name: each for each in (*THREE_BY_THREE, *OTHERS)}


@dataclass(frozen=True)
class Time:
    """The median time of a call [s], or the faster of two if it is far slower than dense, and the interquartile range
    relative to it [-].

    `macs_per_second` and `bytes_per_second` are what the machine reached just before: a product of two matrices of
    1024 × 1024, and a copy. `others` is the share of the processors that other programs had meanwhile [-].
    """

    kernel: str
    shape: str
    in_pass: str
    density: float
    seconds: float
    spread: float
    macs_per_second: float
    bytes_per_second: float
    others: float


def measured(shape: Measured, in_pass: Pass, densities: Sequence[float] = DENSITIES) -> list[Time]:
    """The times of all kernels for a pass, of the steadiest try. Tries end with the first that is steady."""
    with torch.no_grad():
        found = contenders(shape, in_pass, densities)
        tries: list[list[Time]] = []
        while len(tries) < _TRIES and all(_unsteady(each) > _STEADY for each in tries):
            tries.append(_tried(shape, found))
    return min(tries, key=_unsteady)


def _unsteady(times: Sequence[Time]) -> float:
    """The largest spread of a dense or own kernel's times; infinite where other programs disturbed them [-]."""
    if times[0].others > DISTURBED:
        return math.inf
    return max(each.spread for each in times if each.kernel in (DENSE, OWN))


def _tried(shape: Measured, found: Sequence[Contender]) -> list[Time]:
    (limits, timings), others = watched(lambda: (peaks(COPIED, "cpu"), _timings(found)))
    return [
        Time(
            each.kernel, shape.name, each.in_pass, each.density, timing.seconds, timing.spread,
            limits.macs_per_second, limits.bytes_per_second, others,
        )
        for each, timing in timings
    ]  # fmt: skip


def _timings(found: Sequence[Contender]) -> list[tuple[Contender, Timing]]:
    """All take turns, but for those that are far slower than the dense kernel: these run alone, twice."""
    alone = [Timing(seconds=trial(each.operation, each.arguments), spread=0.0, repetitions=2) for each in found]
    takes_turns = [timing.seconds < _FAR_SLOWER * alone[0].seconds for timing in alone]
    fast = [each for each, takes in zip(found, takes_turns, strict=True) if takes]
    timings = iter(together([(each.operation, each.arguments) for each in fast], "cpu"))
    return [
        (each, next(timings) if takes else timing)
        for each, timing, takes in zip(found, alone, takes_turns, strict=True)
    ]


def dense_macs(shape: Measured) -> int:
    """The products of a pass inside the images: those with padding are not counted."""
    if isinstance(shape, Linear):
        return shape.rows * shape.inputs * shape.outputs
    before, half = shape.side * shape.stride, shape.kernel // 2
    inside = sum(
        0 <= place * shape.stride + tap - half < before for place in range(shape.side) for tap in range(shape.kernel)
    )
    return shape.images * (shape.channels // shape.groups) * shape.filters * inside**2


def moved_bytes(shape: Measured) -> int:
    """Input, weight and output, once each: in every pass two of them are read and one is written."""
    counts = [torch.Size(size).numel() for size in shape.sizes]
    return _BYTES * sum(counts)


def bound(shape: Measured, time: Time) -> float:
    """max(products · density / rate of products, bytes / rate of copies) [s], with the rates beside that time."""
    return max(dense_macs(shape) * time.density / time.macs_per_second, moved_bytes(shape) / time.bytes_per_second)


@dataclass(frozen=True)
class Times:
    """All measured times, found by kernel, shape, pass and density."""

    all: tuple[Time, ...]

    def of(self, kernel: str, shape: str, in_pass: str, density: float) -> Time | None:
        key = kernel, shape, in_pass, density
        return next((t for t in self.all if (t.kernel, t.shape, t.in_pass, t.density) == key), None)

    def has(self, shape: str, in_pass: Pass) -> bool:
        return self.of(DENSE, shape, in_pass, 1.0) is not None

    def speedup(self, kernel: str, shape: str, in_pass: str, density: float) -> float | None:
        """Of a kernel over the dense one beside it."""
        dense, own = self.of(DENSE, shape, in_pass, 1.0), self.of(kernel, shape, in_pass, density)
        return dense.seconds / own.seconds if dense and own else None

    @property
    def shapes(self) -> list[str]:
        return list(dict.fromkeys(each.shape for each in self.all))


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def table_of_pass(times: Times, in_pass: Pass) -> str:
    """By shape and density: times, useful work, speedups, the bound."""
    rows = [[
        "shape", "density", DENSE, CSR, SPARSEPROP, OWN, "GMAC/s", f"{CSR}: speedup", f"{SPARSEPROP}: speedup",
        f"{OWN}: speedup", "bound", "time over bound",
    ]]  # fmt: skip
    for name in times.shapes:
        shape = SHAPES[name]
        for density in DENSITIES:
            own = times.of(OWN, name, in_pass, density)
            dense = times.of(DENSE, name, in_pass, 1.0)
            if own is None or dense is None:
                continue
            least = bound(shape, own)
            others = [times.of(kernel, name, in_pass, density) for kernel in (CSR, SPARSEPROP)]
            rows.append([
                name, f"{density:g}", seconds(dense.seconds),
                *("–" if each is None else seconds(each.seconds) for each in others),
                seconds(own.seconds), f"{dense_macs(shape) * density / own.seconds / 1e9:.0f}",
                *(_ratio(times.speedup(kernel, name, in_pass, density)) for kernel in (CSR, SPARSEPROP)),
                f"**{_ratio(times.speedup(OWN, name, in_pass, density))}**", seconds(least),
                f"{own.seconds / least:.1f}",
            ])  # fmt: skip
    columns = [place for place, _ in enumerate(rows[0]) if place < 2 or any(row[place] != "–" for row in rows[1:])]
    return markdown([[row[place] for place in columns] for row in rows])


def table_of_gradients(times: Times) -> str:
    """Both gradients together: SparseProp's one kernel beside the sums of the others."""
    rows = [["shape", "density", DENSE, SPARSEPROP, OWN, f"{SPARSEPROP}: speedup", f"{OWN}: speedup"]]
    for name in times.shapes:
        for density in DENSITIES:
            one = times.of(SPARSEPROP, name, BOTH_GRADIENTS, density)
            dense = [times.of(DENSE, name, each, 1.0) for each in PASSES[1:]]
            own = [times.of(OWN, name, each, density) for each in PASSES[1:]]
            if one is None or None in dense or None in own:
                continue
            whole, ours = (sum(each.seconds for each in found if each) for found in (dense, own))
            rows.append([
                name, f"{density:g}", *map(seconds, (whole, one.seconds, ours)), _ratio(whole / one.seconds),
                f"**{_ratio(whole / ours)}**",
            ])  # fmt: skip
    return markdown(rows)


def table_of_aim(times: Times) -> str:
    """The speedups of the program's kernels for 3 × 3 layers at the density of the aim; italics where below it."""
    rows = [[f"density {AIMED:g}", *PASSES]]
    for each in THREE_BY_THREE:
        found = [times.speedup(OWN, each.name, in_pass, AIMED) for in_pass in PASSES]
        if any(found):
            cells = [_ratio(value) if value is None or value >= AIM else f"*{value:.2f}*" for value in found]
            rows.append([each.name, *cells])
    return markdown(rows)


def reached(times: Times) -> str:
    """In how many layers the aim is reached, pass by pass."""
    parts = []
    for in_pass in PASSES:
        found = [times.speedup(OWN, each.name, in_pass, AIMED) for each in THREE_BY_THREE]
        known = [each for each in found if each is not None]
        if known:
            parts.append(
                f"{in_pass} in {sum(each >= AIM for each in known)} of {len(known)} layers "
                f"(lowest {min(known):.2f}, median {statistics.median(known):.2f})"
            )
    return (
        f"The aim for 3 × 3 layers with stride 1 at {100 * (1 - AIMED):.0f} % sparsity is {AIM:g} times the dense "
        f"kernel's speed in every pass. Reached: {'; '.join(parts)}."
    )


def report(times: Times, steps: Sequence[Steps]) -> str:
    """The report as Markdown."""
    rates = [each.macs_per_second for each in times.all], [each.bytes_per_second for each in times.all]
    products, copies = ([min(each), statistics.median(each), max(each)] for each in rates)
    disturbed = max(each.others for each in times.all)
    sparseprop = (
        f"{SPARSEPROP} is version {_version()}, with its AVX2 kernels in as many OpenMP threads. Its weights are "
        "sparse already, so nothing is packed; its operands lie in the order that its kernel reads, and the faster of "
        "its two convolutions counts (over samples or over columns), as its own choice does. Its backward pass is one "
        "kernel for both gradients; its gradient of the weight is that of the weights that are not zero, from dense "
        "activations, so it is less than Algorithm 1 asks for."
        if any(each.kernel == SPARSEPROP for each in times.all)
        else f"{SPARSEPROP} is not installed here and is left out."
    )
    blocks = [
        "# Times of sparse kernels and of training steps with them",
        f"Written by `make kernels` on {machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        "in fp32.",
        "## Single products",
        "Medians; all kernels of a pass of a layer take turns, with memory as a training step finds it: the caches are "
        "filled with other data, what the layer before writes is just written, the rest was not used for a while "
        "(`swatcost/reference/timer.py`). Passes and layers were measured one after another. "
        f"Up to {_TRIES} tries are made, until the middle half of the "
        f"times of {DENSE} and {OWN} spans at most {100 * _STEADY:.0f} % of the median; the steadiest counts. "
        f"Other programs had at most {100 * disturbed:.0f} % of the processors.",
        f"{DENSE}: its kernel for the pass, in its usual layout. {CSR}: as `swatcost calibrate` measures it, for "
        "linear layers and 1 × 1 convolutions. Where a call of a kernel takes more than "
        f"{_FAR_SLOWER} times the dense one, two calls are timed and the faster one counts. {OWN}: the program's "
        "kernels on activations that lie batch-last, as they do between the layers of a network; finding the weights "
        "or activations above the threshold and packing them are part of every time, although forward and grad_input "
        "of a step share the first half of it. Weights are sparse in forward and grad_input, activations in "
        "grad_weight, whose result is dense.",
        sparseprop,
        "GMAC/s is useful work: products of the elements that are not zero, inside the image. The bound is "
        "max(products · density / rate of products, bytes / rate of copies), with 4 bytes for every element of input, "
        "weight and output, each moved once. The rates are those that this machine reached just before each "
        f"measurement, in a product of two matrices of 1024 × 1024 and in a copy of {COPIED / 2**20:.0f} MiB: "
        f"{products[1] / 1e9:.0f} GMAC/s ({products[0] / 1e9:.0f} to {products[2] / 1e9:.0f}) and "
        f"{copies[1] / 1e9:.0f} GB/s ({copies[0] / 1e9:.0f} to {copies[2] / 1e9:.0f}), read and written together. "
        "An operand that was just written may still be in the cache, so memory bounds only those that are larger.",
        reached(times),
        table_of_aim(times),
        *(block for each in PASSES for block in (f"### {each}", table_of_pass(times, each))),
    ]
    if any(each.kernel == SPARSEPROP for each in times.all):
        blocks += [f"### {BOTH_GRADIENTS}", table_of_gradients(times)]
    return "\n\n".join([*blocks, *report_of_steps(steps)]) + "\n"


def _version() -> str:
    from importlib.metadata import version

    return version("sparseprop")


def _measure(kept: Path | None, names: Sequence[str], networks: Sequence[str] | None) -> tuple[Times, list[Steps]]:
    """The measured times: those that were kept, and all others."""
    known: dict[str, list[Any]] = {"kernels": [], "steps": []}
    if kept and kept.exists():
        known = json.loads(kept.read_text(encoding="utf-8"))

    def keep(kind: str, found: Sequence[Any]) -> None:
        known[kind] += found
        if kept:
            kept.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")

    for name, in_pass in _missing(Times(tuple(Time(**each) for each in known["kernels"])), names):
        keep("kernels", [vars(each) for each in measured(SHAPES[name], in_pass)])
        print(name, in_pass, flush=True)
    for found in measured_steps([each["network"] for each in known["steps"]], networks):
        keep("steps", [found.record()])
        print(found.network, flush=True)
    return Times(tuple(Time(**each) for each in known["kernels"])), [Steps.of(each) for each in known["steps"]]


def _missing(times: Times, names: Sequence[str]) -> Iterator[tuple[str, Pass]]:
    for name in names:
        for in_pass in PASSES:
            if not times.has(name, in_pass):
                yield name, in_pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=Path, help="JSON file that keeps measured times")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} instead of printing")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="measure the first ones only")
    parser.add_argument("--networks", nargs="*", help="measure steps of these only")
    given = parser.parse_args()
    text = report(*_measure(given.measured, list(SHAPES)[: given.shapes], given.networks))
    if given.write:
        RESULTS.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
