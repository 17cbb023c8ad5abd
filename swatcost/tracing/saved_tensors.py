"""The tensors that autograd saves for the backward pass."""

from collections.abc import Set
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from swatcost.network import SavedTensor
from swatcost.network.layer import Layer
from swatcost.tracing.operations import SAVE_THEIR_RESULT, tensors_of
from swatcost.tracing.storages import Storages, address

_NEXT = ""  # the operation that is about to run


class SavedTensors:
    """Every tensor that autograd saves, in order, except parameters and buffers.

    Autograd saves an operation's inputs right before it runs, and its results right after. A tensor that is saved
    between two operations belongs to the first if it is one of its secondary results (statistics, indices, a mask), or
    its main result, saved for the first time, if its gradient is computed from that; otherwise to the second. An
    operation that has no gradient, such as a ReLU behind a frozen layer, saves nothing.
    """

    def __init__(self, own: Set[int], storages: Storages) -> None:
        self._own = own  # the addresses of parameters and buffers
        self._storages = storages
        self._since: list[int] = []  # places in `tensors` filled since the last operation
        self._last: tuple[str, list[int]] = ("", [])
        self._result_saved = False
        self.tensors: list[SavedTensor] = []

    def keep(self, tensor: Tensor, held_by: str) -> None:
        """Records a tensor that is saved while the module `held_by` runs."""
        if tensor.layout != torch.strided or address(tensor) in self._own:
            return
        storage = self._storages.number(tensor)
        last, results = self._last
        is_result = storage in results[1:]
        if storage in results[:1] and last in SAVE_THEIR_RESULT and not self._result_saved:
            is_result = self._result_saved = True
        operation = last if is_result else _NEXT
        self._since.append(len(self.tensors))
        self.tensors.append(SavedTensor(storage=storage, operation=operation, held_by=held_by, as_layer_input=False))

    def claim(self, layer: Layer) -> None:
        """Marks the tensor that autograd has just saved for this layer as the layer's input."""
        for place in reversed(self._since):
            if self.tensors[place].storage == layer.input_storage:
                self.tensors[place] = replace(self.tensors[place], as_layer_input=True)
                return

    def next_operation(self, operation: str, result: Any, *, has_gradient: bool) -> None:
        """An operation has run: tensors saved before it as inputs are its own, later ones are not."""
        for place in self._since:
            if self.tensors[place].operation == _NEXT:
                self.tensors[place] = replace(self.tensors[place], operation=operation)
        self._since.clear()
        self._result_saved = False
        results = [self._storages.number(each) for each in tensors_of(result) if each.numel()]
        self._last = (operation, results if has_gradient else [])

    def all(self) -> tuple[SavedTensor, ...]:
        """The tensors, once the pass is over."""
        self.next_operation("output", (), has_gradient=False)
        return tuple(self.tensors)
