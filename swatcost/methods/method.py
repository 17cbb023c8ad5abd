"""A method as data: its sparse operands, gradients, layers kept dense, and sparsity schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from swatcost.common.elementwise import any_of, for_each
from swatcost.common.errors import SwatcostError
from swatcost.common.frozen_mapping import FrozenMapping
from swatcost.methods.added_work import NOTHING, Added, OffStep
from swatcost.methods.layer_sparsity import LayerSparsity, Operand, checked_sparsity
from swatcost.methods.parameter import Parameter, Value, known, read_parameters, written
from swatcost.methods.passes import OPERANDS as OPERANDS
from swatcost.methods.passes import READS
from swatcost.methods.passes import sparse_in as sparse_in  # which callers had from here
from swatcost.methods.phase import Phase, Schedule, TargetSchedule, constant
from swatcost.network.layer import Layer
from swatcost.network.passes import PASSES, Pass

WeightSet = Callable[[float], float]
"""Sparsity of the trained set of weights [-] → that of another set."""

Shape = tuple[int, ...]

OUTPUT_LAYER = "the output layer"
"""As a pattern of `Method.keeps_dense`: a language model's logits (`Network.output_layer`)."""

STORED = ("parameters", "gradients", "state", "copies", "transposes", "mask_bits", "index_bits")
"""What a method can say of how its weights are stored."""

_UPDATES = {("all", "all"), ("all", "active"), ("active", "active")}

_MOST_SPARSE = 0.9999  # [-]: sparsities are below 1

_SOME_TARGET = 0.9  # weight sparsity [-] that stands for any, where only the course of a run matters


