"""PyTorch → Network: runs a module's forward pass once and writes down what it does.

Two of torch's own observers watch the run: a dispatch mode sees every operation below autograd, whatever the
network is written with, and saved-tensor hooks see what autograd keeps. The buffers that the module runs on
are stand-ins, and on the meta device so are its parameters, so the user's module comes back untouched.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from swatcost.errors import SwatcostError
from swatcost.network import Buffer, Layer, Network, Parameter, SavedTensor, Uncounted, tells_batch

_TELLING_BATCH_SIZES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)

# Operations that make, move or read numbers without computing with them. Views are told by their schema.
_MOVES = {
    "_to_copy", "_unsafe_view", "arange", "bernoulli", "bernoulli_", "cat", "clone", "constant_pad_nd",
    "copy", "copy_", "detach", "embedding", "empty", "empty_like", "empty_strided", "eye", "fill", "fill_",
    "flip", "full", "full_like", "gather", "index", "index_select", "lift_fresh", "masked_fill",
    "masked_fill_", "new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros", "ones",
    "ones_like", "repeat", "roll", "scalar_tensor", "scatter", "stack", "tril", "triu", "where", "zero_",
    "zeros", "zeros_like",
}  # fmt: skip

_SINGLE_LAYERS = (_ConvNd, nn.Linear, _BatchNorm)


def trace(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    input_shape: Sequence[int] | None = None,
    batch_size: int | None = None,
    name: str | None = None,
) -> Network:
    """Traces one forward pass of a training step.

    Give either example_inputs (a tensor, or a tuple or dict of a forward call's arguments, with their batch
    dimension) or input_shape, the shape of one sample of a network with a single input.

    With input_shape the pass runs on the meta device, where nothing is allocated and nothing computed; only if
    the module cannot run there does it run for real. Example inputs are used as they are, where they are.
    batch_size says how many samples the example inputs hold, if not their first dimension.

    A module in evaluation mode is put in training mode for the pass; one in training mode keeps the modes of
    its parts. Afterwards parameters, buffers, gradients, training flags, hooks and random state are as before,
    also when the module raises.

    Raises SwatcostError when the module cannot take the input, naming the layer that failed.
    """
    if (example_inputs is None) == (input_shape is None):
        raise SwatcostError("give either example_inputs or input_shape")
    model = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    lazy = [key for key, parameter in model.named_parameters() if nn.parameter.is_lazy(parameter)]
    if lazy:
        raise SwatcostError(f"parameter {lazy[0]} has no shape yet: run the module once on real input")
    name = name or type(model).__name__
    with torch.inference_mode(False), torch.enable_grad():
        if input_shape is None:
            return _trace_examples(model, example_inputs, batch_size, name)
        return _trace_shape(model, tuple(input_shape), batch_size, name)


def _trace_shape(model: nn.Module, shape: tuple[int, ...], batch_size: int | None, name: str) -> Network:
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in shape):
        raise SwatcostError(f"input shape {shape} holds something other than positive whole numbers")
    tensors = [*model.parameters(), *model.buffers()]
    dims = [*shape, *(size for tensor in tensors for size in tensor.shape)]
    batch_size = batch_size or next((size for size in _TELLING_BATCH_SIZES if tells_batch(size, dims)), 2)
    floats = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    sample = torch.empty((batch_size, *shape), device="meta", dtype=next(floats, torch.get_default_dtype()))
    try:
        return _Run(model, name, batch_size, (sample,), {}, meta=True).network()
    except _ForwardError as failure:
        device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        if device.type == "meta":
            raise failure.explained() from failure.error
    # Some modules keep tensors outside their buffers or look at values: those need a real run.
    try:
        return _Run(model, name, batch_size, (torch.zeros_like(sample, device=device),), {}, meta=False).network()
    except _ForwardError as failure:
        raise failure.explained() from failure.error


def _trace_examples(model: nn.Module, examples: Any, batch_size: int | None, name: str) -> Network:
    args, kwargs = ((), examples) if isinstance(examples, dict) else (examples, {})
    args = tuple(args) if isinstance(args, tuple | list) else (args,)
    given = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    if not given:
        raise SwatcostError("example_inputs hold no tensor")
    if batch_size is None:
        batch_size = given[0].shape[0] if given[0].dim() else 1
    if batch_size < 1:
        raise SwatcostError(f"example_inputs of shape {tuple(given[0].shape)} hold no sample")
    meta = any(tensor.is_meta for tensor in (*given, *model.parameters()))
    args, kwargs = tree_map_only(Tensor, lambda tensor: _stand_in(tensor, meta), (args, kwargs))
    try:
        return _Run(model, name, batch_size, args, kwargs, meta=meta).network()
    except _ForwardError as failure:
        raise failure.explained() from failure.error


def _stand_in(tensor: Tensor, meta: bool) -> Tensor:
    """A tensor that can be written to in place of the user's."""
    copy = torch.empty_like(tensor, device="meta") if meta else tensor.detach().clone()
    return copy.requires_grad_(tensor.requires_grad)


