"""PyTorch → Network: runs one training step of a module and records its operations."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

from swatcost.common.errors import SwatcostError, first_line
from swatcost.network import Network, batch_is_identifiable
from swatcost.tracing.forward_error import ForwardError
from swatcost.tracing.module_names import printable
from swatcost.tracing.module_state import stand_in
from swatcost.tracing.traced_step import traced_step

__all__ = ["trace"]

_WITHOUT_ZEROS = ("qint", "quint", "bits")  # dtypes of tensors that cannot be filled with zeros
_IDENTIFIABLE_BATCH_SIZES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)


def trace(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    input_shape: Sequence[int] | None = None,
    input_dtype: str | torch.dtype | None = None,
    batch_size: int | None = None,
    name: str | None = None,
) -> Network:
    """Traces one training step of a module.

    Give either example_inputs (a tensor, or a tuple or dict of the arguments of a forward call, batch dimension
    included) or input_shape, the shape of one sample for a network with a single input. input_dtype is the input's
    dtype, such as "int64" for tokens; the default is the parameters' dtype, or int64 if an embedding rejects that.

    With input_shape the step runs on the meta device, which allocates and computes nothing; a module that cannot run
    there is run for real. Example inputs are copied and stay on their device, unless the module is on the meta device.
    batch_size is the number of samples they hold; the default is the first tensor's first dimension.

    A module in evaluation mode is put in training mode for the step; in one that is in training mode, submodules keep
    their modes. Afterwards parameters, buffers, gradients, training flags, hooks and random state are as before, even
    if the module raises.

    Raises SwatcostError if the module does not accept the input, naming the layer that failed.
    """
    if not isinstance(model, nn.Module):
        raise SwatcostError(f"{model!r:.80} is not a torch module: trace an instance of nn.Module")
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise SwatcostError(f"batch_size {batch_size!r}: give a positive whole number")
    if (example_inputs is None) == (input_shape is None):
        raise SwatcostError("give either example_inputs or input_shape")
    model = unwrapped(model)
    try:
        own = [*model.named_parameters(), *model.named_buffers()]
        tree_flatten(example_inputs)
    except RecursionError:
        raise SwatcostError(
            f"{type(model).__name__} or its inputs are nested too deeply for Python: flatten them"
        ) from None
    for key, tensor in own:
        if nn.parameter.is_lazy(tensor):
            raise SwatcostError(f"{key} has no shape yet: run the module once on real input")
        if tensor.layout != torch.strided:
            raise SwatcostError(f"{key} has layout {tensor.layout}: only dense tensors can be traced")
    if name is not None and not isinstance(name, str):
        raise SwatcostError(f"name {name!r:.40}: give a string")
    name = printable(name or type(model).__name__)
    with torch.inference_mode(False), torch.enable_grad():
        if input_shape is None:
            if input_dtype is not None:
                raise SwatcostError("example_inputs already have a dtype: leave input_dtype out")
            return _trace_examples(model, example_inputs, batch_size, name)
        shape = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
        return _trace_shape(model, shape, _dtype(input_dtype), batch_size, name)


def _dtype(given: str | torch.dtype | None) -> torch.dtype | None:
    """A torch dtype, by its name or as it is."""
    dtype = getattr(torch, given, None) if isinstance(given, str) else given
    if given is not None and not isinstance(dtype, torch.dtype):
        raise SwatcostError(f"input_dtype {given!r:.40}: give a torch dtype, such as float32 or int64")
    if dtype is not None and str(dtype).removeprefix("torch.").startswith(_WITHOUT_ZEROS):
        raise SwatcostError(
            f"input_dtype {given!r:.40} holds no plain numbers: give one such as float32, int64 or int8"
        )
    return dtype


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside torch.compile or DataParallel."""
    if isinstance(model, nn.DataParallel):
        return unwrapped(model.module)
    compiled = type(model).__name__ == "OptimizedModule"
    return unwrapped(model._orig_mod) if compiled and isinstance(model._orig_mod, nn.Module) else model


def _trace_shape(
    model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype | None, batch_size: int | None, name: str
) -> Network:
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in shape):
        raise SwatcostError(f"input shape {shape}: give positive whole numbers")
    tensors = [*model.parameters(), *model.buffers()]
    dims = [*shape, *(size for tensor in tensors for size in tensor.shape)]
    identifiable = (size for size in _IDENTIFIABLE_BATCH_SIZES if batch_is_identifiable(size, dims))
    batch_size = batch_size or next(identifiable, 2)
    floats = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    input_dtype = dtype or next(floats, torch.get_default_dtype())
    try:
        sample = torch.empty((batch_size, *shape), device="meta", dtype=input_dtype)
    except (RuntimeError, OverflowError, TypeError, NotImplementedError):
        raise SwatcostError(f"input shape {shape} is too large for a tensor") from None
    try:
        return traced_step(model, name, batch_size, (sample,), {}, meta=True)
    except ForwardError as failure:
        if dtype is None and failure.place and isinstance(failure.place.module, nn.Embedding | nn.EmbeddingBag):
            return _trace_shape(model, shape, torch.int64, batch_size, name)  # an embedding takes indices
        device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        if device.type == "meta":
            raise
    # Modules that keep tensors outside their buffers or read values need a real run.
    _check_fits(sample, shape)
    try:
        zeros = torch.zeros_like(sample, device=device)
    except (RuntimeError, NotImplementedError) as error:
        raise SwatcostError(f"no input of {shape} and {input_dtype} can be made: {first_line(error)}") from None
    return traced_step(model, name, batch_size, (zeros,), {}, meta=False)


def _check_fits(sample: Tensor, shape: tuple[int, ...]) -> None:
    """Raises SwatcostError if a real input would not fit in this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = sample.numel() * sample.element_size()
    if needed > memory:
        raise SwatcostError(
            f"input shape {shape} needs a run with real values, since the network does not run on the meta device: its "
            f"{sample.shape[0]} samples take {needed / 1e9:,.0f} GB of this machine's {memory / 1e9:,.0f} GB; "
            "give a smaller shape"
        )


def _trace_examples(model: nn.Module, examples: Any, batch_size: int | None, name: str) -> Network:
    args, kwargs = ((), examples) if isinstance(examples, dict) else (examples, {})
    args = tuple(args) if isinstance(args, tuple | list) else (args,)
    given = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    if not given:
        raise SwatcostError("example_inputs contain no tensor")
    if batch_size is None:
        batch_size = given[0].shape[0] if given[0].dim() else 1
    if batch_size < 1:
        raise SwatcostError(f"example_inputs of shape {tuple(given[0].shape)} contain no sample")
    if batch_size > 1 and not any(batch_size in tensor.shape for tensor in given):
        raise SwatcostError(f"batch_size {batch_size}: no dimension of the example inputs has this size")
    meta = any(tensor.is_meta for tensor in (*given, *model.parameters()))
    copies: dict[int, Tensor] = {}  # a tensor passed twice stays one tensor
    args, kwargs = tree_map_only(
        Tensor, lambda tensor: copies.setdefault(id(tensor), stand_in(tensor, meta)), (args, kwargs)
    )
    return traced_step(model, name, batch_size, args, kwargs, meta=meta)
