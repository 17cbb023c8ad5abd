"""The layers that a graph's nodes execute, the tensors that they save, and what is not counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from swatcost.common.printing import printable
from swatcost.importing import onnx_convolutions, onnx_normalisations, onnx_products
from swatcost.importing.onnx_file import REASONS, is_onnx, subgraphs
from swatcost.importing.onnx_inputs import Inputs
from swatcost.importing.onnx_names import layer_name
from swatcost.importing.onnx_readings import READERS, Call, NotReadError, Reading
from swatcost.importing.onnx_saved import saved_of
from swatcost.importing.onnx_walk import VIEWS, Step, Walk
from swatcost.importing.values import Value
from swatcost.network import Layer, SavedTensor, Storage, Uncounted
from swatcost.network.formulas import counted, formula_of
from swatcost.network.layer import PRODUCT_KINDS, WEIGHT_KINDS

FAMILIES = onnx_convolutions, onnx_normalisations, onnx_products  # which register their readers

_MOVES = VIEWS | {
    "BitCast", "Bernoulli", "Cast", "CastLike", "CenterCropPad", "Col2Im", "Compress", "Concat", "ConstantOfShape",
    "DepthToSpace", "EyeLike", "Gather", "GatherElements", "GatherND", "OneHot", "Pad", "RandomNormal",
    "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range", "ReverseSequence", "Scatter", "ScatterElements",
    "ScatterND", "SpaceToDepth", "TensorScatter", "Tile", "Trilu", "Where",
}  # fmt: skip
"""Operations that create, move or read numbers without arithmetic."""

_PRODUCTS = {
    "AffineGrid", "CausalConvWithState", "DFT", "DeformConv", "Det", "FlexAttention", "LinearAttention", "STFT",
}  # fmt: skip
"""Operations of ONNX's own that multiply tensors and have no reader."""


_RECURRENT = {"GRU", "LSTM", "RNN"}


