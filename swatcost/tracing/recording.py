"""Records a training step: its layers, its memory and the tensors that autograd saves."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from swatcost.common.errors import SwatcostError
from swatcost.network import Buffer, Network, Parameter, Timeline, Uncounted, batch_is_identifiable
from swatcost.network.formulas import formula_of
from swatcost.network.layer import PRODUCT_KINDS, Layer
from swatcost.tracing.autograd_graph import AutogradGraph, differentiable
from swatcost.tracing.module_names import without_wrappers
from swatcost.tracing.operands import Call, Operand, Reading
from swatcost.tracing.operations import MOVES, computes, may_multiply_tensors, name_of, tensors_of
from swatcost.tracing.pruning_masks import zeros_of_masks
from swatcost.tracing.readers import READERS, Reader, formula_reader, is_torchs
from swatcost.tracing.running_modules import Frame
from swatcost.tracing.saved_tensors import SavedTensors
from swatcost.tracing.storages import Storages, address
from swatcost.tracing.weights import Weights

_EMBEDDINGS = ("embedding", "_embedding_bag", "_embedding_bag_forward_only")


@dataclass(frozen=True)
class _Operation:
    """How one of torch's operations is recorded."""

    name: str
    moves: bool
    reader: Reader | None
    formula: Reader | None


