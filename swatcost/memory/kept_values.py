"""Bytes of values that a training step keeps, dense and sparse: the memory table of an estimate."""

from collections import defaultdict
from dataclasses import dataclass

from swatcost.counting import Convention
from swatcost.counting.costs import Cost
from swatcost.memory.saved_storages import SavedStorage, saved_storages
from swatcost.network import Network
from swatcost.sparsity import SparsityPlan


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The values that a step keeps [bytes], dense and under a plan.

    `parameters` are kept in full, because they are updated. `gradients` are dense, or only those of active weights if
    the method needs no others (apart from its steps with a dense gradient), or none of frozen weights. Both include
    those of weights that the method adds. `backward_weights` are the conv and linear
    weights that autograd saves: all of them, or only the active ones. `saved_activations` are the tensors that autograd
    saves with torch's CPU kernels (a dropout mask is as large as its input); of the tensors that layers save as their
    input, the sparse figure counts only the values that Top-K keeps, even if another operation saves them too. `masked`
    is their size as masked dense tensors, as in plain PyTorch code: each sparse layer saves its masked input in
    addition to what other operations save.

    `sparsified` is the number of saved tensors that the plan makes sparse; `also_held` is how many of them another
    operation saves too.

    Not included: indices, buffers, optimizer state, the loss, working space.
    """

    parameters: Cost
    gradients: Cost
    backward_weights: Cost
    saved_activations: Cost
    masked: int
    sparsified: int
    also_held: int

    def by_holder(self) -> dict[str, Cost]:
        """The dense and sparse bytes of each field that has both."""
        return {
            "parameters": self.parameters,
            "gradients": self.gradients,
            "backward_weights": self.backward_weights,
            "saved_activations": self.saved_activations,
        }


def activation_reduction(
    network: Network, plan: SparsityPlan, convention: Convention, batch_size: int | None = None
) -> float:
    """The fraction of saved activation elements that are masked to zero: the paper's `Act ↓`.

    Act ↓ = Σ s_l · a_l / (Σ a_l + Σ b)

    a_l are the elements entering conv or linear layer l, s_l their sparsity, b the elements entering
    normalisations, which stay dense (A.9 for batch normalisation; assumed for the others). Elements are counted layer
    by layer, as in the paper: a tensor that two layers share counts twice. Under a convention whose switch
    `first_input` is "sparse" the first layer's input counts at the target sparsity, although the layer is dense.

    Source: inferred from SWAT's Tables 2–5, whose text gives no formula. It is within 0.1 points for WRN-16-8,
    ResNet-18 and structured DenseNet-121, within 0.15 for ResNet-50, and up to 0.9 off for WRN-50-2, VGG-16 and
    unstructured DenseNet-121.
    """
    entering = masked = 0.0
    for layer, sparsity in zip(network.weight_layers, plan.layers, strict=True):
        # a frozen layer's input is not saved
        elements = network.input_elements(layer, batch_size) * layer.weight_trains
        as_if_sparse = convention.first_input == "sparse" and plan.kept_dense.get(layer.weight) == "first layer"
        entering += elements
        target = 0.0 if plan.acts is None else plan.acts
        masked += elements * (target if as_if_sparse else sparsity.activation)
    norms = (layer for layer in network.layers if layer.is_norm and not layer.per_step)
    entering += sum(network.input_elements(layer, batch_size) for layer in norms)
    return masked / entering if entering else 0.0


def step_memory(network: Network, plan: SparsityPlan, batch_size: int) -> Memory:
    """The values that a training step of batch_size samples keeps, dense and under the plan."""
    parameters = sum(each.elements * each.element_bytes for each in network.parameters)
    gradients = sum(each.elements * each.element_bytes for each in network.parameters if each.trains)
    added = plan.added_bytes(network)
    saved = [(each, network.storage_bytes(each.storage, batch_size)) for each in saved_storages(network, plan)]
    sparse = [each for each, _ in saved if each.sparsity]
    return Memory(
        parameters=Cost(parameters, parameters + added),
        gradients=Cost(gradients, gradients - inactive_gradient_bytes(network, plan) + added),
        backward_weights=_backward_weights(network, plan),
        saved_activations=sum((_kept(each, size) for each, size in saved), Cost(0, 0.0)),
        masked=sum(each.masked_copies * size for each, size in saved),
        sparsified=len(sparse),
        also_held=sum(bool(each.operations) for each in sparse),
    )


def saved_by_module(network: Network, plan: SparsityPlan, batch_size: int) -> dict[str, Cost]:
    """The `saved_activations` of `step_memory` by the module that saves each storage first."""
    saved: dict[str, Cost] = defaultdict(Cost)
    for each in saved_storages(network, plan):
        saved[each.held_by] += _kept(each, network.storage_bytes(each.storage, batch_size))
    return dict(saved)


def _kept(saved: SavedStorage, size: int) -> Cost:
    return Cost(size, (1 - saved.sparsity) * size)


def _backward_weights(network: Network, plan: SparsityPlan) -> Cost:
    sizes = [
        (layer.weight_elements * layer.element_bytes, plan.method.sparsity_in("grad_input", each.weight))
        for layer, each in plan.by_weight(network)
        if layer.input_needs_grad or layer.weight_trains
    ]
    return Cost(dense=sum(size for size, _ in sizes), sparse=sum(size * (1 - sparsity) for size, sparsity in sizes))


def inactive_gradient_bytes(network: Network, plan: SparsityPlan) -> float:
    """Gradients of weights [bytes] that the method does not need in a step at the target sparsity."""
    if plan.method.weight_gradient == "all":
        return 0.0
    frozen = plan.method.weight_gradient == "none"
    inactive: float = sum(
        layer.weight_elements
        * network.weight_bytes(layer)
        * (1 if frozen else plan.method.sparsity_in("grad_weight", sparsity.weight))
        for layer, sparsity in plan.by_weight(network)
        if layer.weight_trains
    )
    return inactive
