"""One method, distribution, convention, device and batch; many sparsities at once, by array arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import numpy

from swatcost.accelerator.architecture import architecture_named
from swatcost.checks import checked_count, checked_default, checked_network
from swatcost.common.errors import SwatcostError
from swatcost.counting import counted_costs
from swatcost.counting.conventions import CONVENTIONS, DEFAULT_ACT_SPARSITY, EXACT, Convention
from swatcost.devices import Device, load_device
from swatcost.distributions import Distribution, Spread, distribution_of
from swatcost.memory import activation_reduction
from swatcost.methods import METHODS, Method
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.sparsity import (
    DenseOrSparse,
    SparsityPlan,
    assembled,
    checked_sparsities,
    checked_target,
    spread_request,
)
from swatcost.timing.selection import Selecting, topk_seconds
from swatcost.timing.times import Times

Array = numpy.ndarray[Any, numpy.dtype[numpy.float64]]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What an estimate asks, but for the sparsities and the period: those may be arrays.

    `request` and `kept` are what the distribution is asked, and which layers stay dense and why; `executed_macs` a
    dense step's, per sample, as autograd executes them.
    """

    network: Network
    method: Method
    distribution: Distribution
    convention: Convention
    device: Device
    batch_size: int
    steps: int
    default_act_sparsity: float
    selecting: Selecting
    request: Spread
    kept: dict[str, str]
    executed_macs: float

    @property
    def dense_step_seconds(self) -> float:
        """Of the batch [s]."""
        traffic = self.network.traffic_bytes(self.batch_size)
        return self.device.dense_step(self.network.name, self.executed_macs, self.batch_size, traffic).seconds

    def plan(self, weights: Array, acts: Array, grads: Array) -> SparsityPlan:
        """A plan whose numbers are arrays, one element a setting; NaN stands for a target that was not given."""
        for (name, operand), asked in zip(OPERANDS.items(), (weights, acts, grads), strict=True):
            if not numpy.isnan(asked).all():
                checked_target(self.method, operand, float(numpy.nanmax(asked)), name)
        method, distribution = self.method, self.distribution
        of_weights: dict[str, Array] = {}
        of_acts: dict[str, Array] = {}
        if method.uses("weight"):
            of_weights = self._spread(weights, "weight")
        if method.uses("activation"):
            if distribution.spread_acts is not None:
                of_acts = _one_by_one(distribution.spread_acts, self.request, acts, "activation")
            elif distribution.acts_follow_weights:
                of_acts = self._spread(numpy.where(numpy.isnan(acts), weights, acts), "activation")
            elif not numpy.isnan(acts).any():
                of_acts = self._spread(acts, "activation")
        outputs = numpy.nan_to_num(grads) if method.uses("output") else 0.0
        numbers: dict[str, Any] = {"weights": weights, "acts": numpy.nan_to_num(acts), "grads": grads}
        return SparsityPlan(
            method=method,
            distribution=distribution,
            layers=assembled(self.network, method, self.request, of_weights, of_acts, outputs),
            kept_dense=self.kept,
            **numbers,
        )

    def _spread(self, targets: Array, operand: str) -> dict[str, Array]:
        """The distribution's numbers for many targets: between those where it bends, or for each different one."""
        bends, lines = self._lines
        if bends and bends[0] <= targets.min() and targets.max() <= bends[-1]:
            drawn = {line: numpy.interp(targets, bends, line) for line in set(lines.values())}  # like layers share one
            return {weight: drawn[line] for weight, line in lines.items()}
        return _one_by_one(self.distribution.spread, self.request, targets, operand)

    @cached_property
    def _lines(self) -> tuple[Sequence[float], dict[str, tuple[float, ...]]]:
        """Targets between which every weight's sparsity is linear, and its numbers at those; none where it is not."""
        bends = self.distribution.bends(self.request) if self.distribution.bends is not None else []
        tables = _asked(self.distribution.spread, self.request, bends, "weight")
        return bends, {weight: tuple(table[weight] for table in tables) for weight in (tables[0] if tables else ())}

    def columns(self, weights: Array, acts: Array, grads: Array) -> dict[str, Any]:
        """What of an estimate does not depend on the period, for every setting; alike ones may be a single number."""
        plan, network = self.plan(weights, acts, grads), self.network
        charged = self.default_act_sparsity * plan.asks_for_sparsity
        costs = counted_costs(network, plan, self.convention, self.steps, charged)
        compression = plan.model_compression(network)
        return {
            "training_reduction": costs.training.reduction,
            "inference_reduction": costs.inference.reduction,
            "activation_reduction": activation_reduction(network, plan, self.convention),
            "weight_sparsity": 1 - 1 / compression,
            "model_compression": compression,
            "training_macs": costs.training.sparse,
            "inference_macs": costs.inference.sparse,
            "dense_step_seconds": self.dense_step_seconds,
            "topk_seconds": topk_seconds(network, plan, self.device, self.batch_size, self.selecting),
        }


