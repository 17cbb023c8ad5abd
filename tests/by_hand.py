"""Networks small enough that every byte of a step can be added up by hand. They are written down, not traced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields, replace
from itertools import pairwise
from typing import Any

from swatcost.distributions import DISTRIBUTIONS
from swatcost.methods import METHODS, LayerSparsity
from swatcost.network import Buffer, Layer, Network, Parameter, SavedTensor, Storage, Timeline
from swatcost.network.conditions import IN_LOSS, Conditions
from swatcost.sparsity import SparsityPlan

BATCH = 2
"""Samples that the networks are written down for."""


def linear(name: str, inputs: int, outputs: int, *, reads: int, trains: bool = True, first: bool = False) -> Layer:
    """A linear layer without bias that reads a storage; the input of the `first` one needs no gradient."""
    return Layer(
        name=name,
        kind="linear",
        input_shape=(BATCH, inputs),
        output_shape=(BATCH, outputs),
        weight_shape=(outputs, inputs),
        parameters=(name,),
        weight=name,
        element_bytes=4,
        input_needs_grad=not first,
        weight_trains=trains,
        input_storage=reads,
    )


def weight_of(layer: Layer) -> Parameter:
    return Parameter(name=layer.weight, shape=layer.weight_shape, element_bytes=4, trains=layer.weight_trains)


def grows(features: int, float_bytes: int = 4) -> Storage:
    """A storage of `features` times 4 bytes per sample."""
    return Storage(bytes=BATCH * features * 4, scales_with_batch=True, float_bytes=float_bytes)


def stays(elements: int) -> Storage:
    """A storage of `elements` times 4 bytes at any batch size, such as the gradient of a weight."""
    return Storage(bytes=elements * 4, scales_with_batch=False, float_bytes=4)


def as_input(storage: int, layer: str) -> SavedTensor:
    return SavedTensor(storage=storage, operation="addmm", held_by=layer, as_layer_input=True)


def saved_by(storage: int, operation: str) -> SavedTensor:
    return SavedTensor(storage=storage, operation=operation, held_by="", as_layer_input=False)


def everywhere(method: str) -> dict[str, Any]:
    """The setting with which a method that makes only some layers sparse makes those of any network sparse."""
    return {"keep_dense": "none"} if METHODS[method].sparse_only else {}


def applies(method: str, network: Network) -> bool:
    """Whether the network has a layer that the method adds to, if it is one that adds."""
    adds_to = METHODS[method].adds_to
    return adds_to is None or any(map(adds_to, network.weight_layers))


def fork(*, frozen: bool = False) -> Network:
    """x (8 features) → a → relu (16) → b and c (4 each), added up. c is frozen or trains, too."""
    a, b = linear("a", 8, 16, reads=0, first=True), linear("b", 16, 4, reads=2)
    c = linear("c", 16, 4, reads=2, trains=not frozen)
    x, of_a, relu, of_b, of_c, y, grad_y, grad_relu, grad_a, grad_b, grad_c = range(1, 12)
    forward = (x, of_a, relu, -of_a, of_b, of_c, y, -of_b, -of_c)
    backward = (grad_y, grad_b, *(() if frozen else (grad_c,)), grad_relu, -relu, grad_a, -grad_relu, -grad_y)
    return Network(
        name="fork",
        input_shapes=((BATCH, 8),),
        output_shapes=((BATCH, 4),),
        batch_size=BATCH,
        layers=(a, b, c),
        parameters=tuple(map(weight_of, (a, b, c))),
        buffers=(Buffer(name="steps", shape=(3,), element_bytes=8),),
        storages=(
            grows(8), grows(16), grows(16), grows(4), grows(4), grows(4),  # x, of_a, relu, of_b, of_c, y
            grows(4), grows(16), stays(8 * 16), stays(16 * 4), stays(16 * 4),  # grad_y, grad_relu, and of a, b, c
        ),
        saved=(as_input(0, "a"), saved_by(2, "relu"), as_input(2, "b"), *(() if frozen else (as_input(2, "c"),))),
        timeline=Timeline(
            events=(*forward, *backward),
            backward=len(forward),
            gradients=(8, 9) if frozen else (8, 9, 10),
            inputs=1,
        ),
    )  # fmt: skip


def with_cross_entropy(network: Network) -> Network:
    """The fork whose outputs are the scores of 4 classes, with labels beside x and the mean cross-entropy of y."""
    assert network.name == "fork"
    y, grad_y = 6, 7
    labels, log_probabilities, weight, loss, of_loss, of_log = range(12, 18)
    timeline = network.timeline
    forward, backward = timeline.events[1 : timeline.backward], timeline.events[timeline.backward + 1 :]
    assert forward[5] == y
    assert timeline.events[timeline.backward] == grad_y
    forward = (1, labels, *forward, log_probabilities, loss, weight)
    return replace(
        network,
        storages=(
            *network.storages,
            Storage(bytes=BATCH * 8, scales_with_batch=True, float_bytes=0), grows(4),  # labels, log-probabilities
            stays(1), stays(1), stays(1), grows(4),  # the labels' total weight; the loss; gradients of it and of these
        ),
        saved=(
            *network.saved,
            replace(saved_by(log_probabilities - 1, "_log_softmax"), held_by=IN_LOSS),
            *(
                replace(saved_by(each - 1, "nll_loss_forward"), held_by=IN_LOSS)
                for each in (log_probabilities, labels, weight)
            ),
        ),
        timeline=replace(
            timeline,
            events=(*forward, of_loss, of_log, -weight, grad_y, -of_log, -log_probabilities, *backward, -of_loss),
            backward=len(forward),
            targets=(labels - 1,),
        ),
        conditions=Conditions(loss="cross-entropy"),
    )  # fmt: skip


def chain(*features: int) -> Network:
    """Linear layers from features[0] to features[1] and so on, with ReLU between them."""
    layers: list[Layer] = []
    storages, saved, gradients = [grows(features[0])], [as_input(0, "0")], []
    forward, backward = [1], list[int]()
    reads = 0
    for place, (inputs, outputs) in enumerate(pairwise(features)):
        layers.append(linear(str(place), inputs, outputs, reads=reads, first=place == 0))
        output, relu, grad, grad_weight = range(len(storages), len(storages) + 4)
        storages += [grows(outputs), grows(outputs), grows(outputs), stays(inputs * outputs)]
        gradients.append(grad_weight)
        last = place == len(features) - 2
        forward += [output + 1] if last else [output + 1, relu + 1, -output - 1]
        saved += [] if last else [saved_by(relu, "relu"), as_input(relu, str(place + 1))]
        backward[:0] = [grad + 1, *([] if last else [-relu - 1]), grad_weight + 1, -grad - 1]
        reads = relu
    return Network(
        name="chain",
        input_shapes=((BATCH, features[0]),),
        output_shapes=((BATCH, features[-1]),),
        batch_size=BATCH,
        layers=tuple(layers),
        parameters=tuple(map(weight_of, layers)),
        buffers=(),
        storages=tuple(storages),
        saved=tuple(saved),
        timeline=Timeline(events=(*forward, *backward), backward=len(forward), gradients=tuple(gradients), inputs=1),
    )


def plan_of(
    network: Network,
    sparsities: Sequence[float | tuple[float, float]],
    *,
    method: str = "swat",
    distribution: str = "uniform",
    pattern: tuple[int, int] | None = None,
) -> SparsityPlan:
    """A plan with these sparsities of weights and activations, layer by layer; one number stands for both."""
    pairs = [each if isinstance(each, tuple) else (each, each) for each in sparsities]
    assert len(pairs) == len(network.weight_layers)
    return SparsityPlan(
        method=METHODS[method],
        distribution=DISTRIBUTIONS[distribution],
        weights=None,
        acts=None,
        grads=None,
        layers=tuple(LayerSparsity(weight, activation, 0.0) for weight, activation in pairs),
        kept_dense={},
        pattern=pattern,
    )


def cannot_be_changed(value: Any) -> bool:
    """Whether none of a dataclass's fields can be set."""
    for field in fields(value):
        try:
            setattr(value, field.name, getattr(value, field.name))
        except FrozenInstanceError:
            continue
        return False
    return True