@dataclass
class _ForwardError(Exception):
    """The module raised: what it raised, in which module, and what that module was given."""

    error: Exception
    network: str
    inputs: list[tuple[int, ...]]
    place: _Frame | None

    def explained(self) -> SwatcostError:
        given = " and ".join(_times(shape) for shape in self.inputs)
        where = ""
        if self.place is not None:
            seen = " and ".join(_times(shape) for shape in self.place.shapes) or "no tensor"
            where = f"{self.place.name} ({type(self.place.module).__name__}) was given {seen}: "
        reason = (str(self.error).strip() or type(self.error).__name__).splitlines()[0]
        return SwatcostError(f"{self.network} cannot take input {given} (batch first): {where}{reason}")


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


@dataclass(frozen=True)
class _Frame:
    """A module that is running: its qualified name and the shapes of the tensors it was called with."""

    name: str
    module: nn.Module
    shapes: list[tuple[int, ...]]


class _Run(TorchDispatchMode):
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
            key: nn.Parameter(_stand_in(parameter, meta), parameter.requires_grad) if meta else parameter
            for key, parameter in model.named_parameters()
        }
        self.buffers = {key: _stand_in(buffer, meta) for key, buffer in model.named_buffers()}
        self.parameter_names = {_place(parameter): key for key, parameter in self.parameters.items()}
        self.own_storages = {_identity(tensor) for tensor in (*self.parameters.values(), *self.buffers.values())}
        dims = [size for shape in self.inputs for size in shape[1:]]
        dims += [size for tensor in (*self.parameters.values(), *self.buffers.values()) for size in tensor.shape]
        self.telling = tells_batch(batch_size, dims)
        self.module_names = {id(module): key for key, module in model.named_modules()}
        self.module_names[id(model)] = type(model).__name__
        self.frames: list[_Frame] = []
        self.storages: dict[StorageWeakRef, int] = {}
        self.layers: list[Layer] = []
        self.saved: list[SavedTensor] = []
        self.uncounted: dict[str, list[str]] = defaultdict(list)
        self.failure: tuple[BaseException, _Frame] | None = None

    def network(self) -> Network:
        """Runs the forward pass and returns what was seen of it."""
        with _undisturbed(self.model), self._module_hooks():
            hooks = torch.autograd.graph.saved_tensors_hooks(self._save, lambda tensor: tensor)
            device = torch.device("meta") if self.meta else contextlib.nullcontext()
            try:
                with hooks, device, self:
                    functional_call(self.model, {**self.parameters, **self.buffers}, self.args, self.kwargs)
            except Exception as error:
                place = self.failure[1] if self.failure and self.failure[0] is error else None
                raise _ForwardError(error, self.name, self.inputs, place) from error
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
                Uncounted(operation=operation, calls=len(places), places=tuple(dict.fromkeys(places)))
                for operation, places in self.uncounted.items()
            ),
            torch_version=str(torch.__version__),
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = func.overloadpacket.__name__
        reader = _READERS.get(operation)
        layer = reader(self, args, result) if reader else None
        if layer is not None:
            self.layers.append(layer)
        elif operation not in _MOVES and not func.is_view and _computes(result):
            self.uncounted[operation].append(self._here().name)
        return result

    def layer(self, *, input: Tensor, weight: Tensor | None, others: Sequence[Tensor | None], **shape: Any) -> Layer:
        """A layer that the running module has executed on these tensors."""
        frame = self._here()
        names = [self.parameter_names.get(_place(tensor)) for tensor in (weight, *others) if tensor is not None]
        if isinstance(frame.module, _SINGLE_LAYERS):
            prefix = "" if frame.module is self.model else f"{frame.name}."
            names += [prefix + key for key, _ in frame.module.named_parameters(recurse=False)]
        gradients = torch.is_grad_enabled()
        return Layer(
            name=frame.name,
            parameters=tuple(dict.fromkeys(key for key in names if key in self.parameters)),
            weight=None if weight is None else self.parameter_names.get(_place(weight)),
            input_needs_grad=gradients and input.requires_grad,
            weight_trains=gradients and weight is not None and weight.requires_grad,
            input_storage=self._storage(input),
            **shape,
        )

    def is_weight(self, tensor: Tensor) -> bool:
        return _place(tensor) in self.parameter_names

    def running_linear(self) -> _Frame | None:
        """The frame of the nn.Linear that is running, if one is."""
        frame = self._here()
        return frame if isinstance(frame.module, nn.Linear) else None

    def _here(self) -> _Frame:
        return self.frames[-1] if self.frames else _Frame(type(self.model).__name__, self.model, [])

    def _storage(self, tensor: Tensor) -> int:
        return self.storages.setdefault(_identity(tensor), len(self.storages))

    def _save(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if _identity(tensor) not in self.own_storages:
            elements = storage.nbytes() // tensor.element_size()
            self.saved.append(
                SavedTensor(
                    storage=self._storage(tensor),
                    storage_bytes=storage.nbytes(),
                    held_by=self._here().name,
                    scales_with_batch=elements % self.batch_size == 0 and (self.telling or tensor.dim() != 1),
                )
            )
        return tensor

    @contextlib.contextmanager
    def _module_hooks(self) -> Iterator[None]:
        """Follows which module is running, by hooks that belong to this thread's pass and to no module."""
        thread = threading.get_ident()
        outer = sys.exception()

        def enter(module: nn.Module, args: Any) -> None:
            if threading.get_ident() == thread:
                name = self.module_names.get(id(module)) or f"{self._here().name}.{type(module).__name__}"
                shapes = [tuple(leaf.shape) for leaf in tree_flatten(args)[0] if isinstance(leaf, Tensor)]
                self.frames.append(_Frame(name, module, shapes))

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


@contextlib.contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Training mode for the pass if the model is not in it; flags and random state as before afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    numpy_random = sys.modules.get("numpy.random")
    python_state, numpy_state = random.getstate(), numpy_random.get_state() if numpy_random else None
    devices = sorted({tensor.device.index for tensor in model.parameters() if tensor.is_cuda})
    try:
        if not model.training:
            model.train()
        with torch.random.fork_rng(devices):
            yield
    finally:
        for module, flag in flags:
            module.training = flag
        random.setstate(python_state)
        if numpy_random:
            numpy_random.set_state(numpy_state)


def _identity(tensor: Tensor) -> StorageWeakRef:
    """The storage of a tensor, without keeping its memory: while this is held, no other storage equals it."""
    return StorageWeakRef(tensor.untyped_storage())


def _place(tensor: Tensor) -> tuple[StorageWeakRef, int]:
    """Where a tensor's numbers lie: a view that starts at the same element, such as a transpose, shares it."""
    return _identity(tensor), int(tensor.storage_offset())


def _computes(result: Any) -> bool:
    """Whether an operation gave floating-point numbers: counters and indices are no arithmetic of a network."""
    return any(
        isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex()) for leaf in tree_flatten(result)[0]
    )


