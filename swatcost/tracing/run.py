"""One forward pass of a module, observed.

Two of torch's own observers watch it: a dispatch mode sees every operation below autograd, whatever the network
is written with, and saved-tensor hooks see what autograd keeps. The parameters and buffers that
the module runs on are stand-ins, so the user's module comes back untouched.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from swatcost.errors import SwatcostError
from swatcost.layer import Layer
from swatcost.network import Buffer, Network, Parameter, SavedTensor, Uncounted, tells_batch
from swatcost.tracing.readers import READERS
from swatcost.tracing.untouched import Snapshot, stand_in, untouched

# Operations that make, move or read numbers without computing with them. Views are told by their schema.
_MOVES = {
    "_to_copy", "_unsafe_view", "arange", "bernoulli", "bernoulli_", "cat", "clone", "constant_pad_nd",
    "copy", "copy_", "detach", "embedding", "empty", "empty_like", "empty_strided", "eye", "fill", "fill_",
    "flip", "full", "full_like", "gather", "index", "index_select", "lift_fresh", "masked_fill",
    "masked_fill_", "new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros", "ones",
    "ones_like", "repeat", "roll", "scalar_tensor", "scatter", "stack", "tril", "triu", "where", "zero_",
    "zeros", "zeros_like",
}  # fmt: skip

# Operations that multiply tensors with each other: what is not counted of them is missed in the totals.
_PRODUCTS = {
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "conv_tbc",
    "dot",
    "mm",
    "mv",
    "transposed_convolution",
}
_FAMILIES_OF_PRODUCTS = (
    "_convolution", "_efficient_attention", "_flash_attention", "_scaled_dot_product", "_transformer",
    "_native_multi_head", "_thnn_fused", "_trilinear", "gru", "lstm", "mkldnn_", "cudnn_conv", "miopen_", "_cudnn_rnn",
    "quantized_", "rnn_",
)  # fmt: skip

_SINGLE_LAYERS = (_ConvNd, nn.Linear, _BatchNorm)


@dataclass
class ForwardError(Exception):
    """The module raised: what it raised, in which module, and what that module was given."""

    error: Exception
    network: str
    inputs: list[tuple[int, ...]]
    batch_size: int
    place: Frame | None

    def explained(self) -> SwatcostError:
        given = " and ".join(_times(shape[1:]) for shape in self.inputs if shape)
        where = ""
        if self.place is not None:
            seen = " and ".join(_times(shape) for shape in self.place.shapes) or "no tensor"
            where = f"{self.place.name} ({type(self.place.module).__name__}) was given {seen}: "
        reason = (str(self.error).strip() or type(self.error).__name__).splitlines()[0]
        batch = f"traced in a batch of {self.batch_size}"
        return SwatcostError(f"{self.network} cannot take an input of {given} ({batch}): {where}{reason}")


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


@dataclass(frozen=True)
class Frame:
    """A module that is running: its qualified name and the shapes of the tensors it was called with."""

    name: str
    module: nn.Module
    shapes: list[tuple[int, ...]]


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
        self.parameter_names = {_identity(parameter): key for key, parameter in self.parameters.items()}
        self.own_storages = {_identity(tensor) for tensor in (*self.parameters.values(), *self.buffers.values())}
        dims = [size for shape in self.inputs for size in shape[1:]]
        dims += [size for tensor in (*self.parameters.values(), *self.buffers.values()) for size in tensor.shape]
        self.telling = tells_batch(batch_size, dims)
        self.module_names = {id(module): key for key, module in model.named_modules()}
        self.module_names[id(model)] = type(model).__name__
        self.frames: list[Frame] = []
        self.storages: dict[StorageWeakRef, int] = {}
        self.saved_sizes: dict[int, tuple[int, bool]] = {}
        self.strangers: dict[int, Snapshot] = {}  # modules that ran and that the model does not know as its parts
        self.layers: list[Layer] = []
        self.saved: list[SavedTensor] = []
        self.saved_since: list[int] = []  # places in `saved` filled since the last operation
        self.uncounted: dict[str, list[str]] = defaultdict(list)
        self.failure: tuple[BaseException, Frame] | None = None

    def network(self) -> Network:
        """Runs the forward pass and returns what was seen of it."""
        with untouched(self.model), self._module_hooks():
            hooks = torch.autograd.graph.saved_tensors_hooks(self._save, lambda tensor: tensor)
            device = torch.device("meta") if self.meta else contextlib.nullcontext()
            try:
                with hooks, device, self:
                    functional_call(self.model, {**self.parameters, **self.buffers}, self.args, self.kwargs)
            except Exception as error:
                place = self.failure[1] if self.failure and self.failure[0] is error else None
                raise ForwardError(error, self.name, self.inputs, self.batch_size, place) from error
        return Network(
            name=self.name,
            input_shapes=tuple(self.inputs),
            batch_size=self.batch_size,
            layers=tuple(self.layers),
            parameters=tuple(
                Parameter(
                    name=key, shape=tuple(each.shape), element_bytes=each.element_size(), trains=each.requires_grad
                )
                for key, each in self.parameters.items()
            ),
            buffers=tuple(
                Buffer(name=key, shape=tuple(each.shape), element_bytes=each.element_size())
                for key, each in self.buffers.items()
            ),
            saved=tuple(self.saved),
            uncounted=tuple(
                Uncounted(
                    operation=operation,
                    products=_multiplies_tensors(operation),
                    calls=len(places),
                    places=tuple(dict.fromkeys(places)),
                )
                for operation, places in self.uncounted.items()
            ),
            torch_version=str(torch.__version__),
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = func.overloadpacket.__name__
        reader = READERS.get(operation)
        layer = reader(self, args, result) if reader else None
        if layer is not None:
            self.layers.append(layer)
            self._claim_input(layer)
        elif operation not in _MOVES and not func.is_view and _computes(result):
            transposed = reader is not None and operation == "convolution"
            self.uncounted["transposed_convolution" if transposed else operation].append(self._here().name)
        self.saved_since.clear()
        return result

    def layer(
        self, *, input: Tensor, weight: Tensor | None, others: Sequence[Tensor | None], **shape: Any
    ) -> Layer | None:
        """A layer that the running module has executed on these tensors; None if there was nothing to execute."""
        if input.numel() == 0 or 0 in shape["output_shape"]:
            return None
        frame = self._here()
        names = [self.parameter_names.get(_identity(tensor)) for tensor in (weight, *others) if tensor is not None]
        if isinstance(frame.module, _SINGLE_LAYERS):
            prefix = "" if frame.module is self.model else f"{frame.name}."
            names += [prefix + key for key, _ in frame.module.named_parameters(recurse=False)]
        gradients = torch.is_grad_enabled()
        return Layer(
            name=frame.name,
            parameters=tuple(dict.fromkeys(key for key in names if key in self.parameters)),
            weight="" if weight is None else self._weight_name(weight),
            element_bytes=input.element_size(),
            input_needs_grad=gradients and input.requires_grad,
            weight_trains=gradients and weight is not None and weight.requires_grad,
            input_storage=self._storage(input),
            **shape,
        )

    def _claim_input(self, layer: Layer) -> None:
        """Marks what autograd has just saved for this layer: an operation's inputs are saved right before it runs."""
        if layer.weight_trains:
            for place in reversed(self.saved_since):
                if self.saved[place].storage == layer.input_storage:
                    self.saved[place] = replace(self.saved[place], as_layer_input=True)
                    return

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether the tensor is a parameter, or a view or part of one."""
        return _identity(tensor) in self.parameter_names

    def _weight_name(self, weight: Tensor) -> str:
        """The parameter's name, with the part of it that is meant, or a name for a weight that is computed.

        A module that is one layer computes one weight however often it is called; elsewhere each tensor is one.
        """
        name = self.parameter_names.get(_identity(weight))
        if name is None:
            frame = self._here()
            single = isinstance(frame.module, _SINGLE_LAYERS)
            return f"(computed in {frame.name})" if single else f"(computed in {frame.name}, {self._storage(weight)})"
        distinct = prod(size for size, stride in zip(weight.shape, weight.stride(), strict=True) if stride)
        if distinct == self.parameters[name].numel():
            return name
        start = int(weight.storage_offset())
        return f"{name}[{start}:{start + distinct}]"

    def running_linear(self) -> Frame | None:
        """The frame of the nn.Linear that is running, if one is; a subclass may do something else in its forward."""
        frame = self._here()
        return frame if getattr(type(frame.module), "forward", None) is nn.Linear.forward else None

    def _here(self) -> Frame:
        return self.frames[-1] if self.frames else Frame(type(self.model).__name__, self.model, [])

    def _storage(self, tensor: Tensor) -> int:
        return self.storages.setdefault(_identity(tensor), len(self.storages))

    def _save(self, tensor: Tensor) -> Tensor:
        if _identity(tensor) not in self.own_storages:
            storage = self._storage(tensor)
            storage_bytes, scales = self.saved_sizes.setdefault(storage, self._size(tensor))
            self.saved_since.append(len(self.saved))
            self.saved.append(
                SavedTensor(
                    storage=storage,
                    storage_bytes=storage_bytes,
                    held_by=self._here().name,
                    as_layer_input=False,
                    scales_with_batch=scales,
                )
            )
        return tensor

    def _size(self, tensor: Tensor) -> tuple[int, bool]:
        """The bytes of a tensor's storage, and whether they grow with the batch."""
        storage_bytes = tensor.untyped_storage().nbytes()
        divides = storage_bytes // tensor.element_size() % self.batch_size == 0
        return storage_bytes, divides and (self.telling or tensor.dim() != 1)

    @contextlib.contextmanager
    def _module_hooks(self) -> Iterator[None]:
        """Follows which module is running, by hooks that belong to this thread's pass and to no module."""
        thread = threading.get_ident()
        outer = sys.exception()

        def enter(module: nn.Module, args: Any) -> None:
            if threading.get_ident() == thread:
                name = self.module_names.get(id(module)) or f"{self._here().name}.{type(module).__name__}"
                if id(module) not in self.module_names and id(module) not in self.strangers:
                    self.strangers[id(module)] = Snapshot(module, values=True)
                shapes = [tuple(leaf.shape) for leaf in tree_flatten(args)[0] if isinstance(leaf, Tensor)]
                self.frames.append(Frame(name, module, shapes))

        def leave(module: nn.Module, args: Any, result: Any) -> None:
            if threading.get_ident() != thread or not self.frames:
                return
            frame, error = self.frames.pop(), sys.exception()
            if error is not None and error is not outer and (self.failure is None or self.failure[0] is not error):
                self.failure = (error, frame)

        handles = [
            register_module_forward_pre_hook(enter),
            register_module_forward_hook(leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for snapshot in self.strangers.values():
                snapshot.restore()


def _identity(tensor: Tensor) -> StorageWeakRef:
    """The storage of a tensor, without keeping its memory: while this is held, no other storage equals it."""
    return StorageWeakRef(tensor.untyped_storage())


def _multiplies_tensors(operation: str) -> bool:
    return operation in _PRODUCTS or operation.startswith(_FAMILIES_OF_PRODUCTS)


def _computes(result: Any) -> bool:
    """Whether an operation gave floating-point numbers: counters and indices are no arithmetic of a network."""
    return any(
        isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex()) for leaf in tree_flatten(result)[0]
    )
