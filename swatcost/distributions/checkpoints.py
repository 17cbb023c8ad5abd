"""Weight magnitudes and momentum from checkpoints. Checkpoints are data: nothing in them is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import SwatcostError, first_line
from swatcost.distributions.distribution import Request
from swatcost.network.layer import parameter_of

if TYPE_CHECKING:
    import numpy

# Exceptions raised on reading a file that is damaged or not a checkpoint.
_DAMAGED = (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError)


def weights_by_name(request: Request) -> dict[str, numpy.ndarray[Any, Any]]:
    """The checkpoint's magnitudes |w| of each layer's weight, flattened.

    Raises SwatcostError if the file cannot be read, or has no finite tensor of a layer's name and size.
    """
    tensors = _read(request.source)
    return {
        layer.weight: _magnitudes(layer.weight, layer.weight_elements, tensors, request) for layer in request.layers
    }


def _magnitudes(
    weight: str, elements: int, tensors: Mapping[str, numpy.ndarray[Any, Any]], request: Request
) -> numpy.ndarray[Any, Any]:
    name, part = parameter_of(weight)
    array = _pruned(name.removesuffix("_orig"), tensors)
    if array is None:
        raise SwatcostError(f"{_named(request.source)} has no tensor called {name}")
    if part:
        array = array[part]
    if array.size != elements:
        raise SwatcostError(f"{_named(request.source)}: {name} has {array.size} elements, not the network's {elements}")
    if not (array < float("inf")).all():
        raise SwatcostError(f"{_named(request.source)}: {name} contains numbers that are not finite")
    return array


def _pruned(name: str, tensors: Mapping[str, numpy.ndarray[Any, Any]]) -> numpy.ndarray[Any, Any] | None:
    """A weight's magnitudes, flattened; torch.nn.utils.prune stores a pruned weight as two tensors."""
    if name in tensors:
        return _magnitude(tensors[name])
    original, mask = tensors.get(f"{name}_orig"), tensors.get(f"{name}_mask")
    if original is None or mask is None or original.shape != mask.shape:
        return None if original is None else _magnitude(original)
    return _magnitude(original * mask)


def _magnitude(array: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    """Magnitudes, flattened."""
    magnitudes: numpy.ndarray[Any, Any] = abs(array).reshape(-1)
    return magnitudes


def momentum_shares(request: Request) -> dict[str, float]:
    """Each layer's mean |momentum| over its active weights: the largest ones, at the target density."""
    import numpy

    density = 1 - request.required_target()
    weights, buffers = weights_by_name(request), _momentum(request)
    shares = {}
    for layer in request.layers:
        if layer.weight not in buffers:
            raise SwatcostError(f"{_named(request.source)} has no momentum_buffer for {layer.weight}")
        if buffers[layer.weight].size != layer.weight_elements:
            raise SwatcostError(
                f"{_named(request.source)}: the momentum of {layer.weight} has {buffers[layer.weight].size} elements, "
                f"not {layer.weight_elements}"
            )
        count = max(1, round(density * layer.weight_elements))
        active = numpy.argpartition(weights[layer.weight], -count)[-count:]
        shares[layer.weight] = float(abs(buffers[layer.weight].reshape(-1)[active]).mean())
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
    return {
        name: state["momentum_buffer"].float().numpy()
        for name, state in states.items()
        if state.get("momentum_buffer") is not None
    }


def _read(source: Any) -> dict[str, numpy.ndarray[Any, Any]]:
    """All floating-point tensors of a state dict as arrays, by name."""
    content = _load(source)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    try:
        return {
            str(name).removeprefix("module."): tensor.detach().float().cpu().numpy()
            for name, tensor in content.items()
            if hasattr(tensor, "detach") and tensor.is_floating_point()
        }
    except _DAMAGED as error:
        raise SwatcostError(f"{_named(source)} is not a usable checkpoint: {first_line(error)}") from None


def _load(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, str | Path):
        raise SwatcostError("this distribution reads a checkpoint: name the file with --from (source=)")
    import pickle
    import warnings

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if Path(source).suffix == ".safetensors":
            content = load_file(source)
        else:
            with warnings.catch_warnings(action="ignore"):
                content = torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SwatcostError(f"cannot read {source}: {error.strerror or first_line(error)}") from None
    except (*_DAMAGED, pickle.UnpicklingError, SafetensorError) as error:
        raise SwatcostError(f"{source} is not a usable checkpoint: {first_line(error)}") from None
    if not isinstance(content, Mapping):
        raise SwatcostError(f"{source} holds a {type(content).__name__}, not a state dict")
    return content


def _named(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else "the checkpoint"
