"""When the backward pass accumulates each parameter's gradient."""

from collections.abc import Container, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from swatcost.network import Accumulation
from swatcost.tracing.operations import tensors_of
from swatcost.tracing.storages import Storages


class Accumulations:
    """Observes AccumulateGrad, autograd's node that keeps a leaf's gradient, copies it, or adds it to what is there."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._handles: list[RemovableHandle] = []
        self._found: dict[int, Accumulation] = {}
        self._copies: set[int] = set()

    def observe(self, parameters: Iterable[Tensor]) -> None:
        """To be called before the backward pass, with the network's parameters in order."""
        for place, each in enumerate(parameters):
            if each.requires_grad:
                accumulated = partial(self._accumulated, place)
                self._handles.append(each.register_post_accumulate_grad_hook(accumulated))

    def operation(self, node: Any, result: Any) -> None:
        """To be called after an operation that a node of the backward pass ran."""
        if node.name() == "torch::autograd::AccumulateGrad":
            self._copies |= {self._storages.number(each) for each in tensors_of(result)}

    def of(self, gradients: Container[int]) -> tuple[Accumulation, ...]:
        """What was accumulated in these storages, in order."""
        return tuple(each for each in self._found.values() if each.storage in gradients)

    def forget(self) -> None:
        """Drops what was accumulated in a backward pass that failed."""
        self._found.clear()

    def release(self) -> None:
        """Removes the hooks."""
        for each in self._handles:
            each.remove()

    def _accumulated(self, place: int, parameter: Tensor) -> None:
        gradient = parameter.grad
        if place in self._found or gradient is None or gradient.layout != torch.strided:
            return  # a reentrant checkpoint accumulates a shared parameter's gradient again
        storage = self._storages.number(gradient)
        self._found[place] = Accumulation(
            parameter=place, storage=storage, event=len(self._storages.events), copied=storage in self._copies
        )
