"""Reads the operations of a step: the layers that each executed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from swatcost.common.errors import SwatcostError
from swatcost.network.formulas import formula_of
from swatcost.network.layer import PRODUCT_KINDS, Layer
from swatcost.tracing.attention_masks import mask_of
from swatcost.tracing.constants import Constants, Shown
from swatcost.tracing.operands import Call, Mask, Operand, Reading
from swatcost.tracing.operations import (
    MOVES,
    computes,
    has_sparse,
    name_of,
    numbers_of,
    stored_numbers,
    tensors_of,
    values_of,
    works,
)
from swatcost.tracing.origins import Origins
from swatcost.tracing.reader_registry import NotReadError
from swatcost.tracing.readers import READERS, SPARSE_READERS, Reader, formula_reader
from swatcost.tracing.running_modules import Frame, is_torchs
from swatcost.tracing.storages import Storages
from swatcost.tracing.weights import Weights

_NO_LAYER = nn.Identity()  # stands for the module that runs, where an operation computes a weight: it is no layer then


@dataclass(frozen=True)
class Operation:
    """How one of torch's operations is recorded."""

    name: str
    moves: bool
    reader: Reader | None
    formula: Reader | None


class OperationReader:
    """Makes layers of what operations are given and return: the tensors' shapes, weights and storages."""

    def __init__(self, storages: Storages, origins: Origins, weights: Weights, constants: Constants) -> None:
        self._storages = storages
        self._origins = origins
        self._weights = weights
        self._constants = constants
        self._operations: dict[Any, Operation] = {}
        self._masks: dict[Shown, Mask | None] = {}

    def operation(self, func: Any) -> Operation:
        """How an operation is recorded, looked up once."""
        operation = self._operations.get(func)
        if operation is None:
            name = name_of(func)
            reader, moves = READERS.get(name), name in MOVES
            formula = None if moves else formula_of(name)
            if reader and formula:
                raise SwatcostError(f"{name} is already counted: formulas are for uncounted operations only")
            operation = Operation(name, moves, reader, formula and formula_reader(name, formula))
            self._operations[func] = operation
        return operation

    def layers(
        self, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, frame: Frame
    ) -> list[Layer]:
        """The layers that an operation executed. Raises NotReadError if it did work that cannot be counted."""
        sparse = has_sparse(args)
        reader = SPARSE_READERS.get(operation.name) if sparse else operation.reader
        if reader is None and not sparse and computes(result):
            reader = operation.formula
        if reader is not None:
            return self.read(reader, args, kwargs, result, frame)
        if works(operation.name, result) and not is_torchs(nn.RMSNorm, frame):  # which is recorded whole, by `left`
            raise NotReadError
        return []

    def read(
        self, read: Reader, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, frame: Frame
    ) -> list[Layer]:
        """The layers that an operation executed, as its reader tells them."""
        operands = [*tensors_of(args), *tensors_of(list(kwargs.values()))]
        per_step = not self._origins.grow(operands) and not has_sparse((*args, *kwargs.values()))
        reads_as = frame
        is_weight: Callable[[Tensor], bool] = self._weights.holds
        if per_step:
            is_weight = self._weights.of_layer(operands, frame)
            if not any(map(is_weight, operands)):
                reads_as = Frame(frame.name, _NO_LAYER)
        tensors: list[Tensor] = []
        named = {key: self._described(each, tensors, is_weight) for key, each in kwargs.items()}
        described = self._described(args, tensors, is_weight), self._described(result, tensors, is_weight)
        call = Call(
            *described,
            reads_as,
            named,
            lambda operand: values_of(tensors[operand.place]),
            lambda operand: self._mask(tensors[operand.place]),
        )
        return [self._layer(each, tensors, frame, per_step) for each in read(call) if not each.is_empty]

    def _mask(self, tensor: Tensor) -> Mask | None:
        """The pairs that an attention mask leaves, if it is a constant."""
        shown = self._constants.mask(tensor)
        if shown is None:
            return None
        if shown not in self._masks:
            value = self._constants.computed(shown)
            self._masks[shown] = None if value is None else mask_of(value)
        return self._masks[shown]

    def _described(self, value: Any, tensors: list[Tensor], is_weight: Callable[[Tensor], bool]) -> Any:
        """Arguments or results with operands in place of tensors; the tensors are appended to `tensors`."""
        if isinstance(value, Tensor):
            shape, place = tuple(value.shape), len(tensors)
            tensors.append(value)
            if value.layout != torch.strided:
                return Operand(place, shape, value.requires_grad, stored=stored_numbers(value))
            matrices = self._weights.distinct_matrices(value) if len(shape) == 3 else 1
            return Operand(
                place,
                shape,
                value.requires_grad,
                is_weight(value),
                matrices,
                numbers=numbers_of(value),
                copies=self._origins.copies(value),
                chosen_of=0 if (chosen := self._origins.chosen(value)) is None else chosen.matrices,
            )
        if type(value) in (tuple, list):
            parts = (Tensor, tuple, list)
            described = (
                self._described(each, tensors, is_weight) if isinstance(each, parts) else each for each in value
            )
            return type(value)(described)
        return value

    def _layer(self, reading: Reading, tensors: list[Tensor], frame: Frame, per_step: bool) -> Layer:
        input, weight = tensors[reading.input.place], reading.weight
        if reading.kind in ("linear", "product") and input.dim() == 1:
            input = input.unsqueeze(0)  # a vector becomes a matrix, so that it is not taken for channel statistics
        behind = [None if each is None else tensors[each.place] for each in (weight, *reading.others)]
        is_product, gradients = reading.kind in PRODUCT_KINDS, torch.is_grad_enabled()
        return Layer(
            name=frame.name,
            kind=reading.kind,
            parameters=() if is_product else self._weights.parameters(behind, frame),
            weight="" if is_product or behind[0] is None else self._weights.name(behind[0], frame),
            element_bytes=input.element_size(),
            input_needs_grad=gradients and reading.input.needs_grad,
            weight_trains=gradients and weight is not None and weight.needs_grad,
            input_storage=self._storages.number(input),
            input_shape=reading.input.shape,
            weight_shape=() if weight is None else weight.shape,
            output_shape=reading.output_shape,
            stride=reading.stride,
            padding=reading.padding,
            dilation=reading.dilation,
            groups=reading.groups,
            routed=reading.routed,
            per_step=per_step,
            custom_macs=reading.custom_macs,
            real_products=reading.real_products,
            attention=reading.attention,
        )
