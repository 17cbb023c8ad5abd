"""What the operations of one executed training step take: each is timed, and found again as a layer of the trace."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, Literal, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from swatcost.network import Layer, Network
from swatcost.network.formulas import formula_of
from swatcost.timing.streams import kind_of
from swatcost.tracing.autograd_graph import AutogradGraph, number_of
from swatcost.tracing.operations import is_composite, listed_name, may_multiply_tensors, name_of, tensors_of

InPass = Literal["forward", "backward"]
MASKING = "masking"
OTHER_PRODUCTS = "other products"
OWN_PRODUCT = "swatcost product"
_ALLOCATE = ("empty", "new_empty")  # which a trace's movements leave out too
_BATCH_LAST = "batch normalisation"  # a function of the reference's own beside sparse kernels, recorded as a whole
_NO_WORK = ("_local_scalar_dense", "set_")  # reading a number, such as a threshold, and naming memory
_TWO_PRODUCTS = "scaled_dot_product"  # in the names of fused attention, which the trace reads as two products


class PartKey(NamedTuple):
    """A part of a step: the place of a counted layer, or None; its kind; and the pass."""

    layer: int | None
    kind: str
    in_pass: InPass


class Call(NamedTuple):
    """One executed operation and its time [s].

    `node` is the number of its node in autograd's graph: in the forward pass the one that was made for it, in the
    backward pass the one that it runs for. `elements` are those of its result. `graded` says that autograd was
    recording, which it does not while the reference masks an operand.
    """

    operation: str
    in_pass: InPass
    seconds: float
    multiplies: bool
    node: int | None
    elements: int
    graded: bool


class StepObserver(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Times every operation below autograd, forward and backward, as a trace sees them.

    torch's profiler would time them too, but does not say which layer of a trace an operation is. The clock runs while
    torch executes an operation, and not while it is noted here. `backward_begins` is to be called between the passes.
    A product that it is told of is one operation, whatever torch does for it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self._in_pass: InPass = "forward"
        self._within_product = False

    def backward_begins(self) -> None:
        """The backward pass follows."""
        self._in_pass = "backward"

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._within_product:
            return func(*args, **kwargs)
        if is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        made = AutogradGraph.created() - 1
        began = time.perf_counter()
        result = func(*args, **kwargs)
        seconds = time.perf_counter() - began
        if not func.is_view and not name_of(func).startswith((*_ALLOCATE, *_NO_WORK)):
            self.calls.append(self._call(func, args, result, seconds, made))
        return result

    @contextmanager
    def product(self, elements: int) -> Iterator[None]:
        """A product of a layer on the program's own kernels, with all that it takes."""
        made, self._within_product = AutogradGraph.created() - 1, True
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds, self._within_product = time.perf_counter() - began, False
        node = self._node(made)
        self.calls.append(Call(OWN_PRODUCT, self._in_pass, seconds, True, node, elements, torch.is_grad_enabled()))

    def _call(self, func: Any, args: tuple[Any, ...], result: Any, seconds: float, made: int) -> Call:
        name = name_of(func)
        return Call(
            operation=name,
            in_pass=self._in_pass,
            seconds=seconds,
            multiplies=may_multiply_tensors(listed_name(name, args)) or formula_of(name) is not None,
            node=self._node(made),
            elements=sum(each.numel() for each in tensors_of(result)[:1]),
            graded=torch.is_grad_enabled(),
        )

    def _node(self, made: int) -> int | None:
        """The number of the node that was made last, or that runs in the backward pass."""
        if self._in_pass == "forward":
            return made
        node = torch._C._current_autograd_node()
        return None if node is None else number_of(node)


def by_part(calls: Sequence[Call], network: Network, batch_size: int, kinds: Sequence[str]) -> dict[PartKey, float]:
    """The time of each part of a step [s]; `kinds` are those of the counted layers.

    A product in the forward pass is the next layer of the trace whose output is as large; in the backward pass it
    belongs to the layer whose node runs. What runs before a product while autograd does not record is the masking of
    its operands. Layers without a product found are left out.
    """
    places = _places([each for each in calls if each.in_pass == "forward"], network, batch_size)
    of_node: dict[int | None, tuple[int, ...]] = {}
    for place, found in places.items():
        of_node.setdefault(calls[place].node, found)
    seconds: dict[PartKey, float] = defaultdict(float)
    masking = 0.0
    for number, call in enumerate(calls):
        forward = call.in_pass == "forward"
        layers = places.get(number, ()) if forward else of_node.get(call.node, ()) if call.multiplies else ()
        if forward and not call.graded and not call.multiplies and kind_of(call.operation) != _BATCH_LAST:
            masking += call.seconds
        elif layers:
            for layer, share in _shares(layers, network):
                seconds[PartKey(layer, kinds[layer], call.in_pass)] += share * call.seconds
            if masking:
                seconds[PartKey(layers[0], MASKING, "forward")] += masking
                masking = 0.0
        else:
            kind = OTHER_PRODUCTS if call.multiplies else kind_of(call.operation)
            seconds[PartKey(None, kind, call.in_pass)] += call.seconds
    if masking:
        seconds[PartKey(None, "elementwise", "forward")] += masking
    return dict(seconds)


def _places(calls: Sequence[Call], network: Network, batch_size: int) -> Mapping[int, tuple[int, ...]]:
    """The layers that each product of the forward pass is, by the product's place among the calls."""
    layers, following = network.counted_layers, 0
    found: dict[int, tuple[int, ...]] = {}
    sizes = [_elements(each, network, batch_size) for each in layers]
    for number, call in enumerate(calls):
        taken = 2 if _TWO_PRODUCTS in call.operation else 1
        last = following + taken - 1
        if call.multiplies and last < len(layers) and round(sizes[last]) == call.elements:
            found[number] = tuple(range(following, last + 1))
            following = last + 1
    return found


def _elements(layer: Layer, network: Network, batch_size: int) -> float:
    """The elements of a layer's output in a step of `batch_size` samples."""
    return prod(layer.output_shape) * batch_size / network.samples_of(layer, batch_size)


def _shares(layers: Sequence[int], network: Network) -> Iterator[tuple[int, float]]:
    """The share of each layer in the time of one operation, by its MACs."""
    macs = [network.counted_layers[each].forward_macs for each in layers]
    total = sum(macs)
    yield from ((each, own / total if total else 1 / len(layers)) for each, own in zip(layers, macs, strict=True))