def question(
    network: Network | str | Path,
    *,
    method: str | Method = "swat",
    distribution: Any = "uniform",
    convention: str | Convention = "swat",
    device: str | Path | Device = "rtx2080ti",
    batch_size: int = 32,
    source: Any = None,
    default_act_sparsity: float | str | Path = DEFAULT_ACT_SPARSITY,
    steps: int = 32_000,
    first_layer: DenseOrSparse | None = None,
    last_layer: DenseOrSparse | None = None,
    keep_dense: Sequence[str] | None = None,
    selection: str | None = None,
    one_sample: bool = False,
    hidden: bool = False,
) -> Question:
    """Settings as `estimate` takes them. Raises SwatcostError for what it refuses, and for an architecture."""
    network = checked_network(network)
    of_method = METHODS.choose(method)
    strategy = distribution_of(distribution)
    steps = checked_count(steps, "steps")
    selecting = Selecting(selection, bool(one_sample), bool(hidden))
    selecting.check(of_method)
    request, kept = spread_request(network, of_method, strategy, source, first_layer, last_layer, keep_dense)
    return Question(
        network=network,
        method=of_method,
        distribution=strategy,
        convention=CONVENTIONS.choose(convention),
        device=device if isinstance(device, Device) else _profile(device),
        batch_size=checked_count(batch_size, "batch_size"),
        steps=steps,
        default_act_sparsity=checked_default(default_act_sparsity, network),
        selecting=selecting,
        request=request,
        kept=kept,
        executed_macs=counted_costs(network, SparsityPlan.dense(network), EXACT, steps, 0.0).training.dense,
    )


def _profile(device: str | Path) -> Device:
    if architecture_named(device) is not None:
        raise SwatcostError(f"device {device}: its cycles are simulated one setting at a time: see `swatcost study`")
    return load_device(device)


def _asked(
    function: Callable[[Spread], Any], request: Spread, targets: Iterable[float], operand: str
) -> list[dict[str, float]]:
    """A strategy's numbers, by weight, for each of several targets."""
    return [
        checked_sparsities(function(replace(request, target=None if isnan(each) else float(each))), operand)
        for each in targets
    ]


def _one_by_one(function: Callable[[Spread], Any], request: Spread, targets: Array, operand: str) -> dict[str, Array]:
    """A strategy's numbers for many targets, each different one asked for."""
    different, place = numpy.unique(targets, return_inverse=True)
    tables = _asked(function, request, different, operand)
    return {weight: numpy.array([table[weight] for table in tables])[place] for weight in tables[0]}


def missing(count: int) -> Array:
    """Targets that are not given."""
    return numpy.full(count, numpy.nan)


def times_of(asked: Question, targets: dict[str, Array]) -> Times:
    """A question's times with these targets, by name: arrays of one length."""
    count = len(next(iter(targets.values())))
    found = asked.columns(*(targets.get(name, missing(count)) for name in OPERANDS))
    names = ("training_reduction", "dense_step_seconds", "topk_seconds")
    arrays = {name: numpy.broadcast_to(found[name], count).astype(float) for name in names}
    return Times(**arrays, hidden=asked.selecting.hidden)
