"""Bytes of all that a training step holds for weights, in one way of storing those that are sparse.

What is held apart from that, activations above all, is dense here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from swatcost.memory.dense_step import StepMemory, composition, live_bytes, part_of
from swatcost.memory.gradients import gradient_of_parameters, updated_parameters
from swatcost.memory.precisions import FULL
from swatcost.memory.shares import Part
from swatcost.memory.trained_parameters import Trained
from swatcost.memory.weight_storage import PARTS, ElementBytes, WeightStorage, stored_bytes
from swatcost.network import Network
from swatcost.sparsity import SparsityPlan


@dataclass(frozen=True, kw_only=True)
class HeldWeights:
    """A step whose sparse weights are stored in one way, with dense activations [bytes].

    `parts` are those of `weight_storage.PARTS`, over all parameters. `in_passes` is the most that the passes hold, but
    for copies of dense parameters, which count as saved for the backward pass; of that, `saved_activations` and
    `inputs`. `at_update` is what the optimizer's step holds.
    """

    storage: WeightStorage
    parts: dict[str, int]
    in_passes: int
    saved_activations: int
    inputs: int
    at_update: int

    @property
    def total(self) -> int:
        """All that is stored for weights [bytes]."""
        return sum(self.parts.values())

    @property
    def saved_copies(self) -> int:
        """The copies that are made in the forward pass, for the backward pass [bytes]."""
        return 0 if self.storage.keeps_copies else self.parts["weight copies"]


@dataclass(frozen=True)
class _Weight:
    """A sparse weight, and its PARTS [bytes] dense and as stored; `gradient` is the storage of its gradient."""

    name: str
    elements: int
    gradient: int | None
    dense: Mapping[str, float]
    stored: Mapping[str, float]

    @property
    def updated(self) -> int:
        """The elements that the optimizer has state for."""
        part = "optimizer state"
        return round(self.elements * self.stored[part] / self.dense[part]) if self.dense[part] else self.elements


def held_weights(network: Network, plan: SparsityPlan, step: StepMemory, storage: WeightStorage) -> HeldWeights:
    """The bytes that the dense step would hold if its sparse weights were stored so."""
    execution, part = step.execution, part_of(network, step.batch_size, step.execution)
    sizes, live, holds, gradients = [*step.sizes], step.live, step.peak.holds, step.gradients
    compressed = storage.gradients != "all"
    weights = _sparse_weights(network, plan, part, sizes if compressed else [], storage)
    updated = _updated(part, weights)
    if compressed:
        for each in weights:
            if each.gradient is not None:
                sizes[each.gradient] = round(each.stored["gradients"])
        gradients = sum(sizes[each] for each in network.timeline.gradients)
    if execution.update_in_backward:  # the temporaries are storages behind the network's
        sizes[len(network.storages) :] = [execution.way.temporaries([updated[each]]) for each in part.trained]
    if compressed or execution.update_in_backward:
        live = live_bytes(step.events, sizes)
    if compressed or step.peak.phase == "optimizer step":
        place = max(range(len(live)), key=live.__getitem__, default=-1)
        holds = composition(network, sizes, step.events[: place + 1])
    parts = {
        name: round(step.constant.get(name, 0) + sum(each.stored[name] - each.dense[name] for each in weights))
        for name in PARTS
    }
    parts["gradients"] = gradients
    added = _added(plan, part)
    parts = {name: size + added.get(name, 0) for name, size in parts.items()}
    passing = {"gradients"} if storage.keeps_copies else {"gradients", "weight copies"}
    constant = sum(size for name, size in parts.items() if name not in passing)
    copies = {"accumulated gradients", "gradient buckets"} if compressed else set()  # which are of the same gradients
    constant += sum(size for name, size in step.constant.items() if name not in {*PARTS, *copies})
    constant += len(copies & step.constant.keys()) * (gradients + added.get("gradients", 0))
    used = [updated[number] for number in updated_parameters(network)]
    working = execution.way.temporaries(used) if step.working else 0
    return HeldWeights(
        storage=storage,
        parts=parts,
        in_passes=constant + _peak(step.events, live, network.timeline.gradients, added.get("gradients", 0)),
        saved_activations=holds.get("saved activations", 0),
        inputs=holds.get("input", 0),
        at_update=constant + (live[-1] if live else 0) + added.get("gradients", 0) + working,
    )


def _peak(events: Sequence[int], live: Sequence[int], gradients: Sequence[int], added: int) -> int:
    """The most bytes that are live, with those of added weights' gradients from the first gradient on."""
    own = {each + 1 for each in gradients}  # as events have it where a storage is made
    first = next((place for place, event in enumerate(events) if event in own), len(live))
    return max(max(live[:first], default=0), max(live[first:], default=0) + added * (first < len(live)))


