"""A name or a file → a Network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swatcost_models import ZOO, ZooNetwork

from swatcost.errors import SwatcostError
from swatcost.network import Network, read_network
from swatcost.registry import nearest

_IN_PYTHON = "trace a network of your own with swatcost.trace in Python, save it, and name its .json file"


def load(model: str | Path, *, input_shape: Sequence[int] | None = None, classes: int | None = None) -> Network:
    """Loads a network of the zoo by name, or a saved trace by the path of its .json file.

    input_shape (C, H, W) and classes replace what the zoo network is defined with.

    Raises SwatcostError for an unknown name, a damaged file, and an input shape that the network cannot take.
    """
    if not isinstance(model, str | Path):
        raise SwatcostError(f"a {type(model).__name__} is no name or path: trace it first, with swatcost.trace")
    name = str(model)
    if name.endswith(".json"):
        return _saved(Path(model), input_shape, classes)
    if name in ZOO:
        return _traced(ZOO[name], input_shape, classes)
    raise SwatcostError(f"unknown model {name!r}: {nearest(name, list(ZOO))}; {_IN_PYTHON}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _saved(path: Path, input_shape: Sequence[int] | None, classes: int | None) -> Network:
    if input_shape is not None or classes is not None:
        raise SwatcostError(f"{path} is a saved trace: its input shape and classes are fixed, leave them out")
    return read_network(path)


def _traced(entry: ZooNetwork, input_shape: Sequence[int] | None, classes: int | None) -> Network:
    if classes is not None and (isinstance(classes, bool) or not isinstance(classes, int) or classes < 1):
        raise SwatcostError(f"classes {classes!r}: give a positive whole number")
    try:
        import torch
    except ImportError as error:
        raise SwatcostError(
            f"tracing {entry.name} needs torch, which cannot be imported: {_first_line(error)}"
        ) from None

    from swatcost.tracing import trace

    try:
        with torch.device("meta"):
            module = entry.build(classes)
    except (RuntimeError, OverflowError) as error:
        raise SwatcostError(f"{entry.name} cannot be built with {classes} classes: {_first_line(error)}") from None
    return trace(module, input_shape=entry.input_shape if input_shape is None else input_shape, name=entry.name)
