"""The storages that autograd saves for the backward pass, and what keeps each: layers, as their input, and operations.

Both accounts of sparse memory rest on it: the values that sparsity leaves (`kept_values`) and the bytes of masked dense
tensors and of storage formats (`sparse_step`).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from swatcost.network import Network
from swatcost.sparsity import SparsityPlan


@dataclass(frozen=True)
class SavedStorage:
    """A saved storage and what keeps it.

    `layers` counts the conv and linear layers that save it as their input; `sparsities` [-] are their activation
    sparsities, and 0 for a product of activations that needs it. `operations` are all others that save it, in order.
    `held_by` is the qualified name of the module that saves it first.
    """

    storage: int
    layers: int
    sparsities: tuple[float, ...]
    operations: tuple[str, ...]
    held_by: str

    @property
    def sparsity(self) -> float:
        """The zeros that all its layers can spare [-]: those of the least sparse one; 0 if no layer keeps it."""
        return min(self.sparsities, default=0.0)

    @property
    def masked_copies(self) -> int:
        """Dense tensors of its size that masked training keeps: the masked input of each sparse layer, and itself.

        It stays itself where a dense layer or another operation keeps it.
        """
        masked = sum(sparsity > 0 for sparsity in self.sparsities)
        return masked + (bool(self.operations) or masked < self.layers)


def saved_storages(network: Network, plan: SparsityPlan) -> list[SavedStorage]:
    """Each saved storage once, in the order of saving.

    A layer that reads a storage does not keep it if it computes no gradient from it: a frozen layer saves no input.
    """
    sparsities: dict[int, list[float]] = defaultdict(list)
    for layer, sparsity in plan.by_layer(network):
        if layer.weight_trains or layer.custom_macs[1]:
            sparsities[layer.input_storage].append(sparsity.activation)
    layers = Counter(tensor.storage for tensor in network.saved if tensor.as_layer_input)
    operations: dict[int, list[str]] = defaultdict(list)
    held_by: dict[int, str] = {}
    for tensor in network.saved:
        held_by.setdefault(tensor.storage, tensor.held_by)
        operations[tensor.storage] += [] if tensor.as_layer_input else [tensor.operation]
    return [
        SavedStorage(
            storage=storage,
            held_by=held_by[storage],
            layers=layers[storage],
            sparsities=tuple(sparsities[storage] if layers[storage] else ()),
            operations=tuple(others),
        )
        for storage, others in operations.items()
    ]
