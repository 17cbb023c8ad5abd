"""Measuring a machine: dense steps, rates, and what Top-K costs by algorithm and array size."""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.common.units import checked_count
from swatcost.devices import DenseStep, Device, Measured, Rates, SelectionTime, TopkTimes
from swatcost.devices import steps as growing
from swatcost.devices.fits import fitted
from swatcost.estimate import Estimate, estimate
from swatcost.reference.conversion import convert
from swatcost.reference.instructions import Instructions, partition_instructions
from swatcost.reference.runnable import Runnable, runnable
from swatcost.reference.scores import classes_of, scores
from swatcost.reference.sparsifier import now
from swatcost.reference.thresholds import SELECTIONS
from swatcost.timing.selection import selected

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Array sizes [elements]: those of Table 9."""

_LARGE = 8_000_000  # one more size, as large as a layer's activations
_SPARSITY = 0.8  # that thresholds are computed for [-]
_MIN_SECONDS = 0.05  # that one measurement is repeated for
_REPEATS = (3, 50)  # minimum and maximum
_ELEMENTS = 4_000_000  # maximum over all arrays of one size
_OTHERS = 16_000_000  # numbers touched between two measurements, more than most caches hold
_STEPS = 5  # timed steps of a network
_WARM_UP = 8  # steps before those, until the allocator has cached what a step needs
_MATRIX = 1024  # rows and columns of the products that peak throughput is measured with
_COPIED = 2**28  # bytes that peak bandwidth is measured with


@dataclass(frozen=True)
class TimedSelection:
    """The time of one algorithm on one array [s], measured and on the fitted line."""

    algorithm: str
    elements: int
    seconds: float
    fitted: float


@dataclass(frozen=True)
class Prediction:
    """A time [s] of one network, predicted by the profile and measured."""

    network: str
    batch_size: int
    quantity: str
    predicted: float
    measured: float
    calibrated_on: bool

    @property
    def error(self) -> float:
        """predicted / measured − 1 [-]."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, kw_only=True, repr=False)
class Calibration(Result):
    """A device profile, the measurements that it was fitted to, and its predictions beside measured times."""

    report = "calibration"

    device: Device
    selections: tuple[TimedSelection, ...]
    instructions: tuple[Instructions, ...]
    predictions: tuple[Prediction, ...]


def calibrate(
    *,
    name: str = "this-machine",
    networks: Sequence[str] = ("cifar_resnet18", "cifar_densenet121", "cifar_wrn_16_8"),
    unseen: Sequence[str] = ("cifar_vgg16",),
    batch_size: int = 8,
    on: str = "cpu",
    count_instructions: bool = True,
    progress: Callable[[str], object] = lambda stage: None,
) -> Calibration:
    """Measures this machine.

    The dense steps of networks are measured; with two or more, the machine's rates are fitted to them and predict other
    networks. The steps of unseen networks are predicted and measured, with nothing fitted to them. batch_size is that
    of all steps, on is cpu or cuda. progress is called with the name of each of the `stages` before it begins.

    Raises SwatcostError for a network that cannot be run, and for cuda without a GPU.
    """
    if on == "cuda" and not torch.cuda.is_available():
        raise SwatcostError("on 'cuda': torch finds no usable GPU")
    checked_count(batch_size, "batch_size")
    unseen = [network for network in unseen if network not in networks]
    if not networks:
        raise SwatcostError("calibrate needs at least one network to measure")
    steps: list[tuple[DenseStep, Runnable]] = []
    for network in networks:
        progress(f"dense step of {network}")
        steps.append(_dense_step(network, batch_size, on))
    for place, (before, built) in enumerate(steps):
        progress(f"dense step of {before.network} again")
        again = _step_seconds(built.module, *_batch(built, batch_size, on), on)
        steps[place] = (
            replace(before, seconds=min(before.seconds, again)),
            built,
        )  # in case something disturbed one of them
    progress("products and copies")
    peaks = _peaks(on)
    timed: list[TimedSelection] = []
    for algorithm in algorithms(on):
        progress(algorithm)
        timed += _timed_selection(algorithm, on)
    progress("masking")
    masking = _masking(on)
    progress(f"Top-K of {networks[0]}")
    first = steps[0][1]
    device = Device(
        name=name,
        title=_title(on),
        source=f"measured by swatcost calibrate, torch {torch.__version__.split('+')[0]}, "
        + (f"{torch.get_num_threads()} threads" if on == "cpu" else "CUDA"),
        topk=_topk(first, batch_size, on),
        dense_steps=tuple(step for step, _ in steps),
        rates=_rates(steps),
        peaks=peaks,
        selections=tuple(_line(algorithm, timed) for algorithm in algorithms(on)),
        masking=masking,
        memory_bytes=_memory(on),
    )
    predictions: list[Prediction] = []
    for network in (*networks, *unseen):
        progress(f"predictions for {network}")
        predictions += _predictions(network, batch_size, on, device, calibrated_on=network in networks)
    counted: list[Instructions] = []
    if count_instructions:
        progress("instructions of numpy.partition")
        counted = [*partition_instructions(SIZES, simd=False), *partition_instructions(SIZES, simd=True)]
    return Calibration(
        device=device,
        selections=tuple(
            replace(each, fitted=device.selection(each.algorithm).seconds(each.elements)) for each in timed
        ),
        instructions=tuple(counted),
        predictions=tuple(predictions),
    )


