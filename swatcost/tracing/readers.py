"""aten operations → readings: which argument is the input, which the weight, and their shapes."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from swatcost.common.errors import SwatcostError
from swatcost.network.formulas import Formula, counted
from swatcost.network.layer import LayerKind
from swatcost.tracing import attention_readers, convolution_readers, product_readers, recurrent_readers
from swatcost.tracing.operands import Call, Operand, Reading, operands_of
from swatcost.tracing.reader_registry import READERS, Reader, reads
from swatcost.tracing.sparse_readers import SPARSE_READERS

__all__ = ["FAMILIES", "READERS", "SPARSE_READERS", "Reader", "formula_reader"]

FAMILIES = attention_readers, convolution_readers, product_readers, recurrent_readers  # which register their readers


def _norm(kind: LayerKind, input: Operand, scale: Operand | None, shift: Operand | None = None) -> list[Reading]:
    return [Reading(kind=kind, input=input, weight=scale, others=(shift,), output_shape=input.shape)]


@reads(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)
def _batch_norm(call: Call) -> Iterable[Reading]:
    instance = isinstance(call.frame.module, nn.modules.instancenorm._InstanceNorm)
    return _norm("instance_norm" if instance else "batch_norm", *call.args[:3])


reads("native_group_norm")(lambda call: _norm("group_norm", *call.args[:3]))
reads("native_layer_norm")(lambda call: _norm("layer_norm", call.args[0], *call.args[2:4]))
reads("_fused_rms_norm")(lambda call: _norm("rms_norm", call.args[0], call.args[2]))


def formula_reader(operation: str, formula: Formula) -> Reader:
    """A reader for a user-supplied formula. It raises SwatcostError if the call has no tensor or the formula fails."""

    def read(call: Call) -> Iterable[Reading]:
        operands = [*operands_of(call.args), *operands_of(tuple(call.kwargs.values()))]
        if not operands:
            raise SwatcostError(f"{operation} takes no tensor: formulas are for operations on tensors")
        named = {key: _shapes(each) for key, each in (*call.kwargs.items(), ("out_shape", call.result))}
        forward, *gradients = counted(operation, formula, _shapes(call.args), named, len(operands))
        wanted = sum(macs for macs, operand in zip(gradients, operands, strict=True) if operand.needs_grad)
        output = next(operands_of(call.result))
        yield Reading(kind="custom", input=operands[0], output_shape=output.shape, custom_macs=(forward, wanted))

    return read


def _shapes(value: Any) -> Any:
    """The value with shapes in place of operands."""
    if isinstance(value, Operand):
        return value.shape
    return type(value)(map(_shapes, value)) if type(value) in (tuple, list) else value
