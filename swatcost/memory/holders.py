"""What a training step keeps in memory, and how much of it sparsity could spare."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from swatcost.counting.conventions import Convention
from swatcost.counting.costs import Cost
from swatcost.network import Network, SavedTensor
from swatcost.sparsity import SparsityPlan


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a step keeps [bytes], by what holds it.

    Every parameter is kept to be updated. Gradients are dense, or those of active weights where the method needs no
    others (apart from its steps with a dense gradient). `backward_weights` are the conv and linear
    weights that the backward pass reads: all of them, or the values of the active ones. `saved_activations` are
    the tensors that autograd saves, as torch's CPU kernels have them (a dropout mask is as large as its input);
    sparse, the values that Top-K keeps. `masked` is what the saved activations take if every layer keeps its
    masked input as a dense tensor of its own, as plain PyTorch code does.

    Indices are not included; nor are buffers, optimizer state, the loss and working space.

    `sparsified` counts the saved tensors that the plan makes sparse, `also_held` those of them that some other
    operation keeps as well.
    """

    parameters: Cost
    gradients: Cost
    backward_weights: Cost
    saved_activations: Cost
    masked: int
    sparsified: int
    also_held: int

    def by_holder(self) -> dict[str, Cost]:
        """What holds how much."""
        return {
            "parameters": self.parameters,
            "gradients": self.gradients,
            "backward_weights": self.backward_weights,
            "saved_activations": self.saved_activations,
        }


def activation_reduction(network: Network, plan: SparsityPlan, convention: Convention) -> float:
    """The fraction of saved activation elements that are masked to zero: the paper's `Act ↓`.

    Act ↓ = Σ s_l · a_l / (Σ a_l + Σ b)

    a_l are the elements entering conv or linear layer l, s_l their sparsity, b the elements entering
    normalisations, which stay dense (A.9: batch normalisation; others are taken to be like it). Elements are counted
    layer by layer, as the paper does: what two layers share counts twice. Under a convention with
    `first_input_sparse` the first layer's input counts at
    the target sparsity, although the layer is dense.

    Source: inferred from SWAT's Tables 2–5, whose text gives no formula. It is within 0.1 points for WRN-16-8,
    ResNet-18 and structured DenseNet-121, within 0.15 for ResNet-50, and up to 0.9 off for WRN-50-2, VGG-16 and
    unstructured DenseNet-121.
    """
    entering = masked = 0.0
    for layer, sparsity in zip(network.weight_layers, plan.layers, strict=True):
        elements = network.input_elements(layer) * layer.weight_trains  # a frozen layer's input is not saved
        as_if_sparse = convention.first_input_sparse and plan.kept_dense.get(layer.weight) == "first layer"
        entering += elements
        target = 0.0 if plan.acts is None else plan.acts
        masked += elements * (target if as_if_sparse else sparsity.activation)
    norms = (layer for layer in network.layers if layer.is_norm)
    entering += sum(map(network.input_elements, norms))
    return masked / entering if entering else 0.0


def step_memory(network: Network, plan: SparsityPlan, batch_size: int) -> Memory:
    """What a training step of batch_size samples keeps [bytes]."""
    parameters = sum(each.elements * each.element_bytes for each in network.parameters)
    gradients = sum(each.elements * each.element_bytes for each in network.parameters if each.trains)
    sparsities = _sparsities_by_storage(network, plan)
    dense = masked = sparsified = also_held = 0
    sparse = 0.0
    for storage, tensors in _by_storage(network.saved).items():
        kept = network.storage_bytes(storage, batch_size)
        by_reader = sparsities[storage]
        sparsity = min(by_reader, default=0.0)  # the least sparse reader decides what has to be kept
        held = not all(each.as_layer_input for each in tensors)
        dense += kept
        sparse += (1 - sparsity) * kept
        copies = sum(each > 0 for each in by_reader)
        masked += kept * (copies + (held or copies < len(by_reader) or not by_reader))
        sparsified += sparsity > 0
        also_held += sparsity > 0 and held
    return Memory(
        parameters=Cost(parameters, parameters),
        gradients=Cost(gradients, gradients - _inactive_gradients(network, plan)),
        backward_weights=_backward_weights(network, plan),
        saved_activations=Cost(dense, sparse),
        masked=masked,
        sparsified=sparsified,
        also_held=also_held,
    )


def _sparsities_by_storage(network: Network, plan: SparsityPlan) -> dict[int, list[float]]:
    """The activation sparsity of every layer that reads a storage."""
    sparsities: dict[int, list[float]] = defaultdict(list)
    for layer, sparsity in plan.by_layer(network):
        sparsities[layer.input_storage].append(sparsity.activation)
    return sparsities


def _by_storage(saved: tuple[SavedTensor, ...]) -> dict[int, list[SavedTensor]]:
    storages: dict[int, list[SavedTensor]] = defaultdict(list)
    for tensor in saved:
        storages[tensor.storage].append(tensor)
    return storages


def _backward_weights(network: Network, plan: SparsityPlan) -> Cost:
    sizes = [
        (layer.weight_elements * layer.element_bytes, each.weight)
        for layer, each in plan.by_weight(network)
        if layer.input_needs_grad or layer.weight_trains
    ]
    return Cost(dense=sum(size for size, _ in sizes), sparse=sum(size * (1 - sparsity) for size, sparsity in sizes))


def _inactive_gradients(network: Network, plan: SparsityPlan) -> float:
    """Gradients [bytes] of zero weights that the method does not need."""
    if plan.method.weight_gradient == "all":
        return 0.0
    return sum(
        layer.weight_elements * layer.element_bytes * sparsity.weight
        for layer, sparsity in plan.by_weight(network)
        if layer.weight_trains
    )
