"""Which gradients the backward pass computes, read off autograd's graph without running it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

Node = Any  # torch.autograd.graph.Node; a custom function's node is not an instance of it


class AutogradGraph:
    """The nodes that autograd created for recorded operations, and which of them a loss reaches.

    An operation's node is created only after the operation has run: until then its result is kept.

    A node that Python has seen frees the nodes behind it recursively, which overflows the C stack in a deep network.
    So these nodes are kept until the step is over, and `release` frees them.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[int, Tensor]] = []
        self._nodes: dict[int, Node] = {}
        self._custom: dict[Node, str] = {}
        self._latest: Node | None = None  # of the modules' results
        self._seen: set[Node] = set()

    def await_node(self, place: int, result: Tensor) -> None:
        """Keeps the result of the recorded operation number `place` until its node exists."""
        self._pending.append((place, result))

    def settle(self) -> None:
        """Records the nodes that autograd has created for pending operations."""
        if self._pending:
            self._nodes |= {place: result.grad_fn for place, result in self._pending if result.grad_fn is not None}
            self._pending = [each for each in self._pending if each[0] not in self._nodes]

    def left(self, name: str, result: Any) -> None:
        """Records the module whose result a custom autograd function computed."""
        node = result.grad_fn if isinstance(result, Tensor) else None
        if node is not None:
            self._latest = node
        if isinstance(node, BackwardCFunction):
            self._custom.setdefault(node, name)

    def reached(self, outputs: Any) -> tuple[set[int], dict[str, list[str]]]:
        """The recorded operations that a loss over all outputs reaches, and the modules of each custom function."""
        self.settle()
        seen = self._seen = _behind(tensor.grad_fn for tensor in _tensors(outputs))
        known = set(self._nodes.values())
        custom: dict[str, list[str]] = {}
        for node in seen:
            if isinstance(node, BackwardCFunction) and node not in known:
                custom.setdefault(type(node).__name__, []).append(self._custom.get(node, ""))
        return {operation for operation, node in self._nodes.items() if node in seen}, custom

    def release(self) -> None:
        """Frees the nodes, each before those behind it; to be called when nothing else holds the step's tensors."""
        self.settle()
        nodes = [*(self._seen | _behind([*self._nodes.values(), *self._custom, self._latest]))]
        nodes.sort(key=lambda node: node._sequence_nr())  # counts up as nodes are created
        for held in (self._pending, self._nodes, self._custom, self._seen):
            held.clear()
        self._latest = None
        while nodes:
            nodes.pop()


def _behind(nodes: Iterable[Node | None]) -> set[Node]:
    """These nodes and all that they pass gradients to."""
    waiting = [node for node in nodes if node is not None]
    seen = set(waiting)
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in seen:
                seen.add(node)
                waiting.append(node)
    return seen


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