def stages(networks: Sequence[str], unseen: Sequence[str], count_instructions: bool, on: str) -> int:
    """The number of stages that `calibrate` reports."""
    return 3 * len(networks) + len(unseen) + len(algorithms(on)) + 3 + count_instructions


def algorithms(on: str) -> list[str]:
    """The selections that can be timed there: introselect is numpy's and runs only on the CPU."""
    return [name for name in SELECTIONS.names() if name != "exact" and (on == "cpu" or name != "partition")]


def _timed(action: Callable[[], object], on: str, before_each: Callable[[], object] = lambda: None) -> float:
    """The median time [s] of an action, after a warm-up run."""
    action()
    times: list[float] = []
    while len(times) < _REPEATS[0] or (sum(times) < _MIN_SECONDS and len(times) < _REPEATS[1]):
        before_each()
        began = now(on)
        action()
        times.append(now(on) - began)
    return median(times)


def _by_size(action: Callable[[Tensor], object], on: str) -> dict[int, float]:
    """The time [s] of an action on normal numbers, by array size [elements], under the conditions of a training step.

    Each run gets another array, as a branch predictor memorises a small one, and caches full of other data.
    """
    generator = torch.Generator().manual_seed(0)
    others = torch.zeros(_OTHERS, device=on)
    seconds = {}
    for size in (*SIZES, _LARGE):
        count = max(2, min(_REPEATS[1], _ELEMENTS // size))
        arrays = cycle([torch.randn(size, generator=generator).to(on) for _ in range(count)])
        seconds[size] = _timed(_next(action, arrays), on, lambda: others.add_(1))
    return seconds


def _next(action: Callable[[Tensor], object], arrays: Iterator[Tensor]) -> Callable[[], object]:
    return lambda: action(next(arrays))


def _timed_selection(algorithm: str, on: str) -> list[TimedSelection]:
    """The time from a tensor to its threshold, magnitudes included."""
    find = SELECTIONS[algorithm].find
    seconds = _by_size(lambda x: find(x.abs(), round(_SPARSITY * x.numel())), on)
    return [TimedSelection(algorithm, size, each, 0.0) for size, each in seconds.items()]


def _line(algorithm: str, timed: Sequence[TimedSelection]) -> SelectionTime:
    """The straight line through an algorithm's times."""
    own = [each for each in timed if each.algorithm == algorithm]
    return _fitted_time(algorithm, [each.elements for each in own], [each.seconds for each in own])


def _fitted_time(algorithm: str, elements: Sequence[int], seconds: Sequence[float]) -> SelectionTime:
    growth: Literal["linear", "n log n"] = "n log n" if algorithm == "sort" else "linear"
    fit = fitted([(1.0, growing(each, growth)) for each in elements], seconds)
    exact = algorithm not in SELECTIONS.names() or SELECTIONS[algorithm].exact
    return SelectionTime(
        algorithm=algorithm,
        fixed=fit.coefficients[0],
        per_element=max(fit.coefficients[1], 1e-12),
        smallest=min(elements),
        largest=max(elements),
        worst_residual=fit.worst_residual,
        exact=exact,
        growth=growth,
    )


def _masking(on: str) -> SelectionTime:
    """The time to zero the elements that do not exceed a threshold."""
    seconds = _by_size(lambda x: torch.where(x.abs() > 1.0, x, 0), on)
    return _fitted_time("masking", list(seconds), list(seconds.values()))


def _peaks(on: str) -> Rates:
    """The throughput of matrix products and the bandwidth of copies."""
    left, right = (torch.randn(_MATRIX, _MATRIX, device=on) for _ in range(2))
    source = torch.zeros(_COPIED, dtype=torch.uint8, device=on)
    target = torch.empty_like(source)
    return Rates(
        macs_per_second=_MATRIX**3 / _timed(lambda: left @ right, on),
        bytes_per_second=2 * _COPIED / _timed(lambda: target.copy_(source), on),
    )


def _step_seconds(module: nn.Module, images: Tensor, labels: Tensor, on: str) -> float:
    """The median time [s] of a forward and backward pass."""
    times = []
    for _ in range(_STEPS + _WARM_UP):
        module.zero_grad()
        before = now(on)
        functional.cross_entropy(scores(module, images), labels).backward()  # type: ignore[no-untyped-call]
        times.append(now(on) - before)
    return median(times[_WARM_UP:])


def _batch(built: Runnable, batch_size: int, on: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, *built.input_shape, generator=generator)
    return images.to(on), torch.randint(0, classes_of(built), (batch_size,), generator=generator).to(on)


def _dense_step(network: str, batch_size: int, on: str) -> tuple[DenseStep, Runnable]:
    built = runnable(network)
    macs = estimate(built.network).exact.training.dense
    seconds = _step_seconds(built.module.to(on), *_batch(built, batch_size, on), on)
    return DenseStep(network=network, batch_size=batch_size, seconds=seconds, training_macs=int(macs)), built


def _rates(steps: Sequence[tuple[DenseStep, Runnable]]) -> Rates | None:
    """The throughput and bandwidth that best fit the dense steps; one step is not enough to separate them."""
    if len(steps) < 2:
        return None
    work = [
        (float(step.training_macs * step.batch_size), float(built.network.traffic_bytes(step.batch_size)))
        for step, built in steps
    ]
    fit = fitted(work, [step.seconds for step, _ in steps])
    if not all(fit.coefficients):
        return None  # only work or only traffic explains the times: the first step's throughput is as good
    of_macs, of_bytes = fit.coefficients
    return Rates(macs_per_second=1 / of_macs, bytes_per_second=1 / of_bytes, worst_residual=fit.worst_residual)


def _topk(built: Runnable, batch_size: int, on: str) -> TopkTimes:
    """One Top-K over every weight and every layer's input, measured in the reference's training step."""
    found = _sparse(built, batch_size=batch_size, period=1)
    images, labels = _batch(built, batch_size, on)
    times = []
    with convert(built.module, found) as converted:
        for _ in range(_STEPS + _WARM_UP):
            functional.cross_entropy(scores(built.module, images), labels).backward()  # type: ignore[no-untyped-call]
            times.append(
                [
                    sum(layer.weight.seconds for layer in converted.layers.values()),
                    sum(layer.activation.seconds for layer in converted.layers.values()),
                ]
            )
            converted.topk_seconds()
    weights, activations = selected(built.network, found.plan, batch_size)
    of_weights, of_activations = (median(each) for each in zip(*times[_WARM_UP:], strict=True))
    return TopkTimes(
        weights=Measured(seconds=of_weights, elements=int(sum(size for size, _ in weights))),
        activations=Measured(seconds=of_activations, elements=int(sum(size for size, _ in activations))),
    )


def _sparse(built: Runnable, **settings: Any) -> Estimate:
    """SWAT-U at the sparsity of all measurements."""
    return estimate(built.network, weights=_SPARSITY, acts=_SPARSITY, first_layer="sparse", **settings)


def _predictions(
    network: str, batch_size: int, on: str, device: Device, *, calibrated_on: bool
) -> Iterator[Prediction]:
    """A dense step, one Top-K and a step of the reference: predicted by the profile, and measured."""
    built = runnable(network)
    images, labels = _batch(built, batch_size, on)
    module = built.module.to(on)
    period = 2  # every other step has a Top-K, so a pair of steps is a period
    found = _sparse(built, device=device, batch_size=batch_size, period=period)
    plain = replace(device, dense_steps=device.dense_steps if calibrated_on or device.rates is None else ())
    dense = _sparse(built, device=plain, batch_size=batch_size, period=period)

    def prediction(quantity: str, predicted: float, measured: float) -> Prediction:
        return Prediction(network, batch_size, quantity, predicted, measured, calibrated_on)

    yield prediction("dense step", dense.dense_step.seconds, _step_seconds(module, images, labels, on))
    with convert(module, found) as converted:
        times, topk = [], []
        for _ in range(_STEPS + _WARM_UP // period):
            before = now(on)
            for _ in range(period):
                module.zero_grad()
                functional.cross_entropy(scores(module, images), labels).backward()  # type: ignore[no-untyped-call]
            times.append((now(on) - before) / period)
            topk.append(sum(converted.topk_seconds().values()))
    yield prediction("one Top-K", found.topk_seconds, median(topk[_WARM_UP // period :]))
    if dense.masked_step_seconds is not None:
        yield prediction("SWAT step, masked, period 2", dense.masked_step_seconds, median(times[_WARM_UP // period :]))


def _title(on: str) -> str:
    if on == "cuda":
        return str(torch.cuda.get_device_name())
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass
    return f"{' '.join(model.split())}, {os.cpu_count()} cores"


def _memory(on: str) -> int | None:
    """The GPU's memory [bytes]; None for a CPU, which shares its memory with everything else."""
    return int(torch.cuda.get_device_properties(0).total_memory) if on == "cuda" else None
