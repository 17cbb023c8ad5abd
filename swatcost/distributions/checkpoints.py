"""Numbers from checkpoints: sparsities of weights, and layers' momentum. Checkpoints are data, nothing in them runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swatcost.distributions.distribution import Spread
from swatcost.errors import SwatcostError

if TYPE_CHECKING:
    import numpy


def weights_by_name(request: Spread) -> dict[str, numpy.ndarray[Any, Any]]:
    """The checkpoint's magnitudes |w| of each layer's weight, flattened.

    Raises SwatcostError when the file cannot be read, or has no tensor of a layer's name and size.
    """
    tensors = _read(request.source)
    arrays = {}
    for layer in request.layers:
        if layer.weight not in tensors:
            raise SwatcostError(f"{request.source} has no tensor called {layer.weight}")
        array = abs(tensors[layer.weight]).reshape(-1)
        if array.size != layer.weight_elements:
            raise SwatcostError(
                f"{request.source}: {layer.weight} has {array.size} elements, the network's has {layer.weight_elements}"
            )
        arrays[layer.weight] = array
    return arrays


def momentum_shares(request: Spread) -> dict[str, float]:
    """Each layer's mean |momentum| over its active weights: the largest ones, as many as the target keeps."""
    import numpy

    density = 1 - request.required_target()
    weights, buffers = weights_by_name(request), _momentum(request)
    shares = {}
    for layer in request.layers:
        if layer.weight not in buffers:
            raise SwatcostError(f"{request.source} has no momentum_buffer of {layer.weight}")
        count = max(1, round(density * layer.weight_elements))
        active = numpy.argpartition(weights[layer.weight], -count)[-count:]
        shares[layer.weight] = float(abs(buffers[layer.weight].reshape(-1)[active]).mean())
    return shares


def _momentum(request: Spread) -> dict[str, Any]:
    """Momentum buffers by parameter name; an optimizer numbers parameters in the order of model.parameters()."""
    content = _load(request.source)
    optimizer = next((content[key] for key in ("optimizer", "optimizer_state_dict") if key in content), None)
    if not isinstance(optimizer, Mapping) or "state" not in optimizer or "param_groups" not in optimizer:
        raise SwatcostError(f"{request.source} holds no optimizer state (a key 'optimizer' with 'state')")
    order = [number for group in optimizer["param_groups"] for number in group["params"]]
    if len(order) != len(request.parameters):
        raise SwatcostError(
            f"{request.source}: the optimizer has {len(order)} parameters, the network {len(request.parameters)}"
        )
    named = zip(request.parameters, order, strict=True)
    return {
        name: optimizer["state"][number]["momentum_buffer"].float().numpy()
        for name, number in named
        if "momentum_buffer" in optimizer["state"].get(number, {})
    }


def _read(source: Any) -> dict[str, numpy.ndarray[Any, Any]]:
    """All tensors of a state dict by name, as arrays of floats."""
    if isinstance(source, str | Path) and Path(source).suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return {name: array.astype("float32") for name, array in load_file(source).items()}
        except (OSError, SafetensorError, ValueError) as error:
            raise SwatcostError(f"{source} is no usable checkpoint: {error}") from None
    content = _load(source)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    return {
        str(name).removeprefix("module."): tensor.detach().float().cpu().numpy()
        for name, tensor in content.items()
        if hasattr(tensor, "detach") and tensor.is_floating_point()
    }


def _load(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if source is None:
        raise SwatcostError("this distribution reads a checkpoint: name it with --from (source=)")
    import pickle

    import torch

    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SwatcostError(f"cannot read {source}: {error.strerror or error}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SwatcostError(f"{source} is no usable checkpoint: {reason}") from None
    if not isinstance(content, Mapping):
        raise SwatcostError(f"{source} holds a {type(content).__name__}, no state dict")
    return content
