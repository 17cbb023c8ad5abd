"""Steps of whole networks: dense, with Algorithm 1 executed on masked tensors, and the Top-K in them."""

from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from swatcost.devices import Measured, TopkTimes
from swatcost.devices.operations import PositiveCount, PositiveSeconds
from swatcost.estimate import Estimate, estimate
from swatcost.reference.conversion import convert
from swatcost.reference.measured_selections import SPARSITY
from swatcost.reference.runnable import Runnable, runnable
from swatcost.reference.scores import classes_of, scores
from swatcost.reference.sparsifier import now
from swatcost.timing.selection import selected

PERIOD = 2  # of the executed steps: every other one has a Top-K, so a pair of steps is a period
_STEPS = 5  # timed steps of a network
_WARM_UP = 8  # steps before those, until the allocator has cached what a step needs


@dataclass(frozen=True, kw_only=True)
class DenseStepTime:
    """The time of a dense step [s], its network's training MACs per sample, and the bytes that the step moves."""

    seconds: PositiveSeconds
    training_macs: PositiveCount
    traffic_bytes: PositiveCount


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Times [s] of a dense step, of one Top-K, and of a step of the reference, masked, with a Top-K every other one."""

    dense: PositiveSeconds
    topk: PositiveSeconds
    masked: PositiveSeconds


def dense_step(network: str, batch_size: int, on: str) -> DenseStepTime:
    """A dense forward and backward pass."""
    built = runnable(network)
    return DenseStepTime(
        seconds=_step_seconds(built.module.to(on), *_batch(built, batch_size, on), on),
        training_macs=int(estimate(built.network).exact.training.dense),
        traffic_bytes=int(built.network.traffic_bytes(batch_size)),
    )


def steps(network: str, batch_size: int, on: str) -> StepTimes:
    """A dense step, one Top-K, and a step of the reference."""
    built = runnable(network)
    images, labels = _batch(built, batch_size, on)
    module = built.module.to(on)
    dense = _step_seconds(module, images, labels, on)
    with convert(module, sparse(built, batch_size=batch_size, period=PERIOD)) as converted:
        times, topk = [], []
        for _ in range(_STEPS + _WARM_UP // PERIOD):
            before = now(on)
            for _ in range(PERIOD):
                module.zero_grad()
                functional.cross_entropy(scores(module, images), labels).backward()  # type: ignore[no-untyped-call]
            times.append((now(on) - before) / PERIOD)
            topk.append(sum(converted.topk_seconds().values()))
    warm = _WARM_UP // PERIOD
    return StepTimes(dense=dense, topk=max(median(topk[warm:]), 1e-9), masked=median(times[warm:]))


def topk_times(network: str, batch_size: int, on: str) -> TopkTimes:
    """One Top-K over every weight and every layer's input, measured in the reference's training step."""
    built = runnable(network)
    built.module.to(on)
    found = sparse(built, batch_size=batch_size, period=1)
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


def sparse(built: Runnable, **settings: Any) -> Estimate:
    """SWAT-U at the sparsity of all measurements."""
    return estimate(built.network, weights=SPARSITY, acts=SPARSITY, first_layer="sparse", **settings)


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
