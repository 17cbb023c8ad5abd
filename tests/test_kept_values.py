"""The memory table of an estimate, added up by hand on written-down networks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swatcost.counting.conventions import CONVENTIONS
from swatcost.counting.costs import Cost
from swatcost.memory import activation_reduction, step_memory
from swatcost.memory.saved_storages import SavedStorage, saved_storages
from swatcost.network import Layer, Network, SavedTensor

from .by_hand import as_input, cannot_be_changed, fork, linear, plan_of, saved_by

HALF_AND_MORE = (0.0, 0.5, 0.75)  # of the fork's a, b and c


def test_values_by_hand() -> None:
    """At 32 samples x takes 32 · 8 · 4 = 1024 bytes and relu 32 · 16 · 4 = 2048; a has 128 weights, b and c 64."""
    memory = step_memory(fork(), plan_of(fork(), HALF_AND_MORE), 32)
    assert memory.parameters == Cost(4 * 256, 4 * 256)
    assert memory.gradients == Cost(4 * 256, 4 * 256)
    assert memory.backward_weights == Cost(4 * 256, 4 * (128 + 0.5 * 64 + 0.25 * 64))
    assert memory.saved_activations == Cost(1024 + 2048, 1024 + 0.5 * 2048)  # b reads half of relu's values
    assert memory.masked == 1024 + 3 * 2048  # masked for b, masked for c, and relu's own
    assert (memory.sparsified, memory.also_held) == (1, 1)
    assert cannot_be_changed(memory)
    assert memory.by_holder() == {
        "parameters": memory.parameters,
        "gradients": memory.gradients,
        "backward_weights": memory.backward_weights,
        "saved_activations": memory.saved_activations,
    }


def test_a_frozen_layer_saves_no_input() -> None:
    """c is frozen: it keeps no masked copy of what relu gives, and has no say in what b can spare of it."""
    network = fork(frozen=True)
    memory = step_memory(network, plan_of(network, HALF_AND_MORE), 32)
    assert memory.masked == 1024 + 2 * 2048  # masked for b, and relu's own
    assert memory.saved_activations.sparse == 1024 + 0.5 * 2048
    memory = step_memory(network, plan_of(network, (0.0, 0.75, 0.0)), 32)
    assert memory.saved_activations.sparse == 1024 + 0.25 * 2048
    assert memory.masked == 1024 + 2 * 2048
    assert (memory.sparsified, memory.also_held) == (1, 1)
    memory = step_memory(network, plan_of(network, (0.0, 0.0, 0.75)), 32)  # nothing that is saved is made sparse
    assert memory.saved_activations.sparse == memory.saved_activations.dense == memory.masked == 1024 + 2048
    assert (memory.sparsified, memory.also_held) == (0, 0)
    assert memory.gradients.dense == 4 * (128 + 64)
    assert memory.backward_weights.dense == 4 * 256  # c's weight leads the gradient back to a


def test_gradients_of_active_weights() -> None:
    for method, frozen, spared in (("rigl", False, 32 + 48), ("rigl", True, 32), ("snfs", False, 0)):
        network = fork(frozen=frozen)
        gradients = step_memory(network, plan_of(network, HALF_AND_MORE, method=method), 32).gradients
        assert gradients.dense - gradients.sparse == 4 * spared


def test_weights_that_the_backward_pass_does_not_read() -> None:
    network = fork()
    frozen_first = linear("a", 8, 16, reads=0, trains=False, first=True)
    half = replace(network.layers[1], element_bytes=2)
    network = replace(network, layers=(frozen_first, half, network.layers[2]))
    assert step_memory(network, plan_of(network, HALF_AND_MORE), 1).backward_weights == Cost(
        2 * 64 + 4 * 64, 2 * 0.5 * 64 + 4 * 0.25 * 64
    )


def saving(*saved: SavedTensor) -> Network:
    return replace(fork(), saved=saved)


@pytest.mark.parametrize(
    ("network", "sparsities", "expected", "sparsity", "copies"),
    [
        # layers that keep it, all else that does, who is first: the least sparse layer decides, each sparse one has a
        # copy
        (saving(as_input(2, "b"), as_input(2, "c")), (0, 0.5, 0.75), (2, (0.5, 0.75), (), "b"), 0.5, 2),
        (saving(as_input(2, "b"), as_input(2, "c")), (0, 0.5, 0), (2, (0.5, 0.0), (), "b"), 0.0, 2),
        (saving(as_input(2, "b"), as_input(2, "c")), (0, 0, 0), (2, (0.0, 0.0), (), "b"), 0.0, 1),
        (saving(as_input(2, "b")), (0, 0.5, 0.75), (1, (0.5, 0.75), (), "b"), 0.5, 2),
        (saving(as_input(2, "b"), saved_by(2, "relu")), (0, 0.5, 0.75), (1, (0.5, 0.75), ("relu",), "b"), 0.5, 3),
        (saving(saved_by(2, "relu"), saved_by(2, "mul")), (0, 0.5, 0.5), (0, (), ("relu", "mul"), ""), 0.0, 1),
    ],
)
def test_what_keeps_a_storage(
    network: Network, sparsities: tuple[float, ...], expected: tuple[object, ...], sparsity: float, copies: int
) -> None:
    (found,) = saved_storages(network, plan_of(network, sparsities))
    assert cannot_be_changed(found)
    assert found == SavedStorage(2, *expected)  # type: ignore[arg-type]
    assert (found.sparsity, found.masked_copies) == (sparsity, copies)


def test_storages_stand_in_the_order_of_saving() -> None:
    network = saving(saved_by(5, "mul"), as_input(0, "a"), saved_by(2, "relu"), saved_by(5, "tanh"))
    assert [each.storage for each in saved_storages(network, plan_of(network, (0, 0, 0)))] == [5, 0, 2]


def product(*, trains: bool = False, custom_macs: tuple[int, int] = (0, 0)) -> Layer:
    """A product of activations, or an operation with a formula of its own, that reads what relu gives."""
    return Layer(
        name="", kind="custom" if any(custom_macs) else "product", input_shape=(2, 16), weight_shape=(16, 4),
        output_shape=(2, 4), weight="", element_bytes=4, input_needs_grad=True, weight_trains=trains, input_storage=2,
        custom_macs=custom_macs,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "sparsity"),
    [
        (product(trains=True), 0.0),
        (product(), 0.5),  # with a constant: nothing needs its left operand
        (product(custom_macs=(9, 1)), 0.0),
        (product(custom_macs=(9, 0)), 0.5),
    ],
)
def test_what_a_product_keeps_stays_dense(layer: Layer, sparsity: float) -> None:
    network = replace(fork(), layers=(*fork().layers, layer))
    relu = saved_storages(network, plan_of(network, (0, 0.5, 0.5)))[1]
    assert (relu.storage, relu.sparsity) == (2, sparsity)


def normalised(*, frozen: bool = False) -> Network:
    """The fork with a normalisation of its 4 results."""
    norm = Layer(
        name="norm", kind="layer_norm", input_shape=(2, 4), output_shape=(2, 4), weight_shape=(), weight="",
        element_bytes=4, input_needs_grad=True, weight_trains=False, input_storage=5,
    )  # fmt: skip
    return replace(fork(frozen=frozen), layers=(*fork(frozen=frozen).layers, norm))


def test_activation_reduction_by_hand() -> None:
    """Elements per sample: 8 enter a, 16 b, 16 c and 4 the normalisation."""
    network, exact, swat = normalised(), CONVENTIONS["exact"], CONVENTIONS["swat"]
    plan = plan_of(network, HALF_AND_MORE)
    entering = 8 + 16 + 16 + 4
    assert activation_reduction(network, plan, exact) == (0.5 * 16 + 0.75 * 16) / entering
    assert activation_reduction(network, plan, swat) == (0.5 * 16 + 0.75 * 16) / entering
    kept = replace(plan, acts=0.9, kept_dense={"a": "first layer", "b": "last layer"})
    # the first layer's input counts as if it were sparse, by the convention that says so
    assert activation_reduction(network, kept, exact) == (0.5 * 16 + 0.75 * 16) / entering
    assert activation_reduction(network, kept, swat) == (0.9 * 8 + 0.5 * 16 + 0.75 * 16) / entering
    assert activation_reduction(network, replace(kept, acts=None), swat) == (0.5 * 16 + 0.75 * 16) / entering
    assert activation_reduction(normalised(frozen=True), plan, exact) == 0.5 * 16 / (8 + 16 + 4)


def test_nothing_enters_a_network_without_layers() -> None:
    network = replace(fork(), layers=(), saved=())
    plan = plan_of(network, ())
    assert activation_reduction(network, plan, CONVENTIONS["swat"]) == 0.0
    memory = step_memory(network, plan, 32)
    assert (memory.saved_activations, memory.masked, memory.sparsified) == (Cost(0, 0.0), 0, 0)
