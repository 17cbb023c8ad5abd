"""Times of whole training steps: torch's dense one, the masked reference, and sparse kernels; and where they go.

Part of `python -m benchmarks.sparse_kernels`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from swatcost_models import ZOO
from torch import Tensor, nn
from torch.nn import functional

import swatcost
from benchmarks.cases import markdown
from benchmarks.step_breakdown import PARTS, parts_of
from benchmarks.step_networks import Timed
from swatcost.network import Network
from swatcost.reference.chosen_kernels import KernelChoice
from swatcost.reference.conversion import Converted, convert
from swatcost.reference.quiet import watched
from swatcost.reference.timed_steps import Repeated
from swatcost.report.numbers import seconds

SPARSITIES = (0.8, 0.9, 0.95)
AIMS = {0.9: 1.5, 0.95: 2.2}
"""Speedups over torch's dense step, by sparsity."""

BATCH_SIZE, PERIOD = 64, 100
_LEARNING_RATE, _MOMENTUM = 0.01, 0.9
_FEWEST, _MOST, _ENOUGH_SECONDS = 5, 15, 60.0  # rounds, and their time from the fewest on
_FINDING = 3  # steps that find thresholds: a hundredth of what they take counts
_PROFILED = 3  # steps
_KEEPING = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**28)}
"""glibc's numbers of these parameters of mallopt, and values with which it keeps what is freed."""


def perceptron() -> nn.Module:
    """3072 inputs, four hidden layers of 2048, ten classes."""
    hidden: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise((3072, 2048, 2048, 2048, 2048)):
        hidden += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(2048, 10))


def _of_zoo(name: str) -> Timed:
    return Timed(ZOO[name].build, tuple(ZOO[name].input_shape), (BATCH_SIZE,))


NETWORKS: dict[str, Timed] = {
    "cifar_vgg16": _of_zoo("cifar_vgg16"),
    "cifar_resnet18": _of_zoo("cifar_resnet18"),
    "cifar_wrn_16_8": _of_zoo("cifar_wrn_16_8"),
    "MLP, 4 × 2048": Timed(perceptron, (3072,), (BATCH_SIZE,)),
}


@cache
def network_of(timed: Timed) -> Network:
    """Its trace."""
    return swatcost.trace(timed.build(), example_inputs=timed.inputs(2), loss="cross-entropy")


@dataclass(frozen=True)
class Way:
    """How a step is computed: `kernels` and sparsity of weights and activations; None and 0 for torch's own layers."""

    kernels: KernelChoice | None
    sparsity: float
    method: str = "swat"

    @property
    def name(self) -> str:
        if self.kernels is None:
            return "torch, dense"
        own = "" if self.method == "swat" else f"{self.method}, "
        return (
            f"{own}{'masked reference' if self.kernels == 'dense' else 'sparse kernels'}, {100 * self.sparsity:.0f} %"
        )


WAYS = (
    Way(None, 0.0), *(Way("dense", each) for each in SPARSITIES), *(Way("sparse", each) for each in SPARSITIES),
)  # fmt: skip


@dataclass(frozen=True)
class Steps:
    """The times of a network's steps [s], one per round: by the way's name, reusing thresholds and finding them.

    `parts` are the times of the parts of one step [s], by way, medians; `others` is the share of the processors that
    other programs had meanwhile [-].
    """

    network: str
    reusing: dict[str, tuple[float, ...]]
    finding: dict[str, tuple[float, ...]]
    parts: dict[str, dict[str, float]]
    others: float

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @staticmethod
    def of(record: dict[str, Any]) -> Steps:
        """From plain data."""
        return Steps(**record)

    def average(self, way: Way) -> float:
        """The median step that reuses thresholds, and a period's share of what one that finds them takes more."""
        reusing = median(self.reusing[way.name])
        if way.name not in self.finding:
            return reusing
        return reusing + (median(self.finding[way.name]) - reusing) / PERIOD

    def speedup(self, way: Way) -> float:
        """Over torch's dense step."""
        return self.average(WAYS[0]) / self.average(way)


class Training:
    """Steps of SGD with momentum of one network on one batch, computed one way."""

    def __init__(self, timed: Timed, way: Way, batch_size: int = BATCH_SIZE) -> None:
        torch.manual_seed(0)
        self.module, self.inputs = timed.build().train(), timed.inputs(batch_size)
        with torch.no_grad():
            classes = self.module(self.inputs).shape[-1]
        self.labels = torch.randint(0, classes, (batch_size,))
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=_LEARNING_RATE, momentum=_MOMENTUM)
        self.converted: Converted | None = None
        if way.kernels is not None:
            estimate = swatcost.estimate(
                network_of(timed), weights=way.sparsity, acts=way.sparsity, period=PERIOD, batch_size=batch_size,
                method=way.method,
            )  # fmt: skip
            self.converted = convert(self.module, estimate, kernels=way.kernels)

    def step(self) -> Tensor:
        """Zero gradients, forward, cross-entropy, backward, update."""
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.module(self.inputs), self.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss

    def reusing(self) -> float:
        """The time of a step that finds no thresholds [s]."""
        return _elapsed(self.step)

    def finding(self) -> float:
        """The time of a step that finds new ones [s]; the next one reuses them."""
        assert self.converted is not None
        self.converted.clock.iteration = PERIOD - 1
        return _elapsed(self.step)


