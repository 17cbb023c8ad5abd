"""One forward pass of a module, observed.

Two of torch's own observers watch it: a dispatch mode sees every operation below autograd, whatever the network
is written with, and saved-tensor hooks see what autograd keeps. The parameters and buffers that
the module runs on are stand-ins, so the user's module comes back untouched.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from swatcost.common.errors import SwatcostError
from swatcost.network import Buffer, Network, Parameter, Timeline, Uncounted, tells_batch
from swatcost.network.formulas import counted, formula_of
from swatcost.network.layer import PRODUCT_KINDS, Layer
from swatcost.tracing.attention import fused_attention
from swatcost.tracing.backward import Backward, Checkpointing, Step, as_written, differentiable
from swatcost.tracing.failure import ForwardError
from swatcost.tracing.frames import Frame, Frames, without_wrappers
from swatcost.tracing.kernels import Kernels
from swatcost.tracing.masks import zeros_of_masks
from swatcost.tracing.operations import MOVES, computes, may_multiply_tensors, name_of, tensors_of
from swatcost.tracing.readers import READERS, Reader, composed_rms_norm, is_rms_norm
from swatcost.tracing.saved import Saved
from swatcost.tracing.storages import Storages, address
from swatcost.tracing.untouched import stand_in, unsearched, untouched
from swatcost.tracing.weights import Weights


@dataclass(frozen=True)
class _Operation:
    """What is known of one of torch's operations."""

    name: str
    is_view: bool
    moves: bool
    read: Reader | None


