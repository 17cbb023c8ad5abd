"""Follows an ONNX graph node by node: shapes, weights, and what depends on the network's inputs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import first_line
from swatcost.importing.onnx_file import (
    MOST_NODES,
    REASONS,
    Initializer,
    OnnxFile,
    checked_shape,
    initializer_of,
    is_onnx,
    subgraphs,
)
from swatcost.importing.onnx_readings import READERS, Neighbours
from swatcost.importing.onnx_shapes import Shapes, attribute
from swatcost.importing.values import Value

if TYPE_CHECKING:
    import onnx

VIEWS = {"Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
_IN_ORDER = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}  # which keep the order of elements
_OF_FIRST = VIEWS | {
    "Cast", "CastLike", "DequantizeLinear", "Gather", "GatherElements", "GatherND", "Pad", "QuantizeLinear", "Tile",
}  # fmt: skip
"""Operations whose result consists of the numbers of their first input; the others say where, or in what form."""

_WITHOUT_GRADIENT = {
    "ArgMax", "ArgMin", "Bernoulli", "EyeLike", "Hardmax", "Multinomial", "RandomNormalLike", "RandomUniformLike",
    "Shape", "Size",
}  # fmt: skip
_CONTROL_FLOW = {"If", "Loop", "Scan", "SequenceMap"}
_OF_EXPORTER = re.compile(r"val_\d+")

# Inputs that are not trained: running statistics, quantisation, sizes and bounds. Of others every one may be a weight.
_NOT_TRAINED = {
    "BatchNormalization": {3, 4}, "Clip": {1, 2}, "DequantizeLinear": {1, 2}, "Dropout": {1}, "OneHot": {2},
    "Pad": {2}, "QLinearConv": {1, 2, 4, 5, 6, 7}, "QLinearMatMul": {1, 2, 4, 5, 6, 7}, "QuantizeLinear": {1, 2},
    "Range": {0, 1, 2}, "Resize": {1, 2}, "Upsample": {1},
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One node that runs, with the tensors that it reads and returns."""

    node: onnx.NodeProto
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]


