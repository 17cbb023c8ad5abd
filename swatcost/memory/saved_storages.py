"""The storages that autograd saves for the backward pass, and the layers and operations that save each.

Both accounts of sparse memory use it: the bytes of kept values (`kept_values`) and the bytes of masked dense tensors
and of storage formats (`sparse_step`).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from swatcost.network import Network
from swatcost.sparsity import SparsityPlan


@dataclass(frozen=True)
class SavedStorage:
    """A saved storage and the layers and operations that save it.

    `layers` is the number of conv and linear layers that save it as their input; `sparsities` [-] are their activation
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
        """The fraction of zeros that no layer needs [-]: that of its least sparse layer; 0 if no layer saves it."""
        return min(self.sparsities, default=0.0)

    @property
    def masked_copies(self) -> int:
        """Number of dense tensors of its size that masked training keeps: one masked input per sparse layer.

        The unmasked tensor is kept in addition if a dense layer or another operation saves it.
        """
        masked = sum(sparsity > 0 for sparsity in self.sparsities)
        return masked + (bool(self.operations) or masked < self.layers)


def saved_storages(network: Network, plan: SparsityPlan) -> list[SavedStorage]:
    """Each storage that the network saves once, in the order of saving; not those that only its loss saves.

    A layer does not save its input if it computes no gradient from it, as a frozen layer does not.
    """
    sparsities: dict[int, list[float]] = defaultdict(list)
    counted = (at for at, layer in zip(network.inputs_of_layers, network.layers, strict=True) if not layer.is_norm)
    for storage, (layer, sparsity) in zip(counted, plan.by_layer(network), strict=True):
        if layer.weight_trains or layer.custom_macs[1]:
            sparsities[storage].append(sparsity.activation)
    layers = Counter(tensor.storage for tensor in network.saved_before_loss if tensor.as_layer_input)
    operations: dict[int, list[str]] = defaultdict(list)
    held_by: dict[int, str] = {}
    for tensor in network.saved_before_loss:
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