class Run(TorchDispatchMode):
    """One observed forward pass."""

    def __init__(
        self,
        model: nn.Module,
        name: str,
        batch_size: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        meta: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.name = name
        self.batch_size = batch_size
        self.args = args
        self.kwargs = kwargs
        self.meta = meta
        self.inputs = [tuple(leaf.shape) for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        self.parameters = {
            key: nn.Parameter(stand_in(parameter, meta), parameter.requires_grad)
            for key, parameter in model.named_parameters()
        }
        self.buffers = {key: stand_in(buffer, meta) for key, buffer in model.named_buffers()}
        own = [*self.parameters.values(), *self.buffers.values()]
        dims = [size for shape in self.inputs for size in shape[1:]]
        tells = tells_batch(batch_size, dims + [size for tensor in own for size in tensor.shape])
        self.frames = Frames(model)
        self.storages = Storages(batch_size, tells)
        self.weights = Weights(model, self.parameters, self.buffers, self.storages)
        self.kernels = Kernels()
        self.backward = Backward()
        self.checkpointing = Checkpointing()
        self.saved = Saved(own, self.storages)
        self.own = {address(tensor) for tensor in own}
        self.backward_began: int | None = None
        self.seen: list[int] | None = None  # the timeline, if the backward pass could not be run
        self.reached: set[int] = set()
        self.custom: dict[str, list[str]] = {}
        self.outputs: list[tuple[int, ...]] = []
        self.input_storages = 0
        self.operations: dict[Any, _Operation] = {}
        self.layers: list[Layer] = []
        self.again: list[Layer] = []  # what checkpointing executed again
        self.uncounted: dict[str, list[str]] = defaultdict(list)

    def network(self) -> Network:
        """Runs the forward pass and returns what was seen of it."""
        for leaf in tree_flatten((self.args, self.kwargs))[0]:
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
                self.storages.number(leaf)  # the first storages of a trace are the network's inputs
        self.input_storages = len(self.storages.sizes)
        followed = self.frames.followed(self._left), self.checkpointing.followed()
        with untouched(self.model), as_written(), unsearched(), followed[0], followed[1]:
            hooks = torch.autograd.graph.saved_tensors_hooks(self._save, lambda tensor: tensor)
            device = torch.device("meta") if self.meta else contextlib.nullcontext()
            attention = fused_attention() if self.meta else contextlib.nullcontext()
            try:
                with hooks, device, attention, self:
                    step = Step(self.model, self._after_forward)
                    functional_call(step, step.named({**self.parameters, **self.buffers}), self.args, self.kwargs)
            except SwatcostError:
                raise
            except (Exception, SystemExit) as error:
                place = self.frames.failed_in(error)
                raise ForwardError(error, self.name, self.inputs, self.batch_size, place) from error
        kept = [each.grad for each in self.parameters.values() if each.grad is not None]
        gradients = {self.storages.gradient(each) for each in kept if each.layout == torch.strided}
        timeline = Timeline(
            events=tuple(self.storages.events if self.seen is None else self.seen),
            backward=self.backward_began or 0,
            gradients=tuple(sorted(gradients)),
            inputs=self.input_storages,
        )
        zeros = zeros_of_masks(self.model)
        return Network(
            name=self.name,
            input_shapes=tuple(self.inputs),
            batch_size=self.batch_size,
            layers=tuple(self._as_trained(self.reached)),
            parameters=tuple(
                Parameter(
                    name=without_wrappers(key),
                    shape=tuple(each.shape),
                    element_bytes=each.element_size(),
                    trains=each.requires_grad,
                    mask_zeros=zeros.get(key),
                )
                for key, each in self.parameters.items()
            ),
            buffers=tuple(
                Buffer(name=without_wrappers(key), shape=tuple(each.shape), element_bytes=each.element_size())
                for key, each in self.buffers.items()
            ),
            output_shapes=tuple(self.outputs),
            storages=tuple(self.storages.sizes),
            saved=self.saved.all(),
            timeline=timeline,
            uncounted=tuple(self._uncounted(self.custom)),
            torch_version=str(torch.__version__),
        )

    def _after_forward(self, result: Any) -> None:
        """Reads autograd's graph, and then runs the backward pass to see which memory it takes."""
        self.reached, self.custom = self.backward.reached(result)
        outputs = differentiable(result)
        self.outputs = [tuple(each.shape) for each in outputs]
        self.backward_began = len(self.storages.events)
        if outputs:
            try:
                torch.autograd.backward(outputs, [torch.empty_like(each) for each in outputs])
            except (Exception, SystemExit):  # a function of the user's own may be unable to run on such tensors
                self.seen = self.storages.events[: self.backward_began]

    def _as_trained(self, reached: set[int]) -> Iterable[Layer]:
        """The layers with the gradients that are really computed, and with what checkpointing runs again."""
        known = {_work(layer): place for place, layer in reversed(list(enumerate(self.layers)))}
        recomputed = Counter(known[_work(layer)] for layer in self.again if _work(layer) in known)
        for place, layer in enumerate(self.layers):
            if place not in reached and (layer.input_needs_grad or layer.weight_trains or layer.custom_macs[1]):
                forward, _ = layer.custom_macs
                layer = replace(layer, input_needs_grad=False, weight_trains=False, custom_macs=(forward, 0))
            yield replace(layer, recomputed=recomputed[place]) if recomputed[place] else layer

    def _uncounted(self, custom: dict[str, list[str]]) -> Iterable[Uncounted]:
        for operation, places in self.uncounted.items():
            yield Uncounted(
                operation=operation,
                products=may_multiply_tensors(operation),
                calls=len(places),
                places=tuple(dict.fromkeys(places)),
            )
        for function, places in custom.items():
            named = [place or type(self.model).__name__ for place in places]
            yield Uncounted(
                operation=f"backward of {function.removesuffix('Backward')}",
                products=True,
                calls=len(places),
                places=tuple(dict.fromkeys(named)),
            )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        in_backward = self.backward_began is not None
        if in_backward and not self.checkpointing.recomputing:
            result = self.kernels.run(func, args, kwargs) if self.meta else func(*args, **kwargs)
            self._note(result)
            return result
        self.backward.settle()
        operation = self.operations.get(func)
        if operation is None:
            operation = self.operations[func] = self._learn(func)
        if operation.is_view:
            return func(*args, **kwargs)
        result = self.kernels.run(func, args, kwargs) if self.meta else func(*args, **kwargs)
        self._note(result)
        if in_backward:
            if operation.read is not None:
                self.again += [each for each in operation.read(self, args, result) if each and not each.is_norm]
            return result
        multiplies = False
        if any(isinstance(each, Tensor) and each.layout != torch.strided for each in args):
            self.uncounted[f"sparse {operation.name}"].append(self.frames.here.name)
        elif operation.read is not None:
            for layer in operation.read(self, args, result):
                if layer is not None:
                    multiplies = self._record(layer, result) or multiplies
        elif not operation.moves and computes(result):
            multiplies = self._record_foreign(operation.name, args, kwargs, result)
        self.weights.follow(tensors_of(args), tensors_of(result), multiplies=multiplies)
        self.saved.next_operation(operation.name, result)
        return result

    def _note(self, result: Any) -> None:
        """Notes the memory that an operation's results live in, unless it is that of parameters or buffers."""
        for tensor in tensors_of(result):
            if address(tensor) not in self.own:
                self.storages.number(tensor)

    def _learn(self, func: Any) -> _Operation:
        name = name_of(func)
        if name in READERS and formula_of(name):
            raise SwatcostError(f"{name} is counted already: a formula from outside is for operations that are not")
        return _Operation(name=name, is_view=func.is_view, moves=name in MOVES, read=READERS.get(name))

    def _record(self, layer: Layer, result: Any) -> bool:
        """Adds a layer to the trace; whether it is a product of tensors, unlike a normalisation."""
        place = len(self.layers)
        self.layers.append(layer)
        if layer.is_norm:
            return False
        if layer.input_needs_grad or layer.weight_trains or layer.custom_macs[1]:
            first = result if isinstance(result, Tensor) else result[0]
            self.backward.await_node(place, first)
            if layer.is_weight_layer and layer.weight_trains:
                self.saved.claim(layer)
        return True

    def _record_foreign(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> bool:
        """Counts an operation by a formula from outside, or lists it."""
        here = self.frames.here.name
        formula = formula_of(name)
        if formula is None:
            if not is_rms_norm(self.frames.here.module):  # which is listed as one
                self.uncounted[name].append(here)
            return False
        tensors = tensors_of((*args, *kwargs.values()))
        if not tensors:
            raise SwatcostError(f"{name} takes no tensor: a formula is for operations on tensors")
        shapes = tuple(_shapes(each) for each in args)
        named = {key: _shapes(each) for key, each in kwargs.items()}
        forward, *gradients = counted(name, formula, shapes, {**named, "out_shape": _shapes(result)}, len(tensors))
        layer = self.layer(
            kind="custom",
            input=tensors[0],
            weight=None,
            input_shape=tuple(tensors[0].shape),
            weight_shape=(),
            output_shape=tuple(tensors_of(result)[0].shape),
            custom_macs=(
                forward,
                sum(macs for macs, tensor in zip(gradients, tensors, strict=True) if tensor.requires_grad),
            ),
        )
        return layer is not None and self._record(layer, result)

    def layer(
        self,
        *,
        input: Tensor,
        weight: Tensor | None,
        others: Sequence[Tensor | None] = (),
        trains: tuple[bool, bool] | None = None,
        **shape: Any,
    ) -> Layer | None:
        """What the running module has executed on these tensors; None if there was nothing to execute.

        `trains` says whether input and weight need gradients, where the tensors themselves do not know.
        """
        if input.numel() == 0 or 0 in shape["output_shape"] or 0 in shape["input_shape"]:
            return None
        frame = self.frames.here
        gradients = torch.is_grad_enabled()
        input_needs, weight_needs = trains or (input.requires_grad, weight is not None and weight.requires_grad)
        return Layer(
            name=frame.name,
            parameters=() if shape["kind"] in PRODUCT_KINDS else self.weights.parameters([weight, *others], frame),
            weight="" if weight is None or shape["kind"] in PRODUCT_KINDS else self.weights.name(weight, frame),
            element_bytes=input.element_size(),
            input_needs_grad=gradients and input_needs,
            weight_trains=gradients and weight_needs,
            input_storage=self.storages.number(input),
            **shape,
        )

    def _left(self, frame: Frame, result: Any) -> None:
        if self.backward_began is not None:
            return  # checkpointing runs it again: it is in the trace
        self.backward.left(frame.name, result)
        if is_rms_norm(frame.module):
            fused = any(layer.kind == "rms_norm" and layer.name == frame.name for layer in self.layers[-1:])
            norm = None if fused else composed_rms_norm(self, frame.module, frame.args, result)
            if norm is not None:
                self._record(replace(norm, name=frame.name), result)

    def _save(self, tensor: Tensor) -> Tensor:
        self.saved.keep(tensor, self.frames.here.name)
        return tensor


def _work(layer: Layer) -> tuple[Any, ...]:
    """What two executions of the same work have in common."""
    return (layer.name, layer.kind, layer.weight, layer.input_shape, layer.weight_shape, layer.output_shape)


def _shapes(value: Any) -> Any:
    """Shapes in place of tensors."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return type(value)(map(_shapes, value)) if type(value) in (tuple, list) else value
