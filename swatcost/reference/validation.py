"""The model validated against a few executed steps of the reference, by pass and by layer."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy
import torch
from torch.nn import functional

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.common.units import checked_count, checked_seed
from swatcost.counting.conventions import EXACT
from swatcost.counting.default_sparsity import default_act_sparsity
from swatcost.counting.padding import inside_fraction, reach
from swatcost.estimate import Estimate, estimate_setting
from swatcost.memory.execution import Execution
from swatcost.methods import LayerSparsity, Operand
from swatcost.network.layer import Layer
from swatcost.network.passes import PASSES, Pass
from swatcost.planning.capacity import view_of
from swatcost.reference.conversion import Converted, convert
from swatcost.reference.counts import Counts
from swatcost.reference.data import samples
from swatcost.reference.layer_records import mean
from swatcost.reference.run_settings import LARGEST_RATE
from swatcost.reference.runnable import runnable
from swatcost.reference.saved_bytes import saved_bytes
from swatcost.reference.scopes import VALIDATING
from swatcost.reference.scores import classes_of, scores
from swatcost.setting import EVERY_SETTING, Settings


@dataclass(frozen=True)
class Work:
    """A pass's multiplications over a batch [MACs], from the model's count to the executed ones.

    `counted`: convention exact at the target sparsity. `reached`: at the real sparsity of the masks. `inside`: without
    multiplications by padding, assuming evenly spread zeros. `placed`: the same with the zeros in their real places.
    `executed`: pairs of operands that are both present, counted by convolving the masks.
    """

    counted: float = 0.0
    reached: float = 0.0
    inside: float = 0.0
    placed: float = 0.0
    executed: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(*(mine + theirs for mine, theirs in zip(self.steps, other.steps, strict=True)))

    @property
    def steps(self) -> tuple[float, float, float, float, float]:
        """The five in order."""
        return self.counted, self.reached, self.inside, self.placed, self.executed

    @property
    def difference(self) -> float:
        """Executed over counted, less 1 [-]."""
        return _difference(self.executed, self.counted)

    @property
    def unexplained(self) -> float:
        """Executed over the count expected from masks and borders, less 1 [-]."""
        return _difference(self.executed, self.placed)

    @property
    def causes(self) -> dict[str, float]:
        """The causes of the difference between counted and executed, relative to counted [-]; they add up."""
        names = ("from the real sparsity", "from padding", "from the places of zeros", "unexplained")
        pairs = zip(self.steps, self.steps[1:], strict=False)
        return {
            name: (after - before) / self.counted if self.counted else 0.0
            for name, (before, after) in zip(names, pairs, strict=True)
        }


def _difference(found: float, expected: float) -> float:
    return found / expected - 1 if expected else 0.0


@dataclass(frozen=True, kw_only=True)
class LayerCheck:
    """One weight in one step: its work by pass, and its target and reached sparsities.

    `default_act_sparsity` is the sparsity of its input before masking [-].
    """

    weight: str
    target: LayerSparsity
    reached: LayerSparsity
    default_act_sparsity: float
    act_elements: int
    work: dict[Pass, Work]


@dataclass(frozen=True, kw_only=True)
class StepCheck:
    """One training step; `refreshed`: whether thresholds were recomputed in it."""

    iteration: int
    refreshed: bool
    loss: float
    layers: tuple[LayerCheck, ...]

    def work(self, in_pass: Pass) -> Work:
        """The work of all layers in a pass."""
        return sum((layer.work[in_pass] for layer in self.layers if in_pass in layer.work), Work())


@dataclass(frozen=True, kw_only=True, repr=False)
class Validation(Result):
    """The model's numbers beside measured ones. Its repr is the tables.

    `saved` are the bytes that autograd saves, modelled and measured: for the dense step, and for the reference, which
    masks dense tensors (the naive view). `left_dense` are weights that the reference could not make sparse; causes are
    named for relative differences above `bound` [-]. `selection` and `one_sample` say how thresholds were found.
    """

    report = "validation"

    estimate: Estimate
    batch_size: int
    data: str
    steps: tuple[StepCheck, ...]
    saved: dict[str, tuple[int, int]]
    left_dense: tuple[str, ...]
    bound: float
    selection: str
    one_sample: bool

    @property
    def setting(self) -> dict[str, Any]:
        """What was executed, as plain data: the settings that a validation takes, defaults included."""
        asked = self.estimate.setting.record()
        ran = {"steps": len(self.steps), "selection": self.selection, "one_sample": self.one_sample}
        return {name: ran.get(name, asked[name]) for name in VALIDATING.options}

    def work(self, in_pass: Pass) -> Work:
        """The work of a pass in all steps."""
        return sum((step.work(in_pass) for step in self.steps), Work())

    @property
    def total(self) -> Work:
        """The work of all passes and steps."""
        return sum((self.work(each) for each in PASSES), Work())

    @property
    def default_act_sparsity(self) -> float:
        """The sparsity of inputs before masking [-], weighted by the multiplications of grad_weight."""
        zeros: dict[str, list[float]] = defaultdict(list)
        for step in self.steps:
            for layer in step.layers:
                zeros[layer.weight].append(layer.default_act_sparsity)
        means = {weight: sum(each) / len(each) for weight, each in zeros.items()}
        return default_act_sparsity(self.estimate.network, means)


def validate(
    model: str,
    *,
    data: str = "synthetic",
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    seed: int = 0,
    bound: float = 0.01,
    learning_rate: float = 0.05,
    over: Any = None,
    ahead: int = 0,
    progress: Callable[[int], object] = lambda step: None,
    **settings: Unpack[Settings],
) -> Validation:
    """Trains a network with the reference for a few steps, and compares the model's numbers with the executed ones.

    model is what `runnable` takes, data what `samples` takes. settings are those of `estimate` in the scope
    `VALIDATING`: weights, acts, method, distribution, period and so on; steps is how many to execute. over, ahead,
    selection and one_sample are those of `convert`. Causes are named for relative differences above bound [-]. progress
    is called after each step.

    Raises SwatcostError for settings that cannot be run.
    """
    asked = {**VALIDATING.defaults, **VALIDATING.given(settings)}
    steps = checked_count(asked.pop("steps"), "steps")
    selection, one_sample = asked.pop("selection"), asked.pop("one_sample", False)
    setting = EVERY_SETTING.setting(asked)
    batch_size = setting.batch_size
    checked_seed(seed)
    for name, value in (("bound", bound), ("learning_rate", learning_rate)):
        if not 0 <= value <= LARGEST_RATE:
            raise SwatcostError(f"{name} {value!r}: give a number from 0 to {LARGEST_RATE:g}")
    built = runnable(model, classes=classes, input_shape=input_shape, seed=seed)
    found = estimate_setting(built.network, setting)
    given = samples(data, input_shape=built.input_shape, classes=classes_of(built), seed=seed)
    if given.classes > classes_of(built):
        raise SwatcostError(f"{given.title} has {given.classes} classes, {model} {classes_of(built)}: give --classes")
    if len(given.images) < batch_size:
        raise SwatcostError(f"{given.title} has {len(given.images)} samples, fewer than a batch of {batch_size}")
    memory = view_of(built.network, found.plan, batch_size, Execution.of())
    batches = given.batches(batch_size, seed)
    probe, _ = next(given.batches(batch_size, seed))
    dense = saved_bytes(built.module, lambda: scores(built.module, probe))
    optimizer = torch.optim.SGD(built.module.parameters(), lr=learning_rate, momentum=0.9)
    checks = []
    with convert(
        built.module, found, over=over, selection=selection, one_sample=one_sample, ahead=ahead, seed=seed
    ) as converted:
        before = copy.deepcopy(converted.state_dict())
        naive = saved_bytes(built.module, lambda: scores(built.module, probe))
        converted.load_state_dict(before)
        for step in range(steps):
            images, labels = next(batches)
            optimizer.zero_grad()
            with converted.counting() as counts:
                loss = functional.cross_entropy(scores(built.module, images), labels)
                loss.backward()  # type: ignore[no-untyped-call]
            if not torch.isfinite(loss):
                raise SwatcostError(f"the loss is {float(loss.detach())} in step {step}: a smaller --lr may help")
            optimizer.step()
            checks.append(_checked(found, converted, counts, float(loss.detach())))
            progress(step)
        left_dense = converted.left_dense
    loss_bytes = memory.dense.loss
    return Validation(
        estimate=found,
        batch_size=batch_size,
        data=given.title,
        steps=tuple(checks),
        saved={
            "dense": (memory.dense.saved_bytes - loss_bytes, dense),
            "masked, as the reference keeps it": (memory.naive - loss_bytes, naive),
        },
        left_dense=left_dense,
        bound=bound,
        selection=selection,
        one_sample=one_sample,
    )


def _checked(found: Estimate, converted: Converted, counts: dict[str, list[Counts]], loss: float) -> StepCheck:
    executions: dict[str, list[Layer]] = defaultdict(list)
    for layer in found.network.weight_layers:
        executions[layer.weight].append(layer)
    targets = {layer.weight: sparsity for layer, sparsity in found.plan.by_weight(found.network)}
    for weight, layers in executions.items():
        if not any(layer.weight_trains for layer in layers):  # only a weight's gradient reads sparse activations
            targets[weight] = replace(targets[weight], activation=0.0)
    checks = []
    for weight, calls in counts.items():
        if len(calls) != len(executions[weight]):
            raise SwatcostError(
                f"{weight} is multiplied {len(calls)} times in this step, but {len(executions[weight])} times in the "
                "trace: a network whose layers depend on values cannot be validated"
            )
        checks.append(_layer(found, weight, targets[weight], executions[weight], calls))
    clock = converted.clock
    return StepCheck(iteration=clock.iteration, refreshed=clock.refreshes, loss=loss, layers=tuple(checks))


def _layer(
    found: Estimate, weight: str, target: LayerSparsity, executions: list[Layer], calls: list[Counts]
) -> LayerCheck:
    work: dict[Pass, Work] = defaultdict(Work)
    for layer, counts in zip(executions, calls, strict=True):
        for in_pass, executed in counts.macs.items():
            work[in_pass] += _work(found, layer, in_pass, target, counts, executed)
    elements = sum(each.act_elements for each in calls)
    return LayerCheck(
        weight=weight,
        target=target,
        reached=_reached(calls),
        default_act_sparsity=sum(each.input_zeros for each in calls) / elements if elements else 0.0,
        act_elements=elements,
        work=dict(work),
    )


def _reached(calls: list[Counts]) -> LayerSparsity:
    """The sparsities over all calls of a layer."""
    return LayerSparsity(
        weight=_below_one(calls[0].weight_sparsity),
        activation=_below_one(mean(calls, lambda each: (each.act_sparsity, each.act_elements))),
        output=_below_one(mean(calls, lambda each: (each.output_sparsity, each.output_elements))),
    )


def _below_one(sparsity: float) -> float:
    """A measured sparsity; 1 becomes the largest number below 1."""
    return min(max(0.0, sparsity), float(numpy.nextafter(1, 0)))


def _work(found: Estimate, layer: Layer, in_pass: Pass, target: LayerSparsity, counts: Counts, executed: int) -> Work:
    """A pass of one call: the model's MACs, corrected step by step, and the executed ones."""
    method, batches = found.plan.method, found.batch_size / found.network.batch_size
    reached = LayerSparsity(*map(_below_one, (counts.weight_sparsity, counts.act_sparsity, counts.output_sparsity)))

    def model(sparsity: LayerSparsity) -> float:
        return EXACT.count(layer, method, sparsity).by_pass()[in_pass].sparse * batches

    return Work(
        counted=model(target),
        reached=model(reached),
        inside=model(reached) * inside_fraction(layer),
        placed=_placed(layer, method.sparse[in_pass], counts, layer.symbols.N * batches),
        executed=executed,
    )


def _placed(layer: Layer, sparse: Collection[Operand], counts: Counts, images: float) -> float:
    """The MACs of the kept elements with a dense other operand, given the shapes and the elements' places."""
    d, meetings = layer.symbols, reach(layer)
    if "weight" in sparse and counts.weight_kept is not None:
        return float((counts.weight_kept * meetings.weight).sum()) * images
    if "activation" in sparse and counts.act_kept is not None:
        return float((counts.act_kept * meetings.input).sum()) * d.F / layer.groups
    if "output" in sparse and counts.output_kept is not None:
        return float((counts.output_kept * meetings.output).sum()) * d.C
    return meetings.total * d.F * d.C * images
