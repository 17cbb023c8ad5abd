"""What autograd keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor

from swatcost.layer import Layer
from swatcost.network import SavedTensor
from swatcost.tracing.storages import Storages, address


class Saved:
    """Every tensor that autograd saves, but for parameters and buffers, in order."""

    def __init__(self, own: Iterable[Tensor], storages: Storages, batch_size: int, batch_tells: bool) -> None:
        self._own = {address(tensor) for tensor in own}
        self._storages = storages
        self._batch_size = batch_size
        self._batch_tells = batch_tells
        self._sizes: dict[int, tuple[int, bool]] = {}
        self._since: list[int] = []  # places in `tensors` filled since the last operation
        self.tensors: list[SavedTensor] = []

    def keep(self, tensor: Tensor, held_by: str) -> None:
        """Notes a tensor that is saved while a module runs."""
        if address(tensor) in self._own:
            return
        storage = self._storages.number(tensor)
        storage_bytes, scales = self._sizes.setdefault(storage, self._size(tensor))
        self._since.append(len(self.tensors))
        self.tensors.append(
            SavedTensor(
                storage=storage,
                storage_bytes=storage_bytes,
                held_by=held_by,
                as_layer_input=False,
                scales_with_batch=scales,
            )
        )

    def claim(self, layer: Layer) -> None:
        """Marks what autograd has just saved for this layer: an operation's inputs are saved right before it runs."""
        for place in reversed(self._since):
            if self.tensors[place].storage == layer.input_storage:
                self.tensors[place] = replace(self.tensors[place], as_layer_input=True)
                return

    def next_operation(self) -> None:
        """An operation has run: what is saved from now on is not among its inputs."""
        self._since.clear()

    def _size(self, tensor: Tensor) -> tuple[int, bool]:
        """The bytes of a tensor's storage, and whether they grow with the batch.

        Where the batch size does not tell, what has one dimension is taken to be a statistic of channels.
        """
        storage_bytes = tensor.untyped_storage().nbytes()
        divides = storage_bytes // tensor.element_size() % self._batch_size == 0
        return storage_bytes, divides and (self._batch_tells or tensor.dim() != 1)
