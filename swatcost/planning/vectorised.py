"""One setting, estimated for many sparsities at once by array arithmetic."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from typing import Any

import numpy

from swatcost.accelerator.architecture import Architecture
from swatcost.common.errors import SwatcostError
from swatcost.counting import EXACT, Counting
from swatcost.distributions import Distribution, Request
from swatcost.memory import activation_reduction
from swatcost.methods.method import OPERANDS, Method
from swatcost.network import Network
from swatcost.setting import Setting
from swatcost.sparsity import (
    SparsityPlan,
    allocation_request,
    assembled,
    checked_sparsities,
    checked_target,
    own_targets,
    pattern_of,
    reached,
)
from swatcost.timed_step import attainable_of, dense_step_of
from swatcost.timing.dense_step import StepTime
from swatcost.timing.selection import topk_seconds
from swatcost.timing.times import Times

Array = numpy.ndarray[Any, numpy.dtype[numpy.float64]]


@dataclass(frozen=True, kw_only=True)
class Vectorised:
    """A network and a setting, estimated for arrays of targets, one element per estimate.

    The setting's own targets and period are ignored.

    Raises SwatcostError for settings that `estimate` refuses, and for an architecture.
    """

    network: Network
    setting: Setting

    def __post_init__(self) -> None:
        if isinstance(device := self.setting.device, Architecture):
            raise SwatcostError(
                f"device {device.name}: an accelerator is simulated one setting at a time: see `swatcost study`"
            )
        _ = self._request  # so that errors appear now, not with the first targets

    @cached_property
    def counting(self) -> Counting:
        """How MACs are counted."""
        return self.setting.counting(self.network)

    @cached_property
    def _request(self) -> tuple[Request, dict[str, str]]:
        """The request to the distribution, without targets, and the layers that stay dense, with reasons."""
        asked = self.setting
        return allocation_request(
            self.network, asked.method, asked.distribution, asked.source, asked.first_layer, asked.last_layer,
            asked.keep_dense, asked.dense_budget,
        )  # fmt: skip

    @cached_property
    def dense_step(self) -> StepTime:
        """The time of a dense step of the batch."""
        executed = self.counting.under(EXACT).total(self.network, SparsityPlan.dense(self.network))
        return dense_step_of(self.network, self.setting, executed)

    def plan(self, weights: Array, acts: Array, grads: Array) -> SparsityPlan:
        """A plan whose numbers are arrays, one element per setting; NaN is a target that was not given."""
        own = own_targets(self.setting.method, self.setting.distribution, self.setting.source)
        weights, acts, grads = (
            numpy.where(numpy.isnan(asked), own.get(name, numpy.nan), asked)
            for name, asked in zip(OPERANDS, (weights, acts, grads), strict=True)
        )
        for (name, operand), asked in zip(OPERANDS.items(), (weights, acts, grads), strict=True):
            if not numpy.isnan(asked).all():
                for each in numpy.unique(asked[~numpy.isnan(asked)]).tolist():
                    checked_target(self.setting.method, operand, each, name)
        method, distribution = self.setting.method, self.setting.distribution
        request, kept = self._request
        of_weights: dict[str, Array] = {}
        of_acts: dict[str, Array] = {}
        if method.uses("weight"):
            of_weights = self._allocate(weights, "weight")
        if method.uses("activation"):
            if distribution.allocate_acts is not None:
                of_acts = _one_by_one(distribution.allocate_acts, request, acts, "activation")
            elif distribution.acts_follow_weights:
                of_acts = self._allocate(numpy.where(numpy.isnan(acts), weights, acts), "activation")
            elif not numpy.isnan(acts).any():
                of_acts = self._allocate(acts, "activation")
        outputs = numpy.nan_to_num(grads) if method.uses("output") else 0.0
        numbers: dict[str, Any] = {"weights": weights, "acts": numpy.nan_to_num(acts), "grads": grads}
        if distribution.pattern is not None or method.group is not None:
            numbers["pattern"] = _patterns(method, distribution, request, weights)
        layers = assembled(self.network, method, request, of_weights, of_acts, outputs)
        return SparsityPlan(
            method=method,
            distribution=distribution,
            layers=layers,
            kept_dense=kept,
            dense_budget=request.dense_budget,
            **reached(self.network, distribution, request, layers),
            **numbers,
        )

    def _allocate(self, targets: Array, operand: str) -> dict[str, Array]:
        """Sparsities for many targets: interpolated between breakpoints, or computed for each distinct target."""
        points, lines = self._lines
        if points and points[0] <= targets.min() and targets.max() <= points[-1]:
            drawn = {line: numpy.interp(targets, points, line) for line in set(lines.values())}  # like layers share one
            return {weight: drawn[line] for weight, line in lines.items()}
        return _one_by_one(self.setting.distribution.allocate, self._request[0], targets, operand)

    @cached_property
    def _lines(self) -> tuple[Sequence[float], dict[str, tuple[float, ...]]]:
        """Breakpoints between which every weight's sparsity is linear in the target, and the sparsities at them."""
        distribution, request = self.setting.distribution, self._request[0]
        points = distribution.breakpoints(request) if distribution.breakpoints is not None else []
        tables = _asked(distribution.allocate, request, points, "weight")
        return points, {weight: tuple(table[weight] for table in tables) for weight in (tables[0] if tables else ())}

    def columns(self, weights: Array, acts: Array, grads: Array) -> dict[str, Any]:
        """The columns that do not depend on the period; one that is equal for all settings may be a single number."""
        plan, network, asked = self.plan(weights, acts, grads), self.network, self.setting
        costs = self.counting.total(network, plan)
        compression = plan.model_compression(network)
        return {
            "training_reduction": costs.training.reduction,
            "inference_reduction": costs.inference.reduction,
            "activation_reduction": activation_reduction(network, plan, asked.convention, asked.batch_size),
            "weight_sparsity": 1 - 1 / compression,
            "model_compression": compression,
            "training_macs": costs.training.sparse,
            "inference_macs": costs.inference.sparse,
            "dense_step_seconds": self.dense_step.seconds,
            "attainable_step_seconds": attainable_of(network, plan, asked, self.dense_step).seconds,
            "topk_seconds": topk_seconds(network, plan, asked.profile, asked.batch_size, asked.selecting),
        }

    def times(self, targets: dict[str, Array]) -> Times:
        """The times at these targets, which are arrays of one length by name."""
        count = len(next(iter(targets.values())))
        found = self.columns(*(targets.get(name, missing(count)) for name in OPERANDS))
        return times_of(found, count, self.setting.selecting.hidden)