@dataclass
class Walk:
    """The nodes of a graph in execution order, and what is known of its tensors.

    `trained` names the initializers that are assumed to train, `statistics` the running statistics of normalisations,
    and `skipped` the nodes whose own graphs are not followed, since what they do depends on values.
    """

    file: OnnxFile
    batch_size: int
    batch_is_identifiable: bool
    symbols: Mapping[str, int]
    values: dict[str, Value] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    initializers: dict[str, Initializer] = field(default_factory=dict)
    trained: set[str] = field(default_factory=set)
    statistics: dict[str, None] = field(default_factory=dict)
    skipped: list[onnx.NodeProto] = field(default_factory=list)

    def follow(self, inputs: Iterable[Value]) -> None:
        """Follows the whole graph from its inputs. Raises ValueError, which names the node, where it cannot."""
        graph = self.file.graph
        self._shapes = Shapes(self.file.opsets, self.file.ir_version, self.symbols)
        self.initializers = dict(self.file.initializers)
        self._find_trained(graph.node)
        for each in self.initializers.values():
            self._add_initializer(each)
        for value in inputs:
            self.values[value.name] = value
        self._follow(graph)

    @property
    def near(self) -> Neighbours:
        """Which node returned each tensor, and which read it."""
        readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for step in self.steps:
            for name in step.node.input:
                readers[name].append(step.node)
        made_by = {name: step.node for step in self.steps for name in step.node.output}
        return Neighbours(made_by, readers, self.values)

    def trains(self, value: Value) -> bool:
        """Whether a gradient of a weight is computed."""
        return value.is_float and any(name in self.trained for name in value.weights)

    def needs_grad(self, value: Value) -> bool:
        """Whether the backward pass computes this tensor's gradient."""
        return value.needs_grad or self.trains(value)

    def _find_trained(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Every named tensor of floating-point numbers that has a dimension and is read where a weight may be."""
        for node in nodes:
            fixed = _NOT_TRAINED.get(node.op_type, ())
            for place, name in enumerate(node.input):
                found = self.initializers.get(name)
                if found is None:
                    continue
                if node.op_type == "BatchNormalization" and place in fixed:
                    self.statistics[name] = None
                elif place not in fixed and _may_train(found):
                    self.trained.add(name)
            for graph in subgraphs(node):
                self._find_trained(graph.node)

    def _add_initializer(self, each: Initializer) -> None:
        self.values[each.name] = Value(each.name, each.shape, each.dtype, each.data, (each.name,), origin=each.name)

    def _follow(self, graph: onnx.GraphProto) -> None:
        declared = {each.name: each.type for each in (*graph.value_info, *graph.output)}
        for node in graph.node:
            if len(self.steps) > MOST_NODES:
                raise ValueError(f"it has more than {MOST_NODES:,} nodes")
            try:
                self._run(node, declared)
            except REASONS as error:
                if node.op_type == "If" and str(error).startswith("node "):
                    raise
                raise ValueError(f"node {node.name or node.output[0]} ({node.op_type}): {first_line(error)}") from None

    def _run(self, node: onnx.NodeProto, declared: Mapping[str, Any]) -> None:
        if node.op_type == "Constant" and is_onnx(node):
            return self._constant(node)
        inputs = tuple(self.values[name] if name else None for name in node.input)
        if node.op_type in _CONTROL_FLOW and is_onnx(node):
            return self._branch(node, inputs, declared)
        self._promote(node, inputs)
        found = self._shapes.outputs(node, inputs, declared)
        outputs = tuple(self._derived(node, inputs, place, value) for place, value in enumerate(found))
        self.values |= {value.name: value for value in outputs if value.name}
        self.steps.append(Step(node, inputs, outputs))
        return None

    def _constant(self, node: onnx.NodeProto) -> None:
        """A node that holds a tensor. It is a weight only if a layer uses it as one."""
        import numpy
        from onnx import helper, numpy_helper

        name = node.output[0]
        given = attribute(node, "value", None)
        if given is None:
            held: Any = next((helper.get_attribute_value(each) for each in node.attribute), 0)
            if node.attribute[0].name == "sparse_value":
                found = Initializer(name, checked_shape(held.dims, name), held.values.data_type, is_named=False)
                self.initializers[name] = found
                return self._add_initializer(found)
            if isinstance(held, bytes) or (isinstance(held, list) and held and isinstance(held[0], bytes)):
                self.values[name] = Value(name, None, 0)
                return None
            kinds = numpy.float32 if node.attribute[0].name.startswith("value_float") else numpy.int64
            given = numpy_helper.from_array(numpy.asarray(held, dtype=kinds))
        found = initializer_of(given, name, is_named=False)
        self.initializers[name] = found
        return self._add_initializer(found)

    def _branch(self, node: onnx.NodeProto, inputs: Sequence[Value | None], declared: Mapping[str, Any]) -> None:
        """The branch that runs, if that is known; other graphs within nodes are skipped."""
        from onnx import helper

        condition = inputs[0] if inputs else None
        if node.op_type == "If" and condition is not None and condition.data is not None:
            taken = attribute(node, "then_branch" if bool(condition.data.reshape(-1)[0]) else "else_branch", None)
            for tensor in taken.initializer:
                found = initializer_of(tensor, tensor.name)
                self.initializers[found.name] = found
            self._find_trained(taken.node)
            for tensor in taken.initializer:
                self._add_initializer(self.initializers[tensor.name])
            self._follow(taken)
            for outer, inner in zip(node.output, taken.output, strict=True):
                self._run(helper.make_node("Identity", [inner.name], [outer]), declared)
            return
        self.skipped.append(node)
        for name in node.output:
            value = self._shapes.value(name, declared.get(name))
            self.values[name] = replace(value, grows=True, needs_grad=bool(value.dtype) and value.is_float, origin=name)

    def _promote(self, node: onnx.NodeProto, inputs: Sequence[Value | None]) -> None:
        """Has tensors of Constant nodes train that are the weight of a layer, or its scale."""
        if node.op_type in READERS and is_onnx(node):
            fixed = _NOT_TRAINED.get(node.op_type, set())
            for place, value in enumerate(inputs):
                layer = value is not None and value.is_weight and value.is_float and len(value.shape or ()) > 1
                if value is not None and layer and place not in fixed:
                    self.trained |= {each for each in value.weights if _may_train(self.initializers[each])}

    def _derived(self, node: onnx.NodeProto, inputs: Sequence[Value | None], place: int, value: Value) -> Value:
        """One output with what it is made of."""
        given = [each for each in inputs if each is not None]
        first = given[0] if given else None
        standard = is_onnx(node)
        from_shape = standard and node.op_type in ("Shape", "Size")
        batch = self.batch_size if self.batch_is_identifiable else 0
        grows = any(each.grows for each in given) and not from_shape and value.data is None
        grows = grows or bool(batch and any(size and size % batch == 0 for size in value.shape or ()))
        made_of = given[:1] if standard and node.op_type in _OF_FIRST else [e for e in given if e.dtype and e.is_float]
        weights = () if grows else tuple(dict.fromkeys(name for each in made_of for name in each.weights))
        is_float = bool(value.dtype) and value.is_float
        needs_grad = is_float and node.op_type not in _WITHOUT_GRADIENT and any(map(self.needs_grad, made_of))
        value = replace(value, weights=weights, grows=grows, needs_grad=needs_grad, origin=value.name)
        if not standard or first is None or not (node.op_type in _OF_FIRST or _is_identity(node, inputs)):
            return value
        if node.op_type in _IN_ORDER and None not in (first.shape, value.shape) and first.elements != value.elements:
            raise ValueError(f"{first.shape} does not have as many elements as {value.shape}")
        value = replace(value, part=_part_of(node, inputs, place, value))
        view = node.op_type in VIEWS or _is_identity(node, inputs) or _selects(node, inputs)
        copies = first.moved and node.op_type in ("Flatten", "Reshape")
        if place or not view or copies:
            return replace(value, origin=first.origin) if place and node.op_type == "Split" else value
        moved = first.moved or node.op_type not in _IN_ORDER
        return replace(value, origin=first.origin or first.name, moved=moved)


def _may_train(each: Initializer) -> bool:
    """Whether an initializer may be a parameter; torch calls single numbers that it makes itself val_1 and so on."""
    own = prod(each.shape) == 1 and _OF_EXPORTER.fullmatch(each.name)
    return bool(each.shape) and not own and Value(each.name, each.shape, each.dtype).is_float


def _is_identity(node: onnx.NodeProto, inputs: Sequence[Value | None]) -> bool:
    """Whether a node returns what it reads: a dropout outside training, a conversion to the same type."""
    if node.op_type == "Dropout":
        training = inputs[2] if len(inputs) > 2 else None
        return training is None or (training.data is not None and not training.data)
    return node.op_type == "Cast" and inputs[0] is not None and attribute(node, "to", 0) == inputs[0].dtype


def _selects(node: onnx.NodeProto, inputs: Sequence[Value | None]) -> bool:
    """Whether a node takes one entry along a dimension, which is a view."""
    index = inputs[1] if len(inputs) > 1 else None
    return node.op_type == "Gather" and index is not None and index.shape == ()


def _part_of(node: onnx.NodeProto, inputs: Sequence[Value | None], place: int, value: Value) -> tuple[int, int] | None:
    """Where a part of one initializer starts and ends in it; None if it is not one part, or the whole."""
    first = inputs[0]
    if first is None or len(first.weights) != 1 or not first.shape or value.shape is None:
        return None
    if node.op_type in _IN_ORDER | {"Transpose", "Cast", "DequantizeLinear"}:
        return first.part
    if first.moved:
        return None
    row, begin = prod(first.shape[1:]), (first.part or (0, 0))[0]
    known = [None if each is None else each.data for each in inputs]
    if node.op_type == "Split" and attribute(node, "axis", 0) == 0:
        sizes = attribute(node, "split", []) or (known[1].tolist() if len(known) > 1 and known[1] is not None else [])
        start = sum(sizes[:place]) if sizes else place * value.shape[0]
    elif node.op_type == "Slice" and len(known) > 3 and all(each is not None for each in known[1:]):
        starts, _, axes, *steps = (each.tolist() for each in known[1:] if each is not None)
        if axes != [0] or steps not in ([], [[1]]):
            return None
        start = max(0, starts[0] + first.shape[0]) if starts[0] < 0 else min(starts[0], first.shape[0])
    elif _selects(node, inputs) and attribute(node, "axis", 0) == 0 and known[1] is not None:
        start = int(known[1]) % first.shape[0]
    else:
        return None
    return begin + start * row, begin + start * row + value.elements