@dataclass(frozen=True, kw_only=True)
class Method:
    """A sparse training algorithm.

    `sparse` names the operands that are sparse in each pass; they must be operands that the pass reads: grad_input
    does not read activations, grad_weight does not read weights (Eqs. 2 and 3). `weight_gradient` says for which
    weights the algorithm needs a gradient, and `updates` which it updates, if not the same; weights without one are
    frozen, and gradients flow through them. `across_layers`, `unstructured` and `structured` are columns of the
    paper's Table 1. `selects` are the operands that it selects by Top-K every period. `departures` says where this
    data departs from the source.

    `keeps_dense` are patterns of layers, or OUTPUT_LAYER, that runs of it keep dense, those of `kept_by` or else
    SWAT's, and `sparse_elsewhere` is a sentence on who does not. `sparse_only` are patterns of the only layers that it
    makes sparse, or a function that says it of a layer; `sparse_layers` is what these are called. `targets` are its own
    sparsities, by the names of the settings, if none are asked for. `group` is M if it keeps N of every M weights along
    the input channels, whatever the distribution; N follows from the target.

    `schedule` gives the sparsity over a run, `target_schedule` the same where it depends on the target weight
    sparsity; `published_schedule` is the closed form that its authors count with, if it differs. `ends_dense` says
    that the trained model is dense although the run's phases were sparse.

    `weight_sets` are functions from the sparsity of the trained weights to that of another set: of the weights that
    forward or grad_input read, or, as grad_weight's, of those that get a gradient. Dense stays dense: 0 gives 0.

    `extra_macs` is work [MACs] that it adds to a layer's forward pass, `added` what it adds to a layer in every
    pass; `merges` says that the trained model is without it. Both are for the layers that are sparse, or for all if
    it makes none sparse; `adds_to` is a function that says which of them, and `added_layers` what these are called.
    `projected` gives, for a layer, the shape in which the optimizer sees the gradient of its weight, and that of the
    matrix that it keeps to project it; None where it sees the gradient itself. `off_step` is what it does between
    steps. `stores` says how its weights are stored at least, by the fields of
    `swatcost.memory.weight_storage.WeightStorage`, where they differ from what follows from the rest.

    `parameters` are what it can be asked with, `make` the function that makes it with other values of all of them,
    and `values` those that are not the default's, which its name shows; `with_parameters` sets all three.
    """

    name: str
    title: str
    citation: str
    sparse: Mapping[Pass, frozenset[Operand]]
    weight_gradient: Literal["all", "active", "none"] = "all"
    updates: Literal["all", "active"] | None = None
    across_layers: Literal["fixed", "variable", "fixed or variable"] = "fixed"
    unstructured: bool = True
    structured: bool = False
    keeps_dense: tuple[str, ...] = ()
    kept_by: str = ""
    sparse_elsewhere: str = ""
    sparse_only: tuple[str, ...] | Callable[[Layer], bool] = ()
    sparse_layers: str = ""
    targets: Mapping[str, float] = field(default_factory=lambda: FrozenMapping({}))
    group: int | None = None
    schedule: Schedule = constant
    target_schedule: TargetSchedule | None = None
    published_schedule: Schedule | None = None
    ends_dense: bool = False
    weight_sets: Mapping[Pass, WeightSet] = field(default_factory=lambda: FrozenMapping({}))
    selects: frozenset[Operand] = frozenset()
    extra_macs: Callable[[Layer], float] | None = None
    added: Callable[[Layer], Added] | None = None
    adds_to: Callable[[Layer], bool] | None = None
    added_layers: str = ""
    merges: bool = False
    projected: Callable[[Layer], tuple[Shape, Shape] | None] | None = None
    off_step: tuple[OffStep, ...] = ()
    stores: Mapping[str, Any] = field(default_factory=lambda: FrozenMapping({}))
    departures: str = ""
    parameters: tuple[Parameter, ...] = ()
    make: Callable[..., Method] | None = None
    values: Mapping[str, Value] = field(default_factory=lambda: FrozenMapping({}))

    def __post_init__(self) -> None:
        for each in PASSES:
            if unread := self.sparse[each] - READS[each]:
                raise ValueError(f"{self.name}: {each} does not read {', '.join(sorted(unread))}")
        if self.target_schedule and self.schedule is not constant:
            raise ValueError(f"{self.name}: it has a schedule and a target_schedule, give one")
        if not math.isclose(sum(phase.share for phase in self.phases(1000, _SOME_TARGET)), 1):
            raise ValueError(f"{self.name}: the shares of its schedule's phases do not add up to 1")
        if strange := [str(each) for each in self.weight_sets if each not in PASSES]:
            raise ValueError(f"{self.name}: sets of weights for {', '.join(strange)}: give {' or '.join(PASSES)}")
        for each, of in self.weight_sets.items():
            reads = self.weight_gradient == "active" if each == "grad_weight" else "weight" in self.sparse[each]
            if not reads:
                raise ValueError(f"{self.name}: it has a set of weights for {each}, where all weights are needed")
            if of(0.0) != 0:
                raise ValueError(f"{self.name}: its set of weights for {each} is sparse where the trained one is dense")
        if self.updates and (self.weight_gradient, self.updates) not in _UPDATES:
            raise ValueError(f"{self.name}: it updates weights for which it has no gradient")
        for name, target in self.targets.items():
            if not self.uses(OPERANDS[name]):
                raise ValueError(f"{self.name}: it has a target for {name}, which it does not make sparse")
            checked_sparsity(target, f"{self.name}: {name}")
        if strangers := self.stores.keys() - STORED:
            raise ValueError(f"{self.name}: stores {', '.join(sorted(strangers))}: give {', '.join(STORED)}")
        if self.sparse_only and not self.sparse_layers:
            raise ValueError(f"{self.name}: say in sparse_layers what the layers of sparse_only are called")
        if self.adds_to and not self.added_layers:
            raise ValueError(f"{self.name}: say in added_layers what the layers of adds_to are called")

    def asked(self, text: str) -> Method:
        """The method with parameters as written, such as `delta_t=200,t_end=0.75`; the others stay as they are.

        Raises SwatcostError for what `Parameter.read` refuses and for values that do not go together.
        """
        return self.but(**read_parameters(self.family, (*self.parameters, *self.askable_targets), text))

    def but(self, **values: Value) -> Method:
        """The method with these parameters, or target sparsities as its own, by the names of the settings.

        Raises SwatcostError for what it does not have or take.

        >>> from swatcost.methods import METHODS
        >>> METHODS["rigl"].but(delta_t=200).name
        'rigl:delta_t=200'
        >>> METHODS["spdf"].but(weights=0.75).targets["weights"]
        0.75
        """
        named = {each.name: each for each in (*self.parameters, *self.askable_targets)}
        for name in values:
            known(self.family, named, name)
        asked = {**self.values, **{name: named[name].checked(value) for name, value in values.items()}}
        changed = {name: asked[name] for name, each in named.items() if asked.get(name, each.default) != each.default}
        if changed == self.values:
            return self
        parameters = {each.name: changed.get(each.name, each.default) for each in self.parameters}
        made = self.make(**parameters) if self.make else self
        words = ",".join(f"{name}={written(value)}" for name, value in changed.items())
        fixed = {name: target for name, target in made.targets.items() if name not in self.values}
        return replace(
            made,
            name=f"{self.family}:{words}" if words else self.family,
            targets=FrozenMapping(
                {**fixed, **{name: float(changed[name]) for name in changed if name not in parameters}}
            ),
            parameters=self.parameters,
            make=self.make,
            values=FrozenMapping(changed),
        )

    @property
    def askable_targets(self) -> tuple[Parameter, ...]:
        """Target sparsities that it can be asked to have as its own: of the operands for which it has none."""
        return tuple(
            Parameter(name=name, default=0.0, least=0, most=_MOST_SPARSE, meaning="target sparsity", source="the user")
            for name, operand in OPERANDS.items()
            if self.uses(operand) and (name not in self.targets or name in self.values)
        )

    @property
    def asked_targets(self) -> Mapping[str, float]:
        """Those that it was asked to have as its own."""
        return {name: target for name, target in self.targets.items() if name in self.values}

    def phases(self, steps: int, weights: Any = _SOME_TARGET) -> tuple[Phase, ...]:
        """The phases of a run of `steps` steps to the target weight sparsity `weights` [-], a number or an array.

        `SparsityPlan.phases` has those of a plan.
        """
        return self.schedule(steps) if self.target_schedule is None else self.target_schedule(steps, weights)

    def published_phases(self, steps: int, weights: Any = _SOME_TARGET) -> tuple[Phase, ...]:
        """The phases that its authors count with."""
        return self.published_schedule(steps) if self.published_schedule else self.phases(steps, weights)

    @property
    def trained(self) -> Phase:
        """The sparsity of the trained model, as a phase."""
        return Phase(1.0, scale=0.0 if self.ends_dense else 1.0, adds=not self.merges)

    @property
    def family(self) -> str:
        """Its name without parameters."""
        return self.name.partition(":")[0]

    @property
    def updated_weights(self) -> Literal["all", "active", "none"]:
        """The weights that it updates; the others are zero until it activates them."""
        return self.updates or self.weight_gradient

    def sparsity_in(self, in_pass: Pass, weight: Any) -> Any:
        """The sparsity of the set of weights that forward or grad_input read, or that gets a gradient in grad_weight.

        weight is that of the trained set; both may be arrays. Raises SwatcostError for a set that is none.
        """
        if in_pass not in self.weight_sets:
            return weight
        found = for_each(self.weight_sets[in_pass], weight)
        if any_of((found < 0) | (found >= 1)):
            raise SwatcostError(
                f"method {self.name!r}: at this weight sparsity its set of weights for {in_pass} would have a sparsity "
                "outside [0, 1): choose another"
            )
        return found

    @property
    def selections(self) -> int:
        """How many sets of a weight there are, each with a mask, a threshold and a Top-K of its own."""
        different: list[WeightSet] = []
        for each in self.weight_sets.values():
            if each not in different:
                different.append(each)
        return 1 + len(different)

    @property
    def as_trained(self) -> Method:
        """The method whose forward pass reads the trained weights, as inference does."""
        if "forward" not in self.weight_sets:
            return self
        others: dict[Pass, WeightSet] = {each: of for each, of in self.weight_sets.items() if each != "forward"}
        return replace(self, weight_sets=FrozenMapping(others))

    def uses(self, operand: Operand) -> bool:
        """Whether the operand is sparse in any pass."""
        return any(operand in operands for operands in self.sparse.values())

    @property
    def relies_on_default_sparsity(self) -> bool:
        """Whether its weight gradient is sparse only by default activation sparsity, the zeros of ReLU (A.3)."""
        trains = self.weight_gradient != "none"
        return trains and "weight" in self.sparse["forward"] and not self.sparse["grad_weight"]

    @property
    def makes_sparse(self) -> bool:
        """Whether any operand is sparse in any pass."""
        return any(self.sparse.values())

    @property
    def differs_when_dense(self) -> bool:
        """Whether a step of it differs from a dense one although nothing is sparse."""
        changes = self.weight_gradient == "none" or self.added is not None or self.projected is not None
        return not self.makes_sparse and changes

    def branches_of(self, layer: Layer) -> Added:
        """The branches that a layer gets, if it is one that it changes."""
        adds = self.adds_to is None or self.adds_to(layer)
        return self.added(layer) if self.added and adds else NOTHING

    def added_to(self, layer: Layer) -> Added:
        """All that it adds to a layer: branches, and work of its own in the forward pass."""
        added = self.branches_of(layer)
        return replace(added, forward=added.forward + self.extra_macs(layer)) if self.extra_macs else added

    def density(self, in_pass: Pass, sparsity: LayerSparsity, phase: Phase) -> float:
        """The fraction of the dense pass's multiplications that the algorithm needs.

        Zeros of different operands are assumed independent.
        """
        if in_pass == "grad_weight" and self.weight_gradient == "none":
            return 0.0
        now = sparsity.during(phase)
        zeros = {"weight": self.sparsity_in(in_pass, now.weight), "activation": now.activation, "output": now.output}
        density: float = math.prod(1 - zeros[operand] for operand in sorted(self.sparse[in_pass]))
        if in_pass == "grad_weight" and self.weight_gradient == "active" and not phase.dense_weight_gradient:
            density *= 1 - zeros["weight"]
        return density


def with_parameters(make: Callable[..., Method], *parameters: Parameter) -> Method:
    """The method that `make` makes with the parameters' defaults, and that can be asked with others.

    `make` is a function of a module that takes each parameter by name. It raises SwatcostError for values that do not
    go together.
    """
    method = make(**{each.name: each.default for each in parameters})
    return replace(method, parameters=parameters, make=make)