class Recording:
    """Records events in order: operations, saved tensors, modules that return. It executes nothing itself."""

    def __init__(
        self,
        model: nn.Module,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        inputs: Sequence[Tensor],
        batch_size: int,
    ) -> None:
        self._model = model
        self._parameters = parameters
        self._buffers = buffers
        self._batch_size = batch_size
        self._input_shapes = [tuple(each.shape) for each in inputs]
        own = [*parameters.values(), *buffers.values()]
        dims = [size for shape in self._input_shapes for size in shape[1:]]
        identifiable = batch_is_identifiable(batch_size, dims + [size for tensor in own for size in tensor.shape])
        self._own = {address(tensor) for tensor in own}
        self._storages = Storages(batch_size, identifiable)
        self._weights = Weights(model, parameters, buffers, self._storages)
        self._graph = AutogradGraph()
        self._saved = SavedTensors(self._own, self._storages)
        self._operations: dict[Any, _Operation] = {}
        self._layers: list[Layer] = []
        self._recomputed: list[Layer] = []  # by checkpointing
        self._uncounted: dict[str, list[str]] = defaultdict(list)
        self._reached: set[int] = set()
        self._custom: dict[str, list[str]] = {}
        self._outputs: list[tuple[int, ...]] = []
        self._embeds_input = False
        self._backward_began = 0
        self._events: list[int] | None = None  # the timeline's events, if the backward pass could not be run
        for each in tensors_of(list(inputs)):
            self._storages.number(each)  # the first storages of a trace are the network's inputs
        self._input_storages = len(self._storages.sizes)

    def settle(self) -> None:
        """To be called before each operation of the forward pass."""
        self._graph.settle()

    def memory(self, result: Any) -> None:
        """Records the storages of an operation's results, except those of parameters and buffers."""
        for tensor in tensors_of(result):
            if address(tensor) not in self._own:
                self._storages.number(tensor)

    def forward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, frame: Frame) -> None:
        """Records an operation of the forward pass, other than a view."""
        operation = self._known(func)
        layers: list[Layer] = []
        if operation.name in _EMBEDDINGS and not any(each.is_weight_layer for each in self._layers):
            self._embeds_input = True
        if any(isinstance(each, Tensor) and each.layout != torch.strided for each in args):
            self._uncounted[f"sparse {operation.name}"].append(frame.name)
        elif operation.reader:
            layers = self._read(operation.reader, args, kwargs, result, frame)
        elif not computes(result):
            pass
        elif operation.formula:
            layers = self._read(operation.formula, args, kwargs, result, frame)
        elif not operation.moves and not is_torchs(nn.RMSNorm, frame):  # RMSNorm is recorded as one layer, by `left`
            self._uncounted[operation.name].append(frame.name)
        added = [self._add(layer, result) for layer in layers]
        inputs = tensors_of(args)
        self._weights.track(inputs, tensors_of(result), multiplies=any(added))
        has_gradient = torch.is_grad_enabled() and any(each.requires_grad for each in inputs)
        self._saved.next_operation(operation.name, result, has_gradient=has_gradient)

    def recomputed(self, func: Any, args: tuple[Any, ...], result: Any, frame: Frame) -> None:
        """Records an operation of the forward pass that checkpointing recomputes."""
        read = self._known(func).reader
        if read is not None:
            self._recomputed += [each for each in self._read(read, args, {}, result, frame) if not each.is_norm]

    def saved(self, tensor: Tensor, frame: Frame) -> None:
        """Records a tensor that autograd saves."""
        self._saved.keep(tensor, frame.name)

    def left(self, frame: Frame, result: Any) -> None:
        """Records a module's result."""
        self._graph.left(frame.name, result)
        if is_torchs(nn.RMSNorm, frame) and isinstance(frame.args, tuple):  # it may have run as several operations
            fused = any(layer.kind == "rms_norm" and layer.name == frame.name for layer in self._layers[-1:])
            inputs = [each for each in frame.args if isinstance(each, Tensor)]
            if not fused and inputs and isinstance(result, Tensor) and inputs[0].shape == result.shape:
                args = inputs[0], None, getattr(frame.module, "weight", None)
                self._layers += self._read(READERS["_fused_rms_norm"], args, {}, result, frame)

    def forward_ended(self, result: Any) -> None:
        """Reads autograd's graph; the backward pass follows."""
        self._reached, self._custom = self._graph.reached(result)
        self._outputs = [tuple(each.shape) for each in differentiable(result)]
        self._backward_began = len(self._storages.events)

    def backward_failed(self) -> None:
        """Drops the memory events of a backward pass that failed."""
        self._events = self._storages.events[: self._backward_began]

    def release(self) -> None:
        """Frees autograd's graph, once nothing else holds the step's tensors."""
        self._graph.release()

    def network(self, name: str) -> Network:
        """The traced network, once the step is over."""
        kept = [each.grad for each in self._parameters.values() if each.grad is not None]
        gradients = {self._storages.gradient(each) for each in kept if each.layout == torch.strided}
        zeros = zeros_of_masks(self._model)
        return Network(
            name=name,
            input_shapes=tuple(self._input_shapes),
            batch_size=self._batch_size,
            layers=tuple(self._as_trained()),
            parameters=tuple(
                Parameter(**_stored(key, each), trains=each.requires_grad, mask_zeros=zeros.get(key))
                for key, each in self._parameters.items()
            ),
            buffers=tuple(Buffer(**_stored(key, each)) for key, each in self._buffers.items()),
            output_shapes=tuple(self._outputs),
            storages=tuple(self._storages.sizes),
            saved=self._saved.all(),
            timeline=Timeline(
                events=tuple(self._storages.events if self._events is None else self._events),
                backward=self._backward_began,
                gradients=tuple(sorted(gradients)),
                inputs=self._input_storages,
            ),
            uncounted=tuple(self._listed()),
            torch_version=str(torch.__version__),
            embeds_input=self._embeds_input,
        )

    def _known(self, func: Any) -> _Operation:
        operation = self._operations.get(func)
        if operation is None:
            name = name_of(func)
            reader, moves = READERS.get(name), name in MOVES
            formula = None if moves else formula_of(name)
            if reader and formula:
                raise SwatcostError(f"{name} is already counted: formulas are for uncounted operations only")
            operation = _Operation(name, moves, reader, formula and formula_reader(name, formula))
            self._operations[func] = operation
        return operation

    def _read(
        self, read: Reader, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, frame: Frame
    ) -> list[Layer]:
        """The layers that an operation executed."""
        tensors: list[Tensor] = []
        named = {key: self._described(each, tensors) for key, each in kwargs.items()}
        call = Call(self._described(args, tensors), self._described(result, tensors), frame, named)
        return [self._layer(each, tensors, frame) for each in read(call) if not each.is_empty]

    def _described(self, value: Any, tensors: list[Tensor]) -> Any:
        """Arguments or results with operands in place of tensors; the tensors are appended to `tensors`."""
        if isinstance(value, Tensor):
            shape = tuple(value.shape)
            if value.layout != torch.strided:
                return shape
            tensors.append(value)
            matrices = self._weights.distinct_matrices(value) if len(shape) == 3 else 1
            return Operand(len(tensors) - 1, shape, value.requires_grad, self._weights.holds(value), matrices)
        if type(value) in (tuple, list):
            parts = (Tensor, tuple, list)
            return type(value)([self._described(each, tensors) if isinstance(each, parts) else each for each in value])
        return value

    def _layer(self, reading: Reading, tensors: list[Tensor], frame: Frame) -> Layer:
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
            custom_macs=reading.custom_macs,
        )

    def _add(self, layer: Layer, result: Any) -> bool:
        """Adds a layer, and awaits its node if it has gradients. Returns whether it multiplies: not a normalisation."""
        self._layers.append(layer)
        if layer.is_norm:
            return False
        if _has_gradients(layer):
            self._graph.await_node(len(self._layers) - 1, result if isinstance(result, Tensor) else result[0])
            if layer.is_weight_layer and layer.weight_trains:
                self._saved.claim(layer)
        return True

    def _as_trained(self) -> Iterable[Layer]:
        """The layers, with only the gradients that the backward pass computes, and with their recomputations."""
        known = {_work(layer): place for place, layer in reversed(list(enumerate(self._layers)))}
        recomputed = Counter(known[_work(layer)] for layer in self._recomputed if _work(layer) in known)
        for place, layer in enumerate(self._layers):
            if place not in self._reached and _has_gradients(layer):
                forward, _ = layer.custom_macs
                layer = replace(layer, input_needs_grad=False, weight_trains=False, custom_macs=(forward, 0))
            yield replace(layer, recomputed=recomputed[place]) if recomputed[place] else layer

    def _listed(self) -> Iterable[Uncounted]:
        custom = {f"backward of {name.removesuffix('Backward')}": places for name, places in self._custom.items()}
        for operation, places in (*self._uncounted.items(), *custom.items()):
            yield Uncounted(
                operation=operation,
                products=operation in custom or may_multiply_tensors(operation),
                calls=len(places),
                places=tuple(dict.fromkeys(place or type(self._model).__name__ for place in places)),
            )


def _stored(name: str, tensor: Tensor) -> dict[str, Any]:
    return {"name": without_wrappers(name), "shape": tuple(tensor.shape), "element_bytes": tensor.element_size()}


def _has_gradients(layer: Layer) -> bool:
    return layer.input_needs_grad or layer.weight_trains or layer.custom_macs[1] > 0


def _work(layer: Layer) -> tuple[Any, ...]:
    """A key that is equal for two executions of the same work."""
    return (layer.name, layer.kind, layer.weight, layer.input_shape, layer.weight_shape, layer.output_shape)
