"""PyTorch → Network: runs one training step of a module and records its operations."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.printing import printable
from swatcost.common.units import checked_count
from swatcost.network import Network
from swatcost.network.batches import identifiable_sizes
from swatcost.tracing.arguments import arguments_of, copied, tensors_in
from swatcost.tracing.batch import CALLER, Batch, batch_asked, batch_of_inputs
from swatcost.tracing.forward_error import ForwardError
from swatcost.tracing.loss import LossError, OwnLoss
from swatcost.tracing.step import Step
from swatcost.tracing.wanted import Wanted

__all__ = ["trace"]

_WITHOUT_ZEROS = ("qint", "quint", "bits")  # dtypes of tensors that cannot be filled with zeros


def trace(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    input_shape: Sequence[int] | None = None,
    input_dtype: str | torch.dtype | None = None,
    batch_size: int | None = None,
    batch_dim: int | None = None,
    name: str | None = None,
    loss: str | OwnLoss | None = None,
    autocast: str | None = None,
    checkpoint: str | Iterable[str] | None = None,
    offload: bool | None = None,
    hold_outputs: bool | None = None,
    under_amp: bool = True,
) -> Network:
    """Traces one training step of a module.

    Give either example_inputs (a tensor, or a tuple or mapping of the arguments of a forward call, batch dimension
    included; any other object is its only argument) or input_shape, the shape of one sample for a network with a single
    input. input_dtype is the input's dtype, such as "int64" for tokens; the default is the parameters' dtype, or int64
    if an embedding rejects that.

    With input_shape the step runs on the meta device, which allocates and computes nothing; a module that cannot run
    there is run for real. Example inputs are copied, with all that is in them, and stay on their device, unless the
    module is on the meta device.

    batch_size is the number of samples, and batch_dim the dimension of the first input that counts them. Without, they
    are what the inputs say (a packed sequence, a nested tensor, a list of images), or the first module that says it of
    an input (batch_first of recurrent layers and attention, a layer that is given one sample without a batch), or else
    dimension 0, which the notes of an estimate then say.

    loss is "none", "mse", "cross-entropy", or a function of the network's output that returns one number; by default it
    is the network's own loss where that returns one, or the cross-entropy where the output looks like scores of
    classes or tokens. Products in a function of yours are layers called "(loss)"; parameters that it has are none of
    the network's, so that neither they nor their optimizer state are counted as memory.

    autocast is "amp" or another name in `swatcost.network.conditions.AUTOCASTS`, for a step under torch.autocast.
    checkpoint is a pattern of module names, or several: what if these modules were checkpointed, without changing the
    network. offload is the same for moving saved tensors to the host and back. With hold_outputs, the network's outputs
    live until the step is over; otherwise only as long as autograd needs them. under_amp=False saves the time of a
    second run, under torch.autocast, whose tensors the trace otherwise has beside its own on the meta device.

    A module in evaluation mode is put in training mode for the step; in one that is in training mode, submodules keep
    their modes. Afterwards parameters, buffers, gradients, training flags, hooks and random state are as before, even
    if the module raises.

    Raises SwatcostError if the module does not accept the input, naming the layer that failed.
    """
    if not isinstance(model, nn.Module):
        raise SwatcostError(f"{model!r:.80} is not a torch module: trace an instance of nn.Module")
    batch_size = None if batch_size is None else checked_count(batch_size, "batch_size")
    if batch_dim is not None and (isinstance(batch_dim, bool) or not isinstance(batch_dim, int)):
        raise SwatcostError(f"batch_dim {batch_dim!r:.40}: give the number of a dimension, such as 0")
    if (example_inputs is None) == (input_shape is None):
        raise SwatcostError("give either example_inputs or input_shape")
    model = unwrapped(model)
    for key, tensor in _parameters_and_buffers(model):
        if nn.parameter.is_lazy(tensor):
            raise SwatcostError(f"{key} has no shape yet: run the module once on real input")
        if tensor.layout != torch.strided:
            raise SwatcostError(f"{key} has layout {tensor.layout}: only dense tensors can be traced")
    if name is not None and not isinstance(name, str):
        raise SwatcostError(f"name {name!r:.40}: give a string")
    name = printable(name or type(model).__name__)
    wanted = Wanted.of(loss, autocast, checkpoint, offload, hold_outputs, under_amp)
    with torch.inference_mode(False), torch.enable_grad():
        if input_shape is None:
            if input_dtype is not None:
                raise SwatcostError("example_inputs already have a dtype: leave input_dtype out")
            try:
                return _trace_examples(model, example_inputs, batch_size, batch_dim, name, wanted)
            except RecursionError:  # one of the network's own is a ForwardError
                raise SwatcostError("example_inputs are nested too deeply for Python: flatten them") from None
        shape = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
        return _trace_shape(model, shape, _dtype(input_dtype), batch_size, batch_dim, name, wanted)


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


def _parameters_and_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    try:
        return [*model.named_parameters(), *model.named_buffers()]
    except RecursionError:
        raise SwatcostError(f"{type(model).__name__} is nested too deeply for Python: flatten it") from None


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside torch.compile or DataParallel."""
    if isinstance(model, nn.DataParallel):
        return unwrapped(model.module)
    compiled = type(model).__name__ == "OptimizedModule"
    return unwrapped(model._orig_mod) if compiled and isinstance(model._orig_mod, nn.Module) else model