def times_of(columns: dict[str, Any], count: int, hidden: bool) -> Times:
    """The times in columns, as arrays of this length."""
    names = ("training_reduction", "dense_step_seconds", "topk_seconds", "attainable_step_seconds")
    reduction, dense, topk, attainable = (numpy.broadcast_to(columns[name], count).astype(float) for name in names)
    return Times(
        reduction=reduction, dense_step_seconds=dense, topk_seconds=topk, attainable_step_seconds=attainable,
        hidden=hidden,
    )  # fmt: skip


def _asked(
    function: Callable[[Request], Any], request: Request, targets: Iterable[float], operand: str
) -> list[dict[str, float]]:
    """A distribution's sparsities, by weight, for each target."""
    return [
        checked_sparsities(function(replace(request, target=None if isnan(each) else float(each))), operand)
        for each in targets
    ]


def _one_by_one(function: Callable[[Request], Any], request: Request, targets: Array, operand: str) -> dict[str, Array]:
    """A distribution's sparsities for many targets, computed for each distinct one."""
    different, place = numpy.unique(targets, return_inverse=True)
    tables = _asked(function, request, different, operand)
    return {weight: numpy.array([table[weight] for table in tables])[place] for weight in tables[0]}


def _patterns(method: Method, distribution: Distribution, request: Request, targets: Array) -> tuple[Any, Any]:
    """N and M for each target; equal where there is no pattern."""
    different, place = numpy.unique(targets, return_inverse=True)
    asked = [replace(request, target=None if isnan(each) else float(each)) for each in different]
    pairs = [pattern_of(method, distribution, each) or (method.group or 1, method.group or 1) for each in asked]
    N, M = numpy.array(pairs)[place].T
    return N, M


def missing(count: int) -> Array:
    """Targets that were not given."""
    return numpy.full(count, numpy.nan)


def single(value: float) -> Array:
    """One target."""
    return numpy.array([value])
