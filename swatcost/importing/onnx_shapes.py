"""What is known of the tensors that a node returns: their types and shapes, and the values of small ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import first_line
from swatcost.importing.onnx_file import MOST_KNOWN, checked_shape, is_onnx
from swatcost.importing.values import Value

if TYPE_CHECKING:
    import onnx

# Operations on the numbers that shapes and indices are made of; none reads anything but its inputs.
_EVALUATED = {
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "CumSum", "Div", "Equal", "Expand", "Flatten",
    "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
    "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "Or", "Pow", "Range", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "Round", "ScatterElements", "ScatterND", "Sign", "Slice", "Split", "Sqrt", "Squeeze", "Sub",
    "Tile", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip


_KEEPS_SHAPE = {"GroupNormalization", "MeanVarianceNormalization"}  # for which ONNX infers no shape


class Shapes:
    """Infers the outputs of one node at a time, with ONNX's own rules."""

    def __init__(self, opsets: Mapping[str, int], ir_version: int, symbols: Mapping[str, int]) -> None:
        """`symbols` are the sizes of named dimensions."""
        from onnx import defs, helper

        self._opsets = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        self._versions = opsets
        self._ir_version = ir_version
        self._symbols = symbols
        self._schemas: dict[tuple[str, str], Any] = {}
        self._schema_of = defs.get_schema

    def outputs(self, node: onnx.NodeProto, inputs: Sequence[Value | None], declared: Mapping[str, Any]) -> list[Value]:
        """What a node returns. `declared` has the types that the file itself states.

        Raises ValueError if the inputs do not fit the operation.
        """
        types = self._inferred(node, inputs)
        found = []
        for name in node.output:
            value = self.value(name, types.get(name))
            first = inputs[0] if inputs else None
            if node.op_type in _KEEPS_SHAPE and first is not None and is_onnx(node):
                value = replace(value, shape=first.shape, dtype=first.dtype)
            elif value.shape is None and name in declared:
                stated = self.value(name, declared[name])
                value = stated if stated.shape is not None or not value.dtype else value
            found.append(value)
        return self._with_data(node, inputs, found)

    def value(self, name: str, type: Any) -> Value:
        """A tensor of this type; its shape is unknown if a dimension is. Raises ValueError for an impossible shape."""
        if type is None or not type.HasField("tensor_type"):
            return Value(name, None, 0)
        tensor = type.tensor_type
        if not tensor.HasField("shape"):
            return Value(name, None, tensor.elem_type)
        dims = [
            each.dim_value if each.HasField("dim_value") else self._symbols.get(each.dim_param)
            for each in tensor.shape.dim
        ]
        known = [each for each in dims if each is not None]
        shape = checked_shape(known, name)
        return Value(name, shape if len(known) == len(dims) else None, tensor.elem_type)

    def _inferred(self, node: onnx.NodeProto, inputs: Sequence[Value | None]) -> Mapping[str, Any]:
        """The types of a node's outputs; none for operations that ONNX does not define."""
        from onnx import numpy_helper
        from onnx.shape_inference import infer_node_outputs

        schema = self._schema(node)
        if schema is None or any(each is not None and not each.dtype for each in inputs):
            return {}
        given = {each.name: each for each in inputs if each is not None}
        types = {name: type_of(each) for name, each in given.items()}
        data = {name: numpy_helper.from_array(each.data) for name, each in given.items() if each.data is not None}
        try:
            found: Mapping[str, Any] = infer_node_outputs(
                schema, node, types, data, opset_imports=self._opsets, ir_version=self._ir_version
            )
        except Exception as error:  # InferenceError, or what its own checks let pass
            raise ValueError(first_line(error).rpartition("] ")[2]) from None
        return found

    def _schema(self, node: onnx.NodeProto) -> Any:
        key = node.op_type, node.domain
        if key not in self._schemas:
            domain = "" if is_onnx(node) else node.domain
            version = self._versions.get(domain, self._versions.get("ai.onnx", 1) if not domain else 1)
            try:
                self._schemas[key] = self._schema_of(node.op_type, version, domain)
            except Exception:  # SchemaError, which is not public
                self._schemas[key] = None
        return self._schemas[key]

    def _with_data(self, node: onnx.NodeProto, inputs: Sequence[Value | None], outputs: list[Value]) -> list[Value]:
        """The outputs with their values, if they are few and follow from known numbers or shapes."""
        import numpy

        if not is_onnx(node) or not outputs:
            return outputs
        first = inputs[0] if inputs else None
        if node.op_type in ("Shape", "Size") and first is not None and first.shape is not None:
            start, end = attribute(node, "start", 0), attribute(node, "end", None)
            sizes = first.shape[start:end] if node.op_type == "Shape" else first.elements
            data = numpy.array(sizes, dtype=numpy.int64)
            return [replace(outputs[0], data=data, shape=data.shape)]
        known = all(each is None or each.data is not None for each in inputs)
        small = node.op_type == "NonZero" or all(map(_is_small, outputs))
        if node.op_type not in _EVALUATED or not known or not small:
            return outputs
        computed = self._evaluated(node, {each.name: each.data for each in inputs if each is not None})
        if len(computed) != len(outputs):
            return outputs
        return [
            replace(value, data=data, shape=data.shape) if value.shape in (None, data.shape) else value
            for value, data in zip(outputs, computed, strict=True)
        ]

    def _evaluated(self, node: onnx.NodeProto, given: dict[str, Any]) -> list[Any]:
        """A node's results by ONNX's reference implementation; none where it does not cover these numbers."""
        import numpy
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        graph = helper.make_graph(
            [node],
            "known",
            [helper.make_empty_tensor_value_info(each) for each in given],
            [helper.make_empty_tensor_value_info(each) for each in node.output],
        )
        model = helper.make_model(graph, opset_imports=self._opsets)
        try:
            with numpy.errstate(all="ignore"):
                found = ReferenceEvaluator(model).run(None, given)
        except Exception:  # of numpy, for numbers that do not fit each other
            return []
        return [numpy.asarray(each) for each in found]


def _is_small(value: Value) -> bool:
    return value.shape is not None and value.elements <= MOST_KNOWN


def type_of(value: Value) -> Any:
    """ONNX's description of a tensor."""
    from onnx import helper

    return helper.make_tensor_type_proto(value.dtype, value.shape)


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """A node's attribute: a number, text, or a list of numbers. Raises ValueError for another kind of value."""
    from onnx import helper

    found = next((each for each in node.attribute if each.name == name), None)
    if found is None:
        return default
    value = helper.get_attribute_value(found)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if isinstance(default, tuple | list) or hasattr(value, "__len__") else value
