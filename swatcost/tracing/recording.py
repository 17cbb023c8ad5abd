"""Records a training step: its layers, its memory and the tensors that autograd saves."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from swatcost.network import Buffer, Embedding, Network, Parameter, Timeline, Uncounted, batch_is_identifiable
from swatcost.network.conditions import Conditions
from swatcost.network.layer import Layer
from swatcost.tracing.accumulations import Accumulations
from swatcost.tracing.autograd_graph import AutogradGraph, differentiable, number_of
from swatcost.tracing.batch import Batch
from swatcost.tracing.complex_convolutions import ComplexConvolutions
from swatcost.tracing.constants import Constants
from swatcost.tracing.executed_backward import ExecutedBackward, backward_of
from swatcost.tracing.loss import is_nothing
from swatcost.tracing.module_names import without_wrappers
from swatcost.tracing.movements import Movements
from swatcost.tracing.operation_reader import OperationReader
from swatcost.tracing.operations import listed_name, may_multiply_tensors, tensors_of
from swatcost.tracing.origins import Origins
from swatcost.tracing.own_tensors import OwnTensors
from swatcost.tracing.pruning_masks import zeros_of_masks
from swatcost.tracing.reader_registry import NotReadError
from swatcost.tracing.readers import READERS
from swatcost.tracing.running_modules import Frame, is_torchs
from swatcost.tracing.saved_tensors import SavedTensors
from swatcost.tracing.storages import Storages, address
from swatcost.tracing.trained_layers import as_trained, has_gradients
from swatcost.tracing.unseen_kernels import UnseenKernels, is_unseen, read_by
from swatcost.tracing.weights import Weights

_EMBEDDINGS = ("embedding", "_embedding_bag", "_embedding_bag_forward_only")


class Recording:
    """Records events in order: operations, saved tensors, modules that return. It executes nothing itself."""

    def __init__(
        self,
        model: nn.Module,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        inputs: Sequence[Tensor],
        batch: Batch,
    ) -> None:
        self._model = model
        self._parameters = parameters
        self._buffers = buffers
        self._batch = batch
        self._input_shapes = [tuple(each.shape) for each in inputs]
        own = [*parameters.values(), *buffers.values()]
        dims = [size for shape in self._input_shapes for size in batch.sample_shape(shape)]
        identifiable = batch_is_identifiable(batch.size, dims + [size for tensor in own for size in tensor.shape])
        self._own = OwnTensors({**buffers, **parameters})
        self._storages = Storages(batch.size, identifiable, self._own.addresses)
        self._graph = AutogradGraph()
        self._movements = Movements(batch.size, self._own.addresses, self._storages)
        self._saved = SavedTensors(self._own.addresses, self._storages)
        self._layers: list[Layer] = []
        self._complex = ComplexConvolutions()
        self._recomputed: list[Layer] = []  # by checkpointing
        self._checkpoints = 0  # that are running
        self._uncounted: dict[str, list[str]] = defaultdict(list)
        self._reached: set[int] = set()
        self._custom: dict[int, tuple[str, str]] = {}  # custom functions by their node's number: name and module
        self._executed_backward = ExecutedBackward()
        self._unseen = UnseenKernels(self._storages)
        self._outputs: list[tuple[int, ...]] = []
        self._targets: list[int] = []
        self._in_loss = False
        self._embeds_input = False
        self._embeddings: dict[tuple[str, bool], int] = {}  # lookups, by the parameter and whether the input says which
        self._backward_began = 0
        self._accumulations = Accumulations(self._storages)
        self._events: list[int] = []  # the timeline's, once the step is over
        for each in tensors_of(list(inputs)):
            self._storages.number(each)  # the first storages of a trace are the network's inputs
            self._storages.growing(each)
        for each in own:
            self._storages.fixed(each)
        self._input_storages = len(self._storages.sizes)
        self._origins = Origins(self._own, tensors_of(list(inputs)), self._storages, batch.size)
        self.constants = Constants(self._storages)
        weights = Weights(model, parameters, self._origins)
        self._reader = OperationReader(self._storages, self._origins, weights, self.constants)

    def operation_begins(self) -> None:
        """To be called before each operation of the forward pass."""
        self._graph.operation_begins()

    def operation_ended(self, func: Any, result: Any) -> None:
        """To be called after each operation of the step."""
        self._own.operation_ended(func)
        self.memory(result)

    def memory(self, result: Any) -> None:
        """Records the storages of an operation's results, except those of parameters and buffers."""
        for tensor in tensors_of(result):
            if address(tensor) not in self._own.addresses:
                self._storages.number(tensor)

    def forward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, frame: Frame) -> None:
        """Records an operation of the forward pass, other than a view."""
        operation = self._reader.operation(func)
        layers: list[Layer] = []
        if operation.name in _EMBEDDINGS:
            self._looked_up(*args[:2])
        try:
            layers = self._reader.layers(operation, args, kwargs, result, frame)
        except NotReadError:
            listed = listed_name(operation.name, args)
            if not self._in_loss or may_multiply_tensors(listed):
                self._uncounted[listed].append(frame.name)
        if layers and layers[0].kind in ("conv", "transposed_conv"):
            self._complex.see(len(self._layers), layers[0], *args[:2])
        if not operation.moves:
            self._written_unseen(read_by(func, args, kwargs), frame.name)
        self._unseen.track(operation.name, func, args, kwargs, result)
        self._movements.operation(operation.name, func, args, kwargs, result, "forward", layers)
        self.constants.track(func, args, kwargs, result)
        self._ran(operation.name, layers, args, kwargs, result)

    def _looked_up(self, table: Tensor, indices: Tensor) -> None:
        """Records that rows of a table are looked up, if it is a parameter or made of one."""
        if not any(each.is_weight_layer for each in self._layers):
            self._embeds_input = True
        reads_input = self._storages.number(indices) < self._input_storages
        for name in self._origins.names(table) & self._parameters.keys():
            key = without_wrappers(name), reads_input
            self._embeddings[key] = self._embeddings.get(key, 0) + indices.numel()

    def fused(self, name: str, args: tuple[Any, ...], result: Any, frame: Frame) -> None:
        """Records work of the forward pass that is no operation of the dispatcher's, once it is over."""
        self._graph.operation_ended(tensors_of(result)[0])
        layers: list[Layer] = []
        try:
            layers = self._reader.read(READERS[name], args, {}, result, frame)
        except NotReadError:
            self._uncounted[name].append(frame.name)
        self._ran(name, layers, args, {}, result)

    def _ran(self, name: str, layers: list[Layer], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Adds the layers that an operation executed, and follows its tensors."""
        for layer in layers:
            self._add(layer, name)
        inputs = tensors_of(args)
        self._track(name, args, kwargs, result, layers)
        has_gradient = torch.is_grad_enabled() and any(each.requires_grad for each in inputs)
        has_gradient = has_gradient and not self._checkpoints
        self._saved.next_operation(name, result, has_gradient=has_gradient)

    @property
    def executed_layers(self) -> int:
        """The number of layers so far."""
        return len(self._layers)

    def nested(self, since: int, args: tuple[Any, ...], result: Any) -> None:
        """Completes the layers from number `since` on, which an operation on nested tensors executed on their values.

        Autograd has a node for that operation only, and gradients of the nested tensors, not of their values.
        """
        given = [each for each in args if isinstance(each, Tensor)]
        left = any(each.requires_grad for each in given if each.is_nested)
        right = any(each.requires_grad for each in given[1:2])
        self._graph.forget(since)
        for place in range(since, len(self._layers)):
            layer = self._layers[place]
            if not layer.is_norm and layer.kind != "custom":
                self._layers[place] = layer = replace(layer, input_needs_grad=left, weight_trains=right)
            if has_gradients(layer):
                self._graph.has_node(place, "")

    def recomputed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, frame: Frame) -> None:
        """Records an operation of the forward pass that checkpointing recomputes."""
        operation, layers = self._reader.operation(func), []
        with contextlib.suppress(NotReadError):  # it was listed when it first ran
            layers = self._reader.layers(operation, args, kwargs, result, frame)
            self._recomputed += [each for each in layers if not each.is_norm]
        self._movements.operation(operation.name, func, args, kwargs, result, "backward", layers)
        self.constants.track(func, args, kwargs, result)
        self._track(operation.name, args, kwargs, result, layers)

    def checkpointed(self, begins: bool) -> None:
        """A checkpointed part of the forward pass begins or ends: its inputs are saved, and nothing that runs in it."""
        self._saved.next_operation("checkpoint", (), has_gradient=False)
        self._checkpoints += 1 if begins else -1

    def view(self, func: Any, args: tuple[Any, ...]) -> None:
        """Records a view of the forward pass."""
        self._origins.view(self._reader.operation(func).name, args)

    def is_activation(self, tensor: Tensor) -> bool:
        """Whether a tensor is in neither a parameter nor a buffer, and has numbers of its own."""
        return address(tensor) not in self._own.addresses and tensor.layout == torch.strided and tensor.dim() > 0

    def saved(self, tensor: Tensor, frame: Frame) -> None:
        """Records a tensor that autograd saves."""
        self._saved.keep(tensor, frame.name)

    def left(self, frame: Frame, result: Any) -> None:
        """Records a module's result."""
        self._graph.left(frame.name, frame.began)
        if is_torchs(nn.RMSNorm, frame) and isinstance(frame.args, tuple):  # it may have run as several operations
            fused = any(layer.kind == "rms_norm" and layer.name == frame.name for layer in self._layers[-1:])
            inputs = [each for each in frame.args if isinstance(each, Tensor)]
            if not fused and inputs and isinstance(result, Tensor) and inputs[0].shape == result.shape:
                args = inputs[0], None, getattr(frame.module, "weight", None)
                self._layers += self._reader.read(READERS["_fused_rms_norm"], args, {}, result, frame)

    def network_ended(self, result: Any) -> None:
        """The network has returned its result; the loss follows."""
        self._written_unseen(differentiable(result), "")
        self._outputs = [tuple(each.shape) for each in differentiable(result)]
        self._in_loss = True

    def target(self, tensor: Tensor, output: Tensor) -> None:
        """Records a tensor that the loss is given beside an output: it exists before the step begins.

        It grows with the batch if the output does, unless the batch is the dimension of its classes.
        """
        grows = self._storages.sizes[self._storages.number(output)].scales_with_batch
        if grows and tensor.numel() % self._batch.size == 0:
            self._targets.append(self._storages.grows(tensor))
            self._origins.given(tensor)
        else:
            self._targets.append(self._storages.constant(tensor))

    def graph_made(self, result: Any, loss: Tensor | None) -> list[Tensor]:
        """Reads autograd's graph of the whole forward pass. Returns the leaves that are no parameters of the network.

        A loss may have some.
        """
        self._reached, custom = self._graph.reached([result, loss])
        for node, place in ((node, place) for node, place in custom.items() if not is_nothing(node)):
            self._custom[number_of(node)] = backward_of(node), place
            node.register_hook(partial(self._returned, backward_of(node), place))
        self._accumulations.observe(self._parameters.values())
        return [each for each in self._graph.leaves() if self._own.name(each) is None]

    def backward_begins(self) -> None:
        """The backward pass follows."""
        self._backward_began = len(self._storages.events)

    def backward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Records an operation of the backward pass: as a layer, unless it computes a recorded layer's gradients."""
        self._movements.operation(self._reader.operation(func).name, func, args, kwargs, result, "backward")
        node = torch._C._current_autograd_node()
        if node is None or self._graph.knows(node):
            return
        self._accumulations.operation(node, result)
        operation, (_, place) = self._reader.operation(func), self._custom.get(number_of(node), ("", ""))
        self._unseen.track(operation.name, func, args, kwargs, result)
        try:
            frame = Frame(place or type(self._model).__name__, self._model)
            layers = self._reader.layers(operation, args, kwargs, result, frame)
            self._executed_backward.add(node, frame.name, layers, per_step=self._graph.is_fixed(node))
        except NotReadError:
            if may_multiply_tensors(listed_name(operation.name, args)):
                self._executed_backward.unread[backward_of(node)].append(place)

    def _returned(self, function: str, place: str, gradients: Any, _: Any) -> None:
        """Checks that operations have written the gradients that a custom function returns."""
        if any(self._unseen.written_by(each) for each in tensors_of(gradients)):
            self._executed_backward.unread[function].append(place)

    def _written_unseen(self, tensors: Iterable[Tensor], place: str) -> None:
        for kernel in filter(None, map(self._unseen.written_by, tensors)):
            self._uncounted[kernel].append(place)

    def backward_ended(self) -> None:
        """Ends the timeline: the network's outputs are freed after the step."""
        self._events = self._storages.events[:]

    def backward_failed(self) -> None:
        """Drops what was recorded of a backward pass that failed."""
        self._executed_backward.all_unread(self._custom.values())
        self._accumulations.forget()
        self._movements.without_backward()
        self._events = self._storages.events[: self._backward_began]

    def release(self) -> None:
        """Frees autograd's graph, once nothing else holds the step's tensors."""
        self._accumulations.release()
        self._graph.release()

    def network(self, name: str, conditions: Conditions) -> Network:
        """The traced network, once the step is over."""
        kept = [each.grad for each in self._parameters.values() if each.grad is not None]
        gradients = {self._storages.constant(each) for each in kept if each.layout == torch.strided}
        zeros = zeros_of_masks(self._model)
        layers = as_trained(self._layers, self._recomputed, self._reached, self._complex)
        return Network(
            name=name,
            input_shapes=tuple(self._input_shapes),
            batch_size=self._batch.size,
            layers=(*layers, *self._executed_backward.layers()),
            parameters=tuple(
                Parameter(**_stored(key, each), trains=each.requires_grad, mask_zeros=zeros.get(key))
                for key, each in self._parameters.items()
            ),
            buffers=tuple(Buffer(**_stored(key, each)) for key, each in self._buffers.items()),
            output_shapes=tuple(self._outputs),
            storages=tuple(self._storages.sizes),
            saved=self._saved.all(),
            timeline=Timeline(
                events=_with_first(self._events, self._input_storages, self._targets),
                backward=self._backward_began,
                gradients=tuple(sorted(gradients)),
                inputs=self._input_storages,
                targets=tuple(self._targets),
                accumulations=self._accumulations.of(gradients),
            ),
            conditions=conditions,
            uncounted=tuple(self._listed()),
            torch_version=str(torch.__version__),
            embeds_input=self._embeds_input,
            batch_dim=self._batch.dim,
            batch_told_by=self._batch.told_by,
            movements=self._movements.all(),
            embeddings=tuple(
                Embedding(parameter=name, lookups=lookups, reads_input=reads_input)
                for (name, reads_input), lookups in self._embeddings.items()
            ),
        )

    def _track(
        self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, layers: Sequence[Layer]
    ) -> None:
        """Records what the results were computed from."""
        operands = [*tensors_of(args), *tensors_of(list(kwargs.values()))]
        self._origins.track(operation, (*args, *kwargs.items()), operands, result, layers)
        for each in tensors_of(result):
            if self._origins.grow([each]):
                self._storages.growing(each)
            elif each.numel() and address(each) not in self._own.addresses and not self._in_loss:
                self._storages.constant(each)
                self._graph.fixed()

    def _add(self, layer: Layer, operation: str) -> None:
        """Adds a layer of the running operation."""
        self._layers.append(layer)
        if not layer.is_norm and has_gradients(layer):
            self._graph.has_node(len(self._layers) - 1, operation)
            if layer.is_weight_layer and layer.weight_trains:
                self._saved.claim(layer)

    def _listed(self) -> Iterable[Uncounted]:
        custom = self._executed_backward.unread
        for operation, places in (*self._uncounted.items(), *custom.items()):
            yield Uncounted(
                operation=operation,
                products=operation in custom or is_unseen(operation) or may_multiply_tensors(operation),
                calls=len(places),
                places=tuple(dict.fromkeys(place or type(self._model).__name__ for place in places)),
            )


def _with_first(events: list[int], inputs: int, targets: list[int]) -> tuple[int, ...]:
    """The timeline's events, with targets allocated right after the inputs, whenever they were seen."""
    made = [number + 1 for number in targets]
    others = [event for event in events if event not in made]
    return tuple(others[:inputs] + made + others[inputs:])


def _stored(name: str, tensor: Tensor) -> dict[str, Any]:
    return {"name": without_wrappers(name), "shape": tuple(tensor.shape), "element_bytes": tensor.element_size()}