def keep_freed_memory() -> None:
    """Has the C library, if it is glibc, keep what a step frees for the next one."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for parameter, value in _KEEPING.values():
            set_option(parameter, value)


def _elapsed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def measured(
    name: str, timed: Timed, ways: Sequence[Way] = WAYS, batch_size: int = BATCH_SIZE, rounds: int = _MOST
) -> Steps:
    """The steps of a network; all ways take turns."""
    trainings = {way.name: Training(timed, way, batch_size) for way in ways}
    reusing: dict[str, list[float]] = {each: [] for each in trainings}
    finding: dict[str, list[float]] = {name: [] for name, each in trainings.items() if each.converted}

    def a_round() -> None:
        for way, training in trainings.items():
            if way in finding and len(finding[way]) < _FINDING:
                finding[way].append(training.finding())
            reusing[way].append(training.reusing())

    def anew() -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]]:
        for times in (*reusing.values(), *finding.values()):
            times.clear()
        began = time.perf_counter()
        for done in range(rounds):
            if done >= _FEWEST and time.perf_counter() - began > _ENOUGH_SECONDS:
                break
            a_round()
        found = [{way: tuple(times) for way, times in each.items()} for each in (reusing, finding)]
        return found[0], found[1]

    a_round()  # compiles kernels, and gives allocators what a step needs
    kept, others = watched(anew)
    shown = {way.name: trainings[way.name].step for way in ways if way.kernels != "dense"}
    parts = parts_of(shown, _PROFILED)
    return Steps(name, *kept, parts, others)


def measured_steps(known: Sequence[str], names: Sequence[str] | None) -> Iterator[Steps]:
    """Those of all networks that are wanted and not known."""
    keep_freed_memory()
    for name, timed in NETWORKS.items():
        if name not in known and (names is None or name in names):
            yield measured(name, timed)


def report_of_steps(all_steps: Sequence[Steps]) -> list[str]:
    """Blocks of Markdown."""
    if not all_steps:
        return []
    disturbed = max(each.others for each in all_steps)
    return [
        "## Training steps",
        f"Steps of {BATCH_SIZE} samples in fp32, everything included: gradients set to none, forward, cross-entropy, "
        "backward, and torch.optim.SGD with momentum in its default implementation; of the sparse steps also packing "
        "and changes of layout. Weights (in forward and grad_input) and activations (in grad_weight) have the same "
        "sparsity, uniform over all layers but the first, which is dense. Each of the ways starts from the same "
        f"weights, and all take turns in one run: medians and quartiles of {_rounds(all_steps)} rounds. The average "
        f"step is that with thresholds reused, and 1/{PERIOD} of what a step that finds all of them, exactly, takes "
        f"more (medians of {_FINDING}): period {PERIOD}. The speedup is that of the average step over torch's dense "
        "step. What a step frees stays with the process (glibc's mallopt); otherwise much of it goes back to the "
        f"system, and the next step faults it in again. Other programs had at most {100 * disturbed:.0f} % of the "
        "processors.",
        _reached(all_steps),
        table_of(all_steps, WAYS),
        "### Where a sparse step goes",
        f"From torch's profiler, medians of {_PROFILED} steps that reuse thresholds, in turn: operations by kind, each "
        "without those that it calls. Products are those of sparse kernels; packing finds the weights that count and "
        "sorts them (the compaction of activations is inside of grad_weight); layout is copies to the order in which a "
        "kernel reads; dense products are torch's (the first layer's, and all in a dense step). The rest is what no "
        "operation accounts for: Python and the profiler itself. These are other steps than those above, so their sums "
        "are other times.",
        *(block for each in all_steps for block in (f"**{each.network}**", _parts(each))),
    ]


def _rounds(all_steps: Sequence[Steps]) -> str:
    counts = {len(times) for each in all_steps for times in each.reusing.values()}
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _reached(all_steps: Sequence[Steps]) -> str:
    said = []
    for sparsity, aim in AIMS.items():
        way = Way("sparse", sparsity)
        found = [f"{each.network} {each.speedup(way):.2f}" for each in all_steps if each.speedup(way) >= aim]
        short = [f"{each.network} {each.speedup(way):.2f}" for each in all_steps if each.speedup(way) < aim]
        said.append(
            f"The aim at {100 * sparsity:.0f} % is {aim:g} times the dense step's speed: "
            + "; ".join(
                f"{word} by {', '.join(names)}" for word, names in (("reached", found), ("not reached", short)) if names
            )
        )
    return ". ".join(said) + "."


def table_of(all_steps: Sequence[Steps], ways: Sequence[Way]) -> str:
    """A row for each network and way."""
    rows = [["", "step", "quartiles", "step that finds thresholds", "average step", "speedup"]]
    for each in all_steps:
        for way in ways:
            times = Repeated(tuple(each.reusing[way.name]))
            finding = each.finding.get(way.name)
            rows.append([
                f"{each.network}: {way.name}", seconds(times.median), " to ".join(map(seconds, times.quartiles)),
                seconds(median(finding)) if finding else "–", seconds(each.average(way)), f"{each.speedup(way):.2f}",
            ])  # fmt: skip
    return markdown(rows)


def _parts(steps: Steps) -> str:
    shown = [way for way in WAYS if way.kernels != "dense"]
    rows = [["part", *(way.name for way in shown)]]
    for part in PARTS:
        cells = [steps.parts[way.name].get(part, 0.0) for way in shown]
        if any(cells):
            rows.append([part, *(f"{1000 * each:,.1f} ms" for each in cells)])
    rows.append(["sum", *(f"{1000 * sum(steps.parts[way.name].values()):,.1f} ms" for way in shown)])
    return markdown(rows)
