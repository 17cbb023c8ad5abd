"""A name, a file or a module → a Network."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from swatcost_models import ZOO

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.registry import nearest
from swatcost.loading.traces import shipped
from swatcost.network import Network, read_network
from swatcost.network.formulas import registered_here
from swatcost.network.layer import LARGEST

if TYPE_CHECKING:
    from torch import nn

ENTRY_POINTS = "swatcost.models"
"""The entry point group through which other packages offer networks: a name for a factory."""

_STARTED = time.time_ns()  # what was changed later may have been imported before
_FORMS = (
    "a zoo name, torchvision:NAME, timm:NAME, package.module:factory, path/file.py:factory or a saved trace (.json)"
)


def load(
    model: str | Path,
    *,
    input_shape: Sequence[int] | None = None,
    input_dtype: str | None = None,
    classes: int | None = None,
    fresh: bool = False,
) -> Network:
    """Loads a network: of the zoo by name, of a library or a factory by where it is, or a saved trace by its path.

    model is a zoo name, a name that another package offers, `torchvision:NAME`, `timm:NAME`,
    `package.module:factory`, `path/file.py:factory`, or the path of a .json file. A factory returns a module, or a
    module and example inputs, or a Network. input_shape is that of one sample, (C, H, W) for images; it and classes
    replace what the network is defined with. input_dtype is torch's name of the input's numbers, such as int64.

    Zoo networks come traced with the package. Others are traced once and kept on disk (in $SWATCOST_CACHE_DIR, or the
    user's cache) until their source, swatcost or torch changes; fresh traces anew.

    Raises SwatcostError for an unknown name, a damaged file, a network that cannot be built, and an input shape
    that it cannot take.
    """
    if not isinstance(model, str | Path):
        raise SwatcostError(f"a {type(model).__name__} is no name or path: trace it first, with swatcost.trace")
    name = str(model)
    if classes is not None and (
        isinstance(classes, bool) or not isinstance(classes, int) or not 1 <= classes <= LARGEST
    ):
        raise SwatcostError(f"classes {classes!r:.40}: give a positive whole number")
    if name.endswith(".json"):
        if any(each is not None for each in (input_shape, input_dtype, classes)):
            raise SwatcostError(f"{name} is a saved trace: its input and classes are fixed, leave them out")
        return read_network(name)
    asked = {
        "input_shape": None if input_shape is None else _whole_numbers(input_shape),
        "input_dtype": None if input_dtype is None else str(input_dtype).removeprefix("torch."),
        "classes": classes,
    }
    if name in ZOO:
        as_defined = not fresh and all(each is None for each in asked.values())
        network = shipped(name) if as_defined else None
        return network or _traced(name, asked, fresh)
    return _traced(place_of(name), asked, fresh)


def loading_words(
    *,
    input_shape: Sequence[int] | None = None,
    input_dtype: str | None = None,
    classes: int | None = None,
    fresh: bool = False,
) -> list[str]:
    """The options of a command line that loads a model so."""
    words = [] if classes is None else ["--classes", str(classes)]
    words += [] if input_shape is None else ["--input-shape", ",".join(map(str, input_shape))]
    return words + ([] if input_dtype is None else ["--input-dtype", input_dtype])


def counted_network(network: Network | str | Path) -> Network:
    """The network, loaded if it was named; SwatcostError if it has nothing to count."""
    if not isinstance(network, Network):
        network = load(network)
    if not network.counted_layers:
        raise SwatcostError(
            f"{network.name} has no convolution, linear layer or product of activations: there is nothing to count"
        )
    return network


def with_input(
    network: Network | str | Path | nn.Module, *, input_shape: Sequence[int] | None, example_inputs: Any
) -> Network | str | Path:
    """The trace of a module, whose input one of the last two says, or what `counted_network` makes a network of.

    Raises SwatcostError as `trace` and `load` do, and for an input that the network has no use for.
    """
    torch_nn = sys.modules.get("torch.nn")  # if it is a module, torch is imported already
    if torch_nn is not None and isinstance(network, torch_nn.Module):
        if input_shape is None and example_inputs is None:
            raise SwatcostError(
                f"{type(network).__name__} is a module: give input_shape, the shape of one sample, or example_inputs, "
                "or trace it first, with swatcost.trace"
            )
        from swatcost.tracing import trace

        return trace(network, example_inputs, input_shape=input_shape)
    if example_inputs is not None:
        raise SwatcostError("example_inputs are for a module, which this is not: leave them out")
    given = cast("Network | str | Path", network)
    if input_shape is None:
        return given
    if isinstance(given, Network):
        raise SwatcostError(f"{given.name} is traced already: its input is fixed, leave input_shape out")
    return load(given, input_shape=input_shape)


def _whole_numbers(shape: Any) -> list[Any]:
    """A shape's sizes as plain ints where they are whole numbers of any kind; what they have to be, tracing says."""
    sizes = list(shape) if isinstance(shape, Iterable) else [shape]
    return [int(each) if isinstance(each, Integral) and not isinstance(each, bool) else each for each in sizes]


def _traced(source: str, asked: dict[str, Any], fresh: bool) -> Network:
    """A trace from the cache, or a new one that is put there.

    Where this process may see something else than others none is kept: with a formula that it registered itself,
    and of a module that it has loaded already and may have changed.
    """
    from swatcost.loading import trace_cache

    key = {"source": source, "where": _where(source), **asked, **trace_cache.versions()}
    lasting = not registered_here() and _place(source) not in sys.modules
    kept = trace_cache.read(key) if lasting and not fresh else None
    if kept is not None:
        return kept
    try:
        import torch  # noqa: F401

        from swatcost.tracing import sources  # before files are followed: what it reads is in the versions
    except ImportError as error:
        raise SwatcostError(f"tracing {source} needs torch, which cannot be imported: {first_line(error)}") from None

    with trace_cache.followed() as files:
        network = sources.trace_zoo(ZOO[source], **asked) if source in ZOO else sources.trace_source(source, **asked)
    if lasting and not registered_here():
        trace_cache.write(key, network, files, _STARTED)
    return network


def _place(source: str) -> str:
    """The module, file or library that a source is in; none for the zoo."""
    return source.rpartition(":")[0]


def _where(source: str) -> list[str]:
    """What else tells which factory is meant: the file, and the folder that it runs in."""
    place = _place(source)
    if place in ("", "torchvision", "timm"):
        return []
    return [os.path.abspath(place) if place.endswith(".py") else "", os.getcwd()]


def place_of(name: str) -> str:
    """Where the factory of a network is that is not of the zoo: `library:name`, `module:factory` or `file.py:factory`.

    Raises SwatcostError for an unknown name.
    """
    return name if ":" in name else _offered(name)


def _offered(name: str) -> str:
    """Where the factory is that another package offers under this name."""
    from importlib.metadata import entry_points

    offered = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    if name.endswith(".py"):
        raise SwatcostError(f"{name} is a file: name the factory in it too, {name}:FACTORY")
    if name not in offered:
        raise SwatcostError(f"unknown model {name!r}: {nearest(name, [*ZOO, *offered])}; or give {_FORMS}")
    return offered[name]