class Layers:
    """The layers, saved tensors and uncounted operations of a walked graph."""

    def __init__(self, walk: Walk, inputs: Inputs, network: str) -> None:
        self._walk = walk
        self._network = network
        self._near = walk.near
        self._given = {each.name for each in inputs.values}
        self._numbers: dict[str, int] = {}
        self._computed: dict[str, int] = {}
        self._uncounted: dict[tuple[str, bool], list[str]] = defaultdict(list)
        self._steps: list[Step] = []  # of each layer
        self.layers: list[Layer] = []
        self.storages: list[Storage] = []
        self.saved: list[SavedTensor] = []
        self.stand_ins: set[str] = set()
        self.unknown_saves: dict[str, None] = {}
        self.embeds_input = False
        self.embeddings: dict[tuple[str, bool], int] = {}
        for each in inputs.values:
            self._storage(each)

    def read(self) -> None:
        """Reads every step. Raises ValueError, which names the node, where one cannot be read."""
        for step in self._walk.steps:
            try:
                self._read(step)
            except REASONS as error:
                node = step.node
                raise ValueError(f"node {node.name or node.output[0]} ({node.op_type}): {error}") from None

    def trained(self, outputs: Sequence[Value]) -> Iterator[Layer]:
        """The layers, with only the gradients that a backward pass from the network's outputs computes.

        Of normalisations none is recorded, as in traces.
        """
        reached = {each.name for each in outputs if self._walk.needs_grad(each)}
        reached |= {name for node in self._walk.skipped for name in _read_by(node)}
        for step in reversed(self._walk.steps):
            if any(each.name in reached for each in step.outputs):
                reached |= {each.name for each in step.inputs if each is not None}
        for layer, step in zip(self.layers, self._steps, strict=True):
            if not layer.is_norm and any(each.name in reached for each in step.outputs):
                yield layer
            else:
                yield replace(layer, input_needs_grad=False, weight_trains=False, custom_macs=(layer.custom_macs[0], 0))

    def uncounted(self) -> Iterator[Uncounted]:
        """The operations without a reader that do arithmetic, and the graphs that were skipped."""
        for node in self._walk.skipped:
            products = any(_multiplies(each) for graph in subgraphs(node) for each in graph.node)
            self._uncounted[node.op_type, products].append(layer_name(node, "", self._network))
        for (operation, products), places in self._uncounted.items():
            yield Uncounted(
                operation=operation, products=products, calls=len(places), places=tuple(dict.fromkeys(places))
            )

    def _read(self, step: Step) -> None:
        node = step.node
        reader = READERS.get(node.op_type) if is_onnx(node) else None
        if reader is None:
            return self._other(step)
        needs_grad = self._walk.needs_grad
        inputs = [each and replace(each, needs_grad=needs_grad(each)) for each in step.inputs]
        try:
            readings = list(reader(Call(node, inputs, step.outputs, self._near)))
        except NotReadError:
            self._miss(node, products=True)
            return None
        per_step = not any(each is not None and each.grows for each in step.inputs)
        for reading in readings:
            if not reading.is_empty:
                self._add(reading, step, per_step)
        return None

    def _add(self, reading: Reading, step: Step, per_step: bool) -> None:
        input, weight, walk = reading.input, reading.weight, self._walk
        named = self._weight_parameter(weight) if weight is not None and reading.kind not in PRODUCT_KINDS else ""
        name = layer_name(step.node, named, self._network)
        is_product = reading.kind in PRODUCT_KINDS
        behind = () if is_product else (weight, *reading.others)
        parameters = dict.fromkeys(name for each in behind if each is not None for name in each.weights)
        layer = Layer(
            name=name,
            kind=reading.kind,
            input_shape=input.known_shape,
            output_shape=reading.output_shape,
            weight_shape=() if weight is None else weight.known_shape,
            stride=reading.stride,
            padding=reading.padding,
            dilation=reading.dilation,
            groups=reading.groups,
            parameters=tuple(map(printable, parameters)),
            weight="" if is_product or weight is None else self._weight_name(weight, name),
            element_bytes=input.element_bytes,
            input_needs_grad=walk.needs_grad(input),
            weight_trains=weight is not None and walk.needs_grad(weight),
            input_storage=self._storage(input),
            per_step=per_step,
            custom_macs=reading.custom_macs,
            attention=reading.attention,
        )
        self.layers.append(layer)
        self._steps.append(step)
        self.stand_ins |= {name for each in reading.stand_ins for name in each.weights}
        self._saved_by(layer, reading, step)

    def _saved_by(self, layer: Layer, reading: Reading, step: Step) -> None:
        """What a layer keeps: its input, a product's operands, a normalisation's input and statistics."""
        operation = step.node.op_type
        if operation in _RECURRENT:  # its gates, step by step
            self.unknown_saves[operation] = None
        if layer.kind in WEIGHT_KINDS:
            if layer.weight_trains:
                self._save(reading.input, operation, layer.name, as_layer_input=True)
        elif layer.is_product:
            right = reading.weight
            if layer.weight_trains or layer.custom_macs[1]:
                self._save(reading.input, operation, layer.name)
            if right is not None and (layer.input_needs_grad or layer.custom_macs[1]):
                self._save(right, operation, layer.name)
        elif layer.input_needs_grad or layer.weight_trains:
            self._save(reading.input, operation, layer.name)
            size = layer.element_bytes
            self._save_new(
                reading.statistics * size, operation, layer.name, scales=layer.kind != "batch_norm", float_bytes=size
            )

    def _other(self, step: Step) -> None:
        """A node that is not a layer: what it saves, and whether it does arithmetic that is not counted."""
        node, outputs = step.node, step.outputs
        self._look_up(step)
        if self._by_formula(step):
            return
        own = is_onnx(node)
        computes = any(each.dtype and each.is_float for each in outputs) and any(
            each.grows or each.weights for each in outputs
        )
        if not own or node.op_type in _PRODUCTS:
            self._miss(node, products=True)
        elif computes and node.op_type not in _MOVES:
            self._miss(node, products=False)
        if not any(map(self._walk.needs_grad, outputs)):
            return
        saves = saved_of(step) if own else None
        if saves is None:
            self.unknown_saves[_operation(node)] = None
            return
        place = layer_name(node, "", self._network)
        for each in saves:
            if isinstance(each, Value):
                self._save(each, node.op_type, place)
            else:
                floats = outputs[0].element_bytes if node.op_type == "Dropout" else 0
                self._save_new(each, node.op_type, place, scales=outputs[0].grows, float_bytes=floats)

    def _look_up(self, step: Step) -> None:
        """Records that rows of a table are looked up, if it is a parameter or made of one."""
        if step.node.op_type != "Gather" or len(step.inputs) < 2:
            return
        table, indices = step.inputs[0], step.inputs[1]
        if table is None or indices is None or not table.is_weight or not self._walk.trains(table):
            return
        if (
            len(table.known_shape) != 2
            or not indices.known_shape
            or step.outputs[0].known_shape[-1:] != table.known_shape[1:]
        ):
            return
        self.embeds_input |= not any(each.is_weight_layer for each in self.layers)
        for name in table.weights:
            key = name, (indices.origin or indices.name) in self._given
            self.embeddings[key] = self.embeddings.get(key, 0) + indices.elements

    def _by_formula(self, step: Step) -> bool:
        """Counts a node by a user's formula, if there is one for its operation."""
        node = step.node
        function = None if is_onnx(node) and node.op_type not in _PRODUCTS else formula_of(_operation(node))
        tensors = [each for each in step.inputs if each is not None]
        if function is None or not tensors:
            return False
        shapes = tuple(None if each is None else each.known_shape for each in step.inputs)
        results = tuple(each.known_shape for each in step.outputs)
        call = Call(node, step.inputs, step.outputs, self._near)
        named: dict[str, Any] = {each.name: call.attribute(each.name) for each in node.attribute}
        named["out_shape"] = results[0] if len(results) == 1 else results
        forward, *gradients = counted(_operation(node), function, shapes, named, len(tensors))
        wanted = sum(macs for macs, each in zip(gradients, tensors, strict=True) if self._walk.needs_grad(each))
        reading = Reading(kind="custom", input=tensors[0], output_shape=results[0], custom_macs=(forward, wanted))
        if not reading.is_empty:
            self._add(reading, step, not any(each.grows for each in tensors))
        return True

    def _miss(self, node: Any, *, products: bool) -> None:
        self._uncounted[_operation(node), products].append(layer_name(node, "", self._network))

    def _weight_parameter(self, weight: Value) -> str:
        """The parameter that a weight is; empty if it is computed from several, or is a part of one."""
        sizes = {name: Value(name, self._walk.initializers[name].shape, 1).elements for name in weight.weights}
        same = [name for name, size in sizes.items() if size == weight.elements]
        return same[0] if len(same) == 1 else ""

    def _weight_name(self, weight: Value, layer: str) -> str:
        """The weight's name, as in Layer."""
        name = self._weight_parameter(weight)
        if name:
            return printable(name)
        if weight.part is not None and len(weight.weights) == 1:
            start, end = weight.part
            return f"{printable(weight.weights[0])}[{start}:{end}]"
        number = self._computed.setdefault(weight.name, len(self._computed) + 1)
        return f"(computed in {layer}, {number})"

    def _storage(self, value: Value) -> int:
        """The number of the storage that holds a tensor."""
        origin = value.origin or value.name
        if origin not in self._numbers:
            held = self._walk.values.get(origin, value)
            self._numbers[origin] = len(self.storages)
            floats = held.element_bytes if held.is_float else 0
            self.storages.append(Storage(bytes=held.bytes, scales_with_batch=held.grows, float_bytes=floats))
        return self._numbers[origin]

    def _save(self, value: Value, operation: str, place: str, *, as_layer_input: bool = False) -> None:
        if value.is_weight:  # which is there anyway
            return
        self.saved.append(
            SavedTensor(storage=self._storage(value), operation=operation, held_by=place, as_layer_input=as_layer_input)
        )

    def _save_new(self, size: int, operation: str, place: str, *, scales: bool, float_bytes: int) -> None:
        """Records a tensor that is made to be saved."""
        self.storages.append(Storage(bytes=size, scales_with_batch=scales, float_bytes=float_bytes))
        number = len(self.storages) - 1
        self.saved.append(SavedTensor(storage=number, operation=operation, held_by=place, as_layer_input=False))


def _operation(node: Any) -> str:
    """An operation's name as listed: prefixed with its library, unless that is ONNX itself."""
    return printable(node.op_type if is_onnx(node) else f"{node.domain}.{node.op_type}")


def _read_by(node: Any) -> Iterator[str]:
    """The tensors that a node reads, or a node in one of its own graphs."""
    yield from node.input
    for graph in subgraphs(node):
        for each in graph.node:
            yield from _read_by(each)


def _multiplies(node: Any) -> bool:
    """Whether a node in a graph that is not followed multiplies tensors, or may."""
    inner: Iterable[Any] = (each for graph in subgraphs(node) for each in graph.node)
    return not is_onnx(node) or node.op_type in READERS.keys() | _PRODUCTS or any(map(_multiplies, inner))
