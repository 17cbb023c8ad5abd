"""What a training step keeps in memory, and how much of it sparsity could spare."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from swatcost.conventions import Convention
from swatcost.layer import Layer
from swatcost.network import Network, SavedTensor
from swatcost.sparsity import SparsityPlan


@dataclass(frozen=True)
class Bytes:
    """Memory [bytes] of one kind of tensor in a dense step and in a sparse one."""

    dense: int
    sparse: float

    @property
    def reduction(self) -> float:
        """1 − sparse / dense; 0 where nothing is held."""
        return 1 - self.sparse / self.dense if self.dense else 0.0


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a step keeps [bytes].

    `parameters.sparse` holds the values of the active weights, `saved_activations.sparse` the values that
    Top-K keeps; indices are not included. Gradients are as dense as the method's.
    `sparsified` counts the saved tensors that the plan makes sparse, and `also_held` those of them that some
    other operation keeps as well.
    """

    parameters: Bytes
    gradients: Bytes
    saved_activations: Bytes
    sparsified: int
    also_held: int

    def by_holder(self) -> dict[str, Bytes]:
        """What holds how much."""
        return {
            "parameters": self.parameters,
            "gradients": self.gradients,
            "saved_activations": self.saved_activations,
        }


def activation_reduction(network: Network, plan: SparsityPlan, convention: Convention) -> float:
    """The fraction of saved activation elements that are masked to zero: the paper's `Act ↓`.

    Act ↓ = Σ s_l · a_l / (Σ a_l + Σ b)

    a_l are the elements entering conv or linear layer l, s_l their sparsity, b the elements entering batch
    normalisations, which stay dense (A.9). Elements are counted layer by layer, as the paper does: what two
    layers share counts twice. Under a convention with `first_input_sparse` the first layer's input counts at
    the target sparsity, although the layer is dense.

    Source: SWAT, Tables 2–5; the text gives no formula, this one reproduces ResNet-50 and WRN-16-8.
    """
    entering = masked = 0.0
    for index, (layer, sparsity) in enumerate(zip(network.multiplying, plan.layers, strict=True)):
        elements = network.input_elements(layer)
        as_if_sparse = convention.first_input_sparse and index == 0 and layer.weight_key in plan.kept_dense
        entering += elements
        masked += elements * (plan.acts if as_if_sparse else sparsity.activation)
    entering += sum(network.input_elements(layer) for layer in network.layers if layer.kind == "batch_norm")
    return masked / entering if entering else 0.0


def step_memory(network: Network, plan: SparsityPlan, batch_size: int) -> Memory:
    """What a training step of batch_size samples keeps [bytes]."""
    parameters = sum(each.elements * each.element_bytes for each in network.parameters)
    gradients = sum(each.elements * each.element_bytes for each in network.parameters if each.trains)
    dense = sparse = 0.0
    sparsified = also_held = 0
    readers = _readers(network, plan)
    layer_names = {layer.name for layer in network.multiplying}
    for storage, tensors in _by_storage(network.saved).items():
        kept = _bytes_at(tensors[0], network, batch_size)
        sparsities = [sparsity for _, sparsity in readers[storage]]
        sparsity = min(sparsities, default=0.0)  # the least sparse reader decides what has to be kept
        dense += kept
        sparse += (1 - sparsity) * kept
        sparsified += sparsity > 0
        also_held += sparsity > 0 and any(each.held_by not in layer_names for each in tensors)
    return Memory(
        parameters=Bytes(parameters, parameters - _zero_weight_bytes(network, plan)),
        gradients=Bytes(gradients, gradients),
        saved_activations=Bytes(int(dense), sparse),
        sparsified=sparsified,
        also_held=also_held,
    )


def _readers(network: Network, plan: SparsityPlan) -> dict[int, list[tuple[Layer, float]]]:
    readers: dict[int, list[tuple[Layer, float]]] = defaultdict(list)
    for layer, sparsity in zip(network.multiplying, plan.layers, strict=True):
        readers[layer.input_storage].append((layer, sparsity.activation))
    return readers


def _by_storage(saved: tuple[SavedTensor, ...]) -> dict[int, list[SavedTensor]]:
    storages: dict[int, list[SavedTensor]] = defaultdict(list)
    for tensor in saved:
        storages[tensor.storage].append(tensor)
    return storages


def _bytes_at(tensor: SavedTensor, network: Network, batch_size: int) -> int:
    if not tensor.scales_with_batch:
        return tensor.storage_bytes
    return tensor.storage_bytes * batch_size // network.batch_size


def _zero_weight_bytes(network: Network, plan: SparsityPlan) -> float:
    sparsity_of = {
        layer.weight: sparsity.weight
        for layer, sparsity in zip(network.multiplying, plan.layers, strict=True)
        if layer.weight
    }
    return sum(each.elements * each.element_bytes * sparsity_of.get(each.name, 0.0) for each in network.parameters)
