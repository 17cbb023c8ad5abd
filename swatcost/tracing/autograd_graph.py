"""Which gradients the backward pass computes, read off autograd's graph without running it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

Node = Any  # torch.autograd.graph.Node; a custom function's node is not an instance of it


class AutogradGraph:
    """The nodes that autograd created for recorded operations, and which of them a loss reaches.

    An operation's node is created only after the operation has run: until then its result is kept. Nodes are known by
    their sequence numbers, which are unique: a node that was kept would keep the tensors that it saves.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[int, Tensor]] = []
        self._nodes: dict[int, int] = {}
        self._known: set[int] = set()
        self._custom: dict[int, str] = {}
        self._just_fixed: list[Tensor] = []
        self._fixed: set[int] = set()

    def await_node(self, place: int, result: Tensor) -> None:
        """Keeps the result of the recorded operation number `place` until its node exists."""
        self._pending.append((place, result))

    def fixed(self, result: Tensor) -> None:
        """Notes that an operation's result, and so the work of its node, does not grow with the batch."""
        self._just_fixed.append(result)

    def forget(self, since: int) -> None:
        """No longer awaits nodes of the recorded operations from number `since` on."""
        self._pending = [each for each in self._pending if each[0] < since]

    def settle(self) -> None:
        """Records the nodes that autograd has created for pending operations."""
        if self._just_fixed:
            self._fixed |= {number_of(each.grad_fn) for each in self._just_fixed if each.grad_fn is not None}
            self._just_fixed.clear()
        if self._pending:
            nodes = {place: result.grad_fn for place, result in self._pending}
            self._nodes |= {place: number_of(node) for place, node in nodes.items() if node is not None}
            self._pending = [each for each in self._pending if each[0] not in self._nodes]

    def left(self, name: str, result: Any) -> None:
        """Records the module whose result a custom autograd function computed."""
        node = result.grad_fn if isinstance(result, Tensor) else None
        if isinstance(node, BackwardCFunction):
            self._custom.setdefault(number_of(node), name)

    def knows(self, node: Node) -> bool:
        """Whether the node computes the gradients of a recorded operation."""
        return number_of(node) in self._known

    def is_fixed(self, node: Node) -> bool:
        """Whether the node's work does not grow with the batch."""
        return number_of(node) in self._fixed

    def reached(self, outputs: Any) -> tuple[set[int], dict[Node, str]]:
        """The recorded operations that a loss over all outputs reaches, and the custom functions with their modules."""
        self.settle()
        waiting = [tensor.grad_fn for tensor in _tensors(outputs) if tensor.grad_fn is not None]
        seen = set(waiting)
        while waiting:
            for node, _ in waiting.pop().next_functions:
                if node is not None and node not in seen:
                    seen.add(node)
                    waiting.append(node)
        self._known = set(self._nodes.values())
        numbers = {number_of(node) for node in seen}
        functions = [node for node in seen if isinstance(node, BackwardCFunction) and not self.knows(node)]
        custom = {node: self._custom.get(number_of(node), "") for node in functions}
        return {operation for operation, number in self._nodes.items() if number in numbers}, custom


def number_of(node: Node) -> int:
    """The node's sequence number, unique among the nodes that a forward pass creates."""
    return int(node._sequence_nr())


def differentiable(result: Any) -> list[Tensor]:
    """The tensors of a result that a loss can be computed from, each once."""
    found = {id(each): each for each in _tensors(result) if each.requires_grad and each.grad_fn is not None}
    return list(found.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a result, in nested containers and objects too."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, Tensor):
            yield each
        elif id(each) not in seen and not isinstance(each, str | bytes | int | float | torch.nn.Module | type):
            seen.add(id(each))
            if isinstance(each, Mapping):
                waiting += [*each.keys(), *each.values()]
            elif isinstance(each, Collection):
                waiting += each
            else:
                slots = [slot for kind in type(each).__mro__ for slot in _slots(kind)]
                waiting += [*getattr(each, "__dict__", {}).values(), *(getattr(each, slot, None) for slot in slots)]


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
