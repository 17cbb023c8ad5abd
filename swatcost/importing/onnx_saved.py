"""What autograd would save if it executed a graph's nodes one by one: for each operation, what its gradient needs."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from swatcost.importing.onnx_walk import VIEWS, Step
from swatcost.importing.values import Value

# As torch's derivatives have it (derivatives.yaml): the result, the input, both operands of a product, or nothing.
_RESULT = {
    "Celu", "Elu", "Exp", "LeakyRelu", "LogSoftmax", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softmax", "Sqrt", "Tanh",
}  # fmt: skip
_INPUT = {
    "Abs", "AveragePool", "Clip", "Cos", "Erf", "Gelu", "GlobalMaxPool", "HardSigmoid", "HardSwish", "LRN", "Log",
    "Mish", "PRelu", "Pow", "ReduceMax", "ReduceMin", "Sin", "Softplus", "Softsign", "Swish", "ThresholdedRelu",
}  # fmt: skip
_FACTORS = {"Div", "Mul"}
_NOTHING = VIEWS | {
    "Add", "Cast", "CastLike", "Ceil", "Concat", "ConstantOfShape", "CumSum", "DepthToSpace", "Floor",
    "GlobalAveragePool", "Mean", "Neg", "Pad", "ReduceMean", "ReduceSum", "Resize", "Round", "Sign", "SpaceToDepth",
    "Sub", "Sum", "Tile", "Trilu", "Upsample",
}  # fmt: skip
_INDEX_BYTES = 8


def saved_of(step: Step) -> Iterator[Value | int] | None:
    """The tensors that a node outside the layers saves if its result needs a gradient, and the bytes of others that it
    makes for that; None if it is not known.
    """
    operation = step.node.op_type
    first = step.inputs[0] if step.inputs else None
    if first is None:
        return iter(())
    if operation in _NOTHING:
        return iter(())
    if operation in _RESULT:
        return iter((step.outputs[0],))
    if operation in _INPUT:
        return iter((first,))
    if operation == "MaxPool":
        return iter((first, _INDEX_BYTES * prod(step.outputs[0].known_shape)))
    if operation == "Dropout":  # a mask as large as its input, in torch's CPU kernels
        return iter(() if step.outputs[0].origin == first.origin else (first.bytes,))
    if operation in ("Gather", "GatherElements", "Where"):  # indices or a condition
        chosen = step.inputs[0 if operation == "Where" else 1]
        return iter((chosen,) if chosen is not None and chosen.data is None else ())
    if operation in _FACTORS:
        return _operands(step)
    return None


def _operands(step: Step) -> Iterator[Value]:
    """Each factor whose partner needs a gradient; of a quotient the divisor, and both if that needs one."""
    left, right = step.inputs[0], step.inputs[1]
    if left is None or right is None:
        return
    if right.needs_grad or right.weights:
        yield left
    if left.needs_grad or left.weights or step.node.op_type == "Div":
        yield right