def _added(plan: SparsityPlan, part: Part) -> dict[str, int]:
    """The PARTS of the weights that the method adds [bytes]."""
    numbers = part.precision
    trained = [
        Trained(shape, numbers.master or (numbers.parameter if size == FULL else size))
        for layer, shape in plan.added_weights(part.network)
        for size in (part.network.weight_bytes(layer),)
    ]
    elements = sum(each.elements for each in trained)
    own = elements * numbers.parameter if numbers.master else sum(each.bytes for each in trained)
    return {
        "parameters": own,
        "master weights": elements * numbers.master,
        "gradients": own,
        "optimizer state": part.optimizer.state(trained) if trained else 0,
    }


def _updated(part: Part, weights: Iterable[_Weight]) -> dict[int, Trained]:
    """What the optimizer updates of each parameter that trains, by its number."""
    elements = {each.name: each.updated for each in weights if each.updated != each.elements}
    found = {number: part.as_trained(number) for number in part.trained}
    for number, whole in found.items():
        if (active := elements.get(part.network.parameters[number].name)) is not None:
            found[number] = whole._replace(shape=(active,))
    return found


def _sparse_weights(
    network: Network, plan: SparsityPlan, part: Part, sizes: Sequence[int], storage: WeightStorage
) -> list[_Weight]:
    """The weights that the plan makes sparse or projects, in this storage; without sizes all gradients are dense."""
    numbers = part.precision
    elements_of = {each.name: each.elements for each in network.parameters}
    trained_of = {network.parameters[number].name: part.as_trained(number) for number in part.trained}
    state_of = {name: part.optimizer.state([each]) for name, each in trained_of.items()}
    gradients = gradient_of_parameters(network) if sizes else {}
    gradient_of = {network.parameters[number].name: storage for number, storage in gradients.items()}
    found, method = [], plan.method
    for layer, sparsity in plan.by_weight(network):
        seen = method.projected(layer) if method.projected and layer.weight in trained_of else None
        if not sparsity.weight and storage.state != "none" and seen is None:
            continue
        elements, trains, gradient = layer.weight_elements, layer.weight_trains, gradient_of.get(layer.weight)
        is_parameter = elements_of.get(layer.weight) == elements
        # the parameters that another weight is computed from stay as they are
        of_weight = storage if is_parameter else replace(storage, parameters="all", gradients="all", state="all")
        rows, columns = layer.weight_shape[0], elements / layer.weight_shape[0]
        size = network.weight_bytes(layer)
        element = ElementBytes(
            parameter=numbers.parameter if size == FULL else size,
            master=numbers.master * trains,
            gradient=0 if gradient is None else sizes[gradient] / elements,
            state=state_of.get(layer.weight, 0) / elements,
        )
        dense = dict.fromkeys(PARTS, 0.0) | {name: elements * size for name, size in element.by_part()}
        stored = stored_bytes(
            of_weight,
            rows=rows,
            columns=columns,
            sparsity=method.sparsity_in("grad_weight", sparsity.weight),
            element=element,
            # masked code keeps its copy with the input; a format need not, if no grad_input reads it
            copied=layer.input_needs_grad or (trains and not storage.formats),
            pattern=plan.pattern,
            # under N:M the transpose is stored in that pattern, whatever else is zero
            copy_sparsities=(
                method.sparsity_in("forward", sparsity.weight),
                sparsity.weight if plan.pattern else method.sparsity_in("grad_input", sparsity.weight),
            ),
        )
        if seen is not None:
            gradient_seen, projection = (trained_of[layer.weight]._replace(shape=each) for each in seen)
            stored["optimizer state"] = part.optimizer.state([gradient_seen]) + projection.bytes
        found.append(_Weight(layer.weight, elements, gradient, dense, stored))
    return found
