"""Which gradients the backward pass computes, read off autograd's graph without running it."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from swatcost.tracing.arguments import tensors_in

Node = Any  # torch.autograd.graph.Node; a custom function's node is not an instance of it


class AutogradGraph:
    """The nodes that autograd created for recorded operations, and which of them a loss reaches.

    Nodes are known by their sequence numbers, which count up as autograd creates them, an operation's before the
    operation runs. A node that was kept would keep the tensors that it saves, and one that Python has seen frees the
    nodes behind it recursively, which overflows the C stack in a deep network: so the graph is looked at only when the
    forward pass is over, and `release` frees what was seen.
    """

    def __init__(self) -> None:
        self._since, self._latest = 0, -1
        self._created: dict[int, tuple[range, str]] = {}  # when a recorded operation began: nodes since, and its name
        self._nodes: dict[int, int] = {}  # of recorded operations
        self._known: set[int] = set()
        self._fixed: set[int] = set()
        self._modules: list[tuple[int, int, str]] = []
        self._seen: set[Node] = set()

    @staticmethod
    def created() -> int:
        """The number of nodes that autograd has created."""
        return int(torch._C._autograd._get_sequence_nr())

    def operation_begins(self) -> None:
        """To be called before each operation: if it has gradients, its node is one of those created since the last."""
        latest = self.created() - 1
        if latest != self._latest:
            self._since, self._latest = self._latest + 1, latest

    def operation_ended(self, result: Tensor) -> None:
        """In place of `operation_begins`, for an operation that is over."""
        if result.grad_fn is not None:
            self._since = self._latest = number_of(result.grad_fn)

    def has_node(self, place: int, operation: str) -> None:
        """The recorded operation number `place` is the running one, and has gradients."""
        self._created[place] = range(min(self._since, self._latest), self._latest + 1), operation

    def forget(self, since: int) -> None:
        """Forgets the nodes of the recorded operations from number `since` on."""
        self._created = {place: nodes for place, nodes in self._created.items() if place < since}

    def fixed(self) -> None:
        """The running operation's result, and so the work of its node, does not grow with the batch."""
        self._fixed.add(self._latest)

    def left(self, name: str, began: int) -> None:
        """A module that began when autograd had created so many nodes has returned."""
        self._modules.append((began, self.created(), name))

    def knows(self, node: Node) -> bool:
        """Whether the node computes the gradients of a recorded operation."""
        return number_of(node) in self._known

    def is_fixed(self, node: Node) -> bool:
        """Whether the node's work does not grow with the batch."""
        return number_of(node) in self._fixed

    def reached(self, outputs: Any) -> tuple[set[int], dict[Node, str]]:
        """The recorded operations that a loss over all outputs reaches, and the custom functions with their modules."""
        self._seen = behind(tensor.grad_fn for tensor in tensors_in(outputs))
        numbered = {number_of(node): node for node in self._seen}
        self._nodes = {
            place: _node_of(operation, nodes, numbered) for place, (nodes, operation) in self._created.items()
        }
        self._known = set(self._nodes.values()) & set(numbered)  # a graph of a custom function's own is run by that
        functions = [node for node in self._seen if isinstance(node, BackwardCFunction) and not self.knows(node)]
        custom = {node: self._module_of(number_of(node)) for node in functions}
        return {operation for operation, number in self._nodes.items() if number in numbered}, custom

    def leaves(self) -> list[Tensor]:
        """The tensors whose gradients the backward pass accumulates."""
        return [node.variable for node in self._seen if hasattr(node, "variable")]

    def _module_of(self, number: int) -> str:
        """The innermost module that ran when autograd created the node."""
        return next((name for began, ended, name in self._modules if began <= number < ended), "")

    def release(self) -> None:
        """Frees the nodes that were seen, each before those behind it, when nothing else holds the step's tensors."""
        nodes = sorted(self._seen, key=number_of)
        self._seen.clear()
        while nodes:
            nodes.pop()


def number_of(node: Node) -> int:
    """The node's sequence number, unique among the nodes that a forward pass creates.

    Older versions of torch do not tell that of a custom function, which is an object of Python's: its own then serves.
    """
    try:
        return int(node._sequence_nr())
    except (AttributeError, RuntimeError):
        return -id(node)


_OF_VIEWS = (
    "Alias", "AsStrided", "CopySlices", "Diagonal", "Expand", "Permute", "Select", "Slice", "Split", "Squeeze", "T",
    "Transpose", "Unbind", "Unsqueeze", "View",
)  # fmt: skip


def _node_of(operation: str, created: range, numbered: Mapping[int, Node]) -> int:
    """The number of an operation's node, of those created for it and, by name, of those that a loss reaches.

    There are others where a view was changed in place: autograd gives the view's base and its other views new nodes.
    """
    called = {number: numbered[number].name().rpartition("::")[2] for number in created if number in numbered}
    names = {number: name.partition("Backward")[0] for number, name in called.items()}
    own = [number for number, name in names.items() if name.lower() == operation.replace("_", "").lower()]
    others = [number for number, name in names.items() if name not in _OF_VIEWS]
    unreached = [number for number in created if number not in names]
    return next(iter((*own, *reversed(others), *unreached)), created[-1])


def behind(nodes: Iterable[Node | None]) -> set[Node]:
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
    return [each for each in tensors_in(result) if each.requires_grad and each.grad_fn is not None]