# Readers take the arguments and the result of one aten operation and return a layer, or None if it is none.
_Reader = Callable[[_Run, tuple[Any, ...], Any], Layer | None]
_READERS: dict[str, _Reader] = {}


def _reads(*operations: str) -> Callable[[_Reader], _Reader]:
    def register(reader: _Reader) -> _Reader:
        for operation in operations:
            if operation in _READERS:
                raise ValueError(f"aten.{operation} has a reader already")
            _READERS[operation] = reader
        return reader

    return register


@_reads("convolution")
def _convolution(run: _Run, args: tuple[Any, ...], result: Tensor) -> Layer | None:
    input, weight, bias, stride, padding, dilation, transposed, _, groups = args
    if transposed:
        return None
    spatial = weight.dim() - 2

    def each(sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(sizes) if len(sizes) == spatial else tuple(sizes) * spatial

    return run.layer(
        kind="conv",
        input=input,
        weight=weight,
        others=[bias],
        input_shape=tuple(input.shape),
        weight_shape=tuple(weight.shape),
        output_shape=tuple(result.shape),
        stride=each(stride),
        padding=each(padding),
        dilation=each(dilation),
        groups=groups,
    )


@_reads("addmm")
def _addmm(run: _Run, args: tuple[Any, ...], result: Tensor) -> Layer | None:
    return _linear(run, args[1], args[2], args[0])


@_reads("mm", "bmm")
def _mm(run: _Run, args: tuple[Any, ...], result: Tensor) -> Layer | None:
    return _linear(run, args[0], args[1], None)


def _linear(run: _Run, input: Tensor, weight: Tensor, bias: Tensor | None) -> Layer | None:
    """A product with a parameter, or the one inside an nn.Linear whose weight is computed."""
    linear = run.running_linear()
    if linear is None and not run.is_weight(weight):
        return None
    features_in, features_out = weight.shape[-2:]
    rows = tuple(input.shape[:-1])
    if linear and linear.shapes and linear.shapes[0][-1:] == (features_in,):
        rows = linear.shapes[0][:-1]
    return run.layer(
        kind="linear",
        input=input,
        weight=weight,
        others=[bias],
        input_shape=(*rows, features_in),
        weight_shape=(features_out, features_in),
        output_shape=(*rows, features_out),
    )


@_reads(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)
def _batch_norm(run: _Run, args: tuple[Any, ...], result: tuple[Tensor, ...]) -> Layer | None:
    input, weight, bias = args[:3]
    return run.layer(
        kind="batch_norm",
        input=input,
        weight=weight,
        others=[bias],
        input_shape=tuple(input.shape),
        weight_shape=() if weight is None else tuple(weight.shape),
        output_shape=tuple(result[0].shape),
    )
