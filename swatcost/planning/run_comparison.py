"""Whole runs with several methods: of equal data, and how much data each sees for the dense run's FLOPs or time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.counting.costs import Cost
from swatcost.methods import METHODS, Method
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.network.conditions import STEP_ASKED
from swatcost.planning.answers import Answers
from swatcost.planning.comparison import selected, targets_of
from swatcost.planning.run_plan import RunAsked, plan_without_peak
from swatcost.planning.training import trained
from swatcost.planning.whole_run import RunPlan

if TYPE_CHECKING:
    from torch import nn

Equal = Literal["data", "flops", "time", "ideal time"]
"""What two runs have in common: data; training FLOPs; the time with the fastest known kernels, or the ideal one."""


@dataclass(frozen=True)
class ScaledRun:
    """A run of `length` times the data of `plan`, in which the method's phases keep their shares of the run.

    FLOPs and times are taken to be proportional to the data: batches and Top-K refreshes need not be whole.
    """

    plan: RunPlan
    length: float

    @property
    def data(self) -> float:
        """Tokens, or epochs where the inputs are not tokens."""
        return self.length * (self.plan.epochs if self.plan.tokens is None else self.plan.tokens)

    @property
    def training_flops(self) -> float:
        """FLOPs of the whole run with the method."""
        return self.length * self.plan.training_flops.sparse

    @property
    def seconds(self) -> Answers:
        """Its time [s]; `dense` is that of a dense run of the same length."""
        return self.length * self.plan.seconds

    @property
    def gpu_hours(self) -> Answers:
        """GPU-hours."""
        return self.length * self.plan.gpu_hours

    @property
    def money(self) -> Answers | None:
        """The cost of the GPU-hours; None without a price."""
        return None if self.plan.money is None else self.length * self.plan.money


@dataclass(frozen=True, kw_only=True, repr=False)
class RunComparison(Result):
    """Runs of equal data, by method, dense training first. Its repr is the tables.

    `refused` says, by method, why its run could not be planned.
    """

    report = "run_comparison"

    runs: dict[str, RunPlan]
    refused: dict[str, str]

    @property
    def dense(self) -> RunPlan:
        """The dense run."""
        return self.runs["dense"]

    def run(self, method: str, equal: Equal = "data") -> ScaledRun:
        """The method's run that has this in common with the dense run.

        Its length is 1 for equal data; dense over sparse FLOPs for equal FLOPs; dense over attainable or ideal seconds
        for equal time.
        """
        plan = self.runs[method]
        lengths: dict[Equal, float] = {
            "data": 1.0,
            "flops": plan.training_flops.dense / plan.training_flops.sparse,
            "time": plan.attainable_speedup,
            "ideal time": plan.speedup,
        }
        return ScaledRun(plan, lengths[equal])

    @cached_property
    def peak_bytes(self) -> dict[str, Cost | str]:
        """The peak memory per GPU [bytes] of each method, or why it is not known."""
        found: dict[str, Cost | str] = {}
        for name, plan in self.runs.items():
            try:
                found[name] = plan.peak_bytes
            except SwatcostError as error:
                found[name] = str(error)
        return found


def compare_runs(
    network: Network | str | Path | nn.Module,
    *,
    methods: Iterable[str | Method],
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    **asked: Unpack[RunAsked],
) -> RunComparison:
    """Plans one run with each of several methods, and a dense one.

    The other keywords are those of `plan_run`, but for `method`; the convention is `exact` by default, as `swat` counts
    other methods than SWAT in a way of its own. weights is the target of every method that makes something sparse,
    unless a method has one of its own, as in "spdf:weights=0.75"; without weights, methods that define their sparsity,
    such as slope, have that. A method whose run cannot be planned is named with the reason.

    Raises SwatcostError for what `plan_run` refuses for every method, and for methods that are unknown or given twice.

    >>> found = compare_runs("gpt2", methods=["slope"], tokens="1B", batch_size=512)
    >>> round(found.run("slope", equal="flops").data / 1e9, 3)  # a step of slope takes 0.7832 of a dense one's MACs
    1.277
    """
    chosen = selected(METHODS, methods)
    if asked.get("method") is not None:
        raise SwatcostError("method: several are compared, leave it out")
    given: dict[str, Any] = {"convention": "exact"} | {
        name: value for name, value in asked.items() if value is not None
    }
    network = trained(network, given, input_shape=input_shape, example_inputs=example_inputs)[0]
    given = {name: value for name, value in given.items() if name not in STEP_ASKED}
    of_dense = given | dict.fromkeys(("weights", "acts", "grads"))
    runs, refused = {"dense": plan_without_peak(network, **of_dense, method=METHODS["dense"])}, {}
    for name, method in chosen.items():
        if name not in runs:
            try:
                runs[name] = _run_with(network, method, given)
            except SwatcostError as error:
                refused[name] = str(error)
    if len(refused) == len(chosen):
        raise SwatcostError(next(iter(refused.values())))
    return RunComparison(runs=runs, refused=refused)


def _run_with(network: Network, method: Method, given: Mapping[str, Any]) -> RunPlan:
    """A run with the method. Raises SwatcostError where it would be a dense one."""
    targets = targets_of(method, given)
    found = plan_without_peak(network, **{**given, **targets, "method": method})
    plan = found.estimate.plan
    if method.makes_sparse and not any((plan.weights, plan.acts, plan.grads)):
        example = next(name for name, operand in OPERANDS.items() if method.uses(operand))
        raise SwatcostError(
            f"method {method.name!r} has no sparsity of its own: write {method.family}:{example}=0.75, or give weights"
        )
    return found
