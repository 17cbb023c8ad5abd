"""What every tensor of a step was computed from: parameters, buffers and constants only, or the network's inputs."""

from collections.abc import Hashable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

from torch import Tensor

from swatcost.network.layer import Layer
from swatcost.tracing.operations import has_sparse, tensors_of
from swatcost.tracing.own_tensors import OwnTensors
from swatcost.tracing.storages import Storages, address

Names = frozenset[str]

OF_A_LAYER: Names = frozenset({"(a layer's result)"})
"""The origin of what a layer makes of constants: an activation, although no input is behind it."""

# Operations that make a tensor of a given size from nothing, and those that make several copies of a tensor.
_SIZED = ("arange", "empty", "full", "new_", "ones", "rand", "zeros")
_COPYING = ("cat", "repeat", "repeat_interleave", "stack")


class Chosen(NamedTuple):
    """The parameters behind a batch of matrices, and the number of matrices in it."""

    names: Names
    matrices: int


class Origins:
    """The names of the parameters and buffers behind each tensor, and whether it grows with the batch.

    A tensor grows if it is computed from the network's inputs, or made or expanded to the size of the batch.
    """

    def __init__(self, own: OwnTensors, inputs: Iterable[Tensor], storages: Storages, batch_size: int) -> None:
        self._storages = storages
        self._batch_size = batch_size
        self.own = own
        self._own_shapes = {tuple(tensor.shape) for tensor in own.tensors.values()}
        # by a parameter's or buffer's name, or a storage's number; None for what is computed from inputs
        self._names: dict[Hashable, Names | None] = {name: frozenset((name,)) for name in own.tensors}
        self._names |= {storages.number(each): None for each in inputs}
        self._expanded: set[Hashable] = set()  # what grows although no input is behind it
        self._copies: dict[Hashable, int] = {}
        self._chosen: dict[Hashable, Chosen] = {}
        self._values: dict[Hashable, Hashable] = {}
        self._known_values: dict[Hashable, int] = {}

    def grow(self, operands: Sequence[Tensor]) -> bool:
        """Whether any operand of an operation grows with the batch."""
        places = [self.place(each) for each in operands]
        grown = any(each in self._expanded or self._names.get(each, frozenset()) is None for each in places)
        return grown or self._are_expanded(operands)

    def given(self, tensor: Tensor) -> None:
        """Notes a tensor that is an input of the step, as those of the network are."""
        self._names[self.place(tensor)] = None

    def names(self, tensor: Tensor) -> Names:
        """The parameters and buffers that it was computed from; none for a constant or what inputs are behind."""
        return self._names.get(self.place(tensor)) or frozenset()

    def value(self, tensor: Tensor) -> Hashable:
        """A key that is equal for two tensors that were computed from the same operands in the same way."""
        place = self.place(tensor)
        return self._values.get(place, place), tensor.storage_offset(), tuple(tensor.shape), tensor.stride()

    def copies(self, tensor: Tensor) -> int:
        """How often a tensor holds each of its numbers, as keys that were expanded to several heads and copied."""
        return self._copies.get(self.place(tensor), 1)

    def chosen(self, tensor: Tensor) -> Chosen | None:
        """The matrices of which it holds one for each row, as where each token is given the matrix of its expert."""
        return self._chosen.get(self.place(tensor)) if tensor.dim() == 3 else None

    def view(self, operation: str, args: Sequence[Any]) -> None:
        """Records a view. In a batch of one sample only the call itself shows that something is expanded to it."""
        if self._batch_size == 1 and operation == "expand" and len(args[1]) > 1 and 1 in args[1]:
            own = (1,) * (len(args[1]) - args[0].dim()) + tuple(args[0].shape)
            if all(size in (-1, before) for size, before in zip(args[1], own, strict=True)):
                self._expanded.add(self.place(args[0]))

    def track(
        self, operation: str, args: Sequence[Any], operands: Sequence[Tensor], results: Any, layers: Sequence[Layer]
    ) -> None:
        """Records an operation's results, and whether they grow.

        A layer's result is an activation, and so is that of a product, unless it is one of constants. What sparse
        tensors were computed from is not recorded: they are taken to be activations.
        """
        if operation == "set_":  # a parameter that is put into another storage stays itself
            return
        made = tensors_of(results)
        places = [self.place(each) for each in made]
        if operation == "clone" and 0 in (strides := operands[0].stride()):
            shape = zip(operands[0].shape, strides, strict=True)
            self._copies |= dict.fromkeys(places, prod(size for size, stride in shape if not stride))
        if operation == "index" and operands[0].dim() == 3 and len(args[1]) == 1 and self.names(operands[0]):
            chosen = Chosen(self.names(operands[0]), len(operands[0]))
            self._chosen |= dict.fromkeys(places, chosen)
        elif operation == "_to_copy" and (before := self.chosen(operands[0])):
            self._chosen |= dict.fromkeys(places, before)
        behind = [self._names.get(self.place(each), frozenset()) for each in operands]
        grown = None not in behind and (self.grow(operands) or self._reaches_batch(operation, operands, made))
        if None in behind or has_sparse(args) or (grown and any(not each.is_norm for each in layers)):
            self._names |= dict.fromkeys(places)
            return
        (self._expanded.update if grown else self._expanded.difference_update)(places)
        names: Names = frozenset().union(*(each for each in behind if each))
        if names & OF_A_LAYER or any(each.is_weight_layer for each in layers):
            names = OF_A_LAYER
        computed = (operation, tuple(map(self.value, operands)), repr(_without_tensors(args))) if names else None
        for index, place in enumerate(places):
            self._names[place] = names
            if computed is not None:
                number = self._known_values.setdefault((computed, index), len(self._known_values))
                self._values[place] = (operation, number)

    def place(self, tensor: Tensor) -> Hashable:
        """What identifies its storage; a tensor that no operation of the step made is a constant of the module."""
        place: Hashable = self.own.name(tensor)
        if place is None:
            place = self._storages.known(tensor)
        return ("constant", address(tensor)) if place is None else place

    def _are_expanded(self, operands: Sequence[Tensor]) -> bool:
        """Whether an operand is expanded to the size of the batch, in a dimension where no other has that size."""
        whole: set[tuple[int, int]] = set()
        expanded: set[tuple[int, int]] = set()
        for each in operands if self._batch_size > 1 else ():
            for place, (size, stride) in enumerate(zip(each.shape, each.stride(), strict=True), -each.dim()):
                if size > 1 and size % self._batch_size == 0:
                    (whole if stride else expanded).add((place, size))
        return bool(expanded - whole)

    def _reaches_batch(self, operation: str, operands: Sequence[Tensor], made: Sequence[Tensor]) -> bool:
        """Whether it makes tensors of the batch's size from constants; with one sample, of a size that is 1.

        A mask or a start of the same shape as a parameter is made for that one.
        """
        if operation.startswith(_SIZED) and (not operands or operation.startswith("new_")):
            shapes = [tuple(each.shape) for each in made if tuple(each.shape) not in self._own_shapes]
            if self._batch_size == 1:
                return any(1 in shape for shape in shapes)
            return any(size and size % self._batch_size == 0 for shape in shapes for size in shape)
        if operation not in _COPYING or not made:
            return False
        copied = {self.value(each): each.numel() for each in operands}
        copies = made[0].numel() // max(1, sum(copied.values()))
        if self._batch_size == 1:
            return operation == "repeat" and copies == 1
        return copies > 1 and copies % self._batch_size == 0


def _without_tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        return "tensor"
    return [_without_tensors(each) for each in value] if isinstance(value, tuple | list) else value
