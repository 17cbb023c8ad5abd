"""Weight magnitudes and momentum from checkpoints. Checkpoints are data: nothing in them is executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import SwatcostError, first_line
from swatcost.distributions.checkpoint_files import check_tensor, read_checkpoint
from swatcost.distributions.distribution import Request
from swatcost.network.layer import Layer, parameter_of

if TYPE_CHECKING:
    import numpy
    from torch import Tensor


# Exceptions raised by tensors and states that are not what a checkpoint has.
_DAMAGED = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, MemoryError)


def weights_by_name(request: Request) -> dict[str, numpy.ndarray[Any, Any]]:
    """The checkpoint's magnitudes |w| of each layer's weight, flattened.

    Raises SwatcostError if the file cannot be read, or has no finite tensor of a layer's name and shape.
    """
    tensors = _tensors(request.source)
    return {layer.weight: _magnitudes(layer, tensors, request) for layer in request.layers}


def _magnitudes(layer: Layer, tensors: Mapping[str, Tensor], request: Request) -> numpy.ndarray[Any, Any]:
    name, part = parameter_of(layer.weight)
    short, shape = name.removesuffix("_orig"), request.shapes.get(name)
    parts = [tensors[each] for each in (short, f"{short}_orig") if each in tensors][:1]
    if not parts:
        raise SwatcostError(f"{_named(request.source)} has no tensor called {name}")
    mask = tensors.get(f"{short}_mask")  # torch.nn.utils.prune stores a pruned weight as two tensors
    if short not in tensors and mask is not None and mask.shape == parts[0].shape:
        parts.append(mask)
    elements = layer.weight_elements if shape is None else prod(shape)
    arrays = [_array(each, name, shape, elements, request.source) for each in parts]
    magnitudes: numpy.ndarray[Any, Any] = abs(arrays[0] if len(arrays) == 1 else arrays[0] * arrays[1]).reshape(-1)
    if part:
        magnitudes = magnitudes[part]
    if not (magnitudes < float("inf")).all():
        raise SwatcostError(f"{_named(request.source)}: {name} contains numbers that are not finite")
    return magnitudes


def _array(
    tensor: Tensor, name: str, shape: Sequence[int] | None, elements: int, source: Any
) -> numpy.ndarray[Any, Any]:
    try:
        check_tensor(tensor, name, shape, elements)
    except ValueError as error:
        raise SwatcostError(f"{_named(source)}: {error}") from None
    try:
        array: numpy.ndarray[Any, Any] = tensor.detach().float().cpu().numpy()
    except _DAMAGED as error:
        raise SwatcostError(f"{_named(source)} is not a usable checkpoint: {name}: {first_line(error)}") from None
    return array


def momentum_shares(request: Request) -> dict[str, float]:
    """Each layer's mean |momentum| over its active weights: the largest ones, at the target density."""
    import numpy

    density = 1 - request.required_target()
    weights, buffers = weights_by_name(request), _momentum(request)
    shares = {}
    for layer in request.layers:
        if layer.weight not in buffers:
            raise SwatcostError(f"{_named(request.source)} has no momentum_buffer for {layer.weight}")
        name, shape = f"the momentum of {layer.weight}", request.shapes.get(layer.weight)
        buffer = _array(buffers[layer.weight], name, shape, layer.weight_elements, request.source).reshape(-1)
        count = max(1, round(density * layer.weight_elements))
        active = numpy.argpartition(weights[layer.weight], -count)[-count:]
        shares[layer.weight] = float(abs(buffer[active]).mean())
        if not shares[layer.weight] < float("inf"):
            raise SwatcostError(f"{_named(request.source)}: {name} contains numbers that are not finite")
    return shares


def _momentum(request: Request) -> dict[str, Any]:
    """Momentum buffers by parameter name; an optimizer numbers parameters in the order of model.parameters()."""
    content = _load(request.source)
    optimizer = next((content[key] for key in ("optimizer", "optimizer_state_dict") if key in content), None)
    if not isinstance(optimizer, Mapping) or "state" not in optimizer or "param_groups" not in optimizer:
        raise SwatcostError(f"{_named(request.source)} has no optimizer state (a key 'optimizer' with 'state')")
    try:
        return _buffers_by_name(optimizer, request)
    except _DAMAGED as error:
        raise SwatcostError(f"{_named(request.source)} has no usable optimizer state: {first_line(error)}") from None


def _buffers_by_name(optimizer: Mapping[str, Any], request: Request) -> dict[str, Any]:
    groups, names = optimizer["param_groups"], list(request.parameters)
    order = [number for group in groups for number in group["params"]]
    if len(groups) > 1:  # groups may list the parameters in any order
        names = [name for group in groups for name in group.get("param_names", [])]
        if len(names) != len(order):
            raise ValueError("several parameter groups without parameter names (param_names)")
    if len(order) != len(names):
        raise ValueError(f"it has {len(order)} parameters, but the network has {len(names)}")
    states = {name: optimizer["state"].get(number, {}) for name, number in zip(names, order, strict=True)}
    buffers = {name: state.get("momentum_buffer") for name, state in states.items()}
    if wrong := [name for name, each in buffers.items() if each is not None and not hasattr(each, "detach")]:
        raise ValueError(f"the momentum of {wrong[0]} is not a tensor")
    return {name: each for name, each in buffers.items() if each is not None}


def _tensors(source: Any) -> dict[str, Tensor]:
    """All floating-point tensors of a state dict, by name."""
    content = _load(source)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    found: dict[str, Tensor] = {}
    for key, tensor in content.items():
        if hasattr(tensor, "detach") and tensor.is_floating_point():
            name = str(key).removeprefix("module.")
            if name in found:
                raise SwatcostError(f"{_named(source)} has the tensor {name} twice, also as module.{name}")
            found[name] = tensor
    return found


def _load(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, str | Path):
        raise SwatcostError("this distribution reads a checkpoint: name the file with --from (source=)")
    return read_checkpoint(source)


def _named(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else "the checkpoint"
