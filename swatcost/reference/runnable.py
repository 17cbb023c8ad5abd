"""A name → a trainable module, and its trace for the input that it will get."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from swatcost_models import ZOO
from torch import Tensor, nn

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.units import checked_count
from swatcost.loading.hugging_face import PLACE, config_file, trace_or_config
from swatcost.loading.load import place_of
from swatcost.network import Network
from swatcost.tracing import trace
from swatcost.tracing.sources import build_source


@dataclass(frozen=True)
class Runnable:
    """A module with parameters, the shape (C, H, W) of one input sample, and its trace."""

    module: nn.Module
    input_shape: tuple[int, ...]
    network: Network


def runnable(
    model: str, *, classes: int | None = None, input_shape: Sequence[int] | None = None, seed: int = 0
) -> Runnable:
    """Builds and traces MODEL.

    model is what `swatcost.load` takes, except saved traces and ONNX files. seed sets the initial parameters.

    Raises SwatcostError if it cannot be built, or does not take images of input_shape.
    """
    if model.endswith(".onnx"):
        raise SwatcostError(f"{model} is an ONNX file, which is not trained here: name the network itself")
    file = None if model in ZOO else config_file(model)
    if model.startswith(f"{PLACE}:") or (file is not None and not isinstance(trace_or_config(file), Network)):
        raise SwatcostError(f"{model} is a config, which is traced but not run: name a factory, path/file.py:factory")
    if file is not None:
        raise SwatcostError(f"{model} is a trace, which cannot be run: name the network itself")
    if classes is not None:
        classes = checked_count(classes, "classes")
    torch.manual_seed(seed)
    if model in ZOO:
        entry = ZOO[model]
        if entry.input_dtype is not None:
            raise SwatcostError(f"{model} takes tokens, but what is run are images: name a network that takes those")
        try:
            module = entry.build(classes)
        except (RuntimeError, OverflowError, TypeError) as error:
            raise SwatcostError(f"{model} cannot be built with {classes} classes: {first_line(error)}") from None
        shape = tuple(input_shape or entry.input_shape)
    else:
        built = build_source(place_of(model), classes)
        module = built.module
        given = input_shape or built.input_shape or _shape_of(built.inputs)
        if given is None:
            raise SwatcostError(
                f"{model} does not state its input shape: let the factory return (module, example_inputs), or give "
                "input_shape where that can be given"
            )
        shape = tuple(given)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise SwatcostError(f"{model} has no trainable parameters")
    return Runnable(module.train(), shape, trace(module, input_shape=shape, name=model))


def _shape_of(inputs: Any) -> tuple[int, ...] | None:
    """The shape of one sample of example inputs, if those are a single tensor."""
    given = inputs[0] if isinstance(inputs, tuple | list) and len(inputs) == 1 else inputs
    return tuple(given.shape[1:]) if isinstance(given, Tensor) else None