def _trace_shape(
    model: nn.Module,
    shape: tuple[int, ...],
    dtype: torch.dtype | None,
    batch_size: int | None,
    batch_dim: int | None,
    name: str,
    wanted: Wanted,
) -> Network:
    """The trace for samples of this shape, in a batch along a dimension that the caller or the network says."""
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in shape):
        raise SwatcostError(f"input shape {shape}: give positive whole numbers")
    dims = [*shape, *(size for tensor in (*model.parameters(), *model.buffers()) for size in tensor.shape)]
    size = batch_size or next(iter(identifiable_sizes(dims)), 2)
    if batch_dim is not None and not -len(shape) - 1 <= batch_dim <= len(shape):
        raise SwatcostError(f"batch_dim {batch_dim}: a batch of samples of {shape} has {len(shape) + 1} dimensions")
    batch = Batch(size, 0 if batch_dim is None else batch_dim % (len(shape) + 1), CALLER)
    step = _step_of_shape(model, shape, dtype, batch, name, wanted)
    said = step.batch_told
    if batch_dim is None and said is not None and said.dim and len(shape) >= said.dim:
        with contextlib.suppress(ForwardError):
            step = _step_of_shape(model, shape, dtype, replace(said, size=size), name, wanted)
    return step.network()


def _step_of_shape(
    model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype | None, batch: Batch, name: str, wanted: Wanted
) -> Step:
    tensors = [*model.parameters(), *model.buffers()]
    dtypes = [parameter.dtype for parameter in model.parameters()]
    floats = [each for each in dtypes if each.is_floating_point] or [each for each in dtypes if each.is_complex]
    input_dtype = dtype or next(iter(floats), torch.get_default_dtype())
    dim = batch.dim or 0
    try:
        sample = torch.empty((*shape[:dim], batch.size, *shape[dim:]), device="meta", dtype=input_dtype)
    except (RuntimeError, OverflowError, TypeError, NotImplementedError):
        raise SwatcostError(f"input shape {shape} is too large for a tensor") from None
    try:
        return Step(model, name, batch, lambda: ((sample,), {}), wanted, meta=True)
    except (ForwardError, LossError) as failure:
        place = failure.place if isinstance(failure, ForwardError) else None
        if dtype is None and place and isinstance(place.module, nn.Embedding | nn.EmbeddingBag):
            return _step_of_shape(model, shape, torch.int64, batch, name, wanted)  # an embedding takes indices
        device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        wrong = isinstance(failure, LossError) and not isinstance(failure.__cause__, RuntimeError)  # on every device
        if device.type == "meta" or wrong:
            raise
    # Modules that keep tensors outside their buffers or read values need a real run.
    _check_fits(sample, shape)
    try:
        zeros = torch.zeros_like(sample, device=device)
    except (RuntimeError, NotImplementedError) as error:
        raise SwatcostError(f"no input of {shape} and {input_dtype} can be made: {first_line(error)}") from None
    return Step(model, name, batch, lambda: ((zeros.clone(),), {}), wanted, meta=False, of_zeros=True)


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


def _trace_examples(
    model: nn.Module, examples: Any, batch_size: int | None, batch_dim: int | None, name: str, wanted: Wanted
) -> Network:
    args, kwargs = arguments_of(model, examples)
    given = tensors_in((args, kwargs))
    if not given:
        raise SwatcostError("example_inputs contain no tensor")
    if any(each.is_nested and each.layout == torch.strided for each in given):
        raise SwatcostError(
            "example_inputs are nested tensors of the strided layout: make them with layout=torch.jagged"
        )
    told = batch_of_inputs((*args, *kwargs.values()), given)
    batch = batch_asked(batch_size, batch_dim, given, told) or told
    if batch.size < 1:
        raise SwatcostError(f"example_inputs of shape {tuple(given[0].shape)} contain no sample")
    meta = any(tensor.is_meta for tensor in (*given, *model.parameters()))

    def step_of(batch: Batch) -> Step:
        return Step(model, name, batch, lambda: copied((args, kwargs), model, meta=meta), wanted, meta=meta)

    step = step_of(batch)
    said = step.batch_told
    if said is None or batch.told_by:
        return step.network()
    return replace(step.network(), batch_told_by=said.told_by) if said.is_along(batch) else step_of(said).network()
