"""A name or a file → a Network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from swatcost_models import ZOO, ZooNetwork

from swatcost import cache
from swatcost.errors import SwatcostError
from swatcost.network import Network, read_network
from swatcost.registry import nearest
from swatcost.traces import shipped

ENTRY_POINTS = "swatcost.models"
"""The entry point group through which other packages offer networks: a name for a factory."""

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
    if classes is not None and (isinstance(classes, bool) or not isinstance(classes, int) or classes < 1):
        raise SwatcostError(f"classes {classes!r}: give a positive whole number")
    if name.endswith(".json"):
        if any(each is not None for each in (input_shape, input_dtype, classes)):
            raise SwatcostError(f"{name} is a saved trace: its input and classes are fixed, leave them out")
        return read_network(name)
    asked = {
        "input_shape": None if input_shape is None else list(input_shape),
        "input_dtype": input_dtype,
        "classes": classes,
    }
    if name in ZOO:
        as_defined = not fresh and all(each is None for each in asked.values())
        network = shipped(name) if as_defined else None
        return network or _traced(name, asked, fresh, _of_zoo(ZOO[name]))
    source = name if ":" in name else _offered(name)
    return _traced(source, asked, fresh, _of_source(source))


def _traced(source: str, asked: dict[str, Any], fresh: bool, trace: Callable[..., Network]) -> Network:
    """A trace from the cache, or a new one that is put there."""
    place = source.rpartition(":")[0]
    where = str(Path(place).resolve()) if place.endswith(".py") else str(Path.cwd()) if place else ""
    key = {"source": source, "where": where, **asked, **cache.versions()}
    kept = None if fresh else cache.read(key)
    if kept is not None:
        return kept
    try:
        import torch  # noqa: F401
    except ImportError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SwatcostError(f"tracing {source} needs torch, which cannot be imported: {reason}") from None
    import swatcost.tracing.sources  # noqa: F401  before files are followed: what it reads is in the versions

    with _FILES.followed():
        network = trace(**asked)
    cache.write(key, network, _FILES)
    return network


_FILES = cache.FilesRead()


def _of_zoo(entry: ZooNetwork) -> Callable[..., Network]:
    def trace(input_shape: Any, input_dtype: Any, classes: Any) -> Network:
        from swatcost.tracing.sources import trace_zoo

        return trace_zoo(entry, input_shape, input_dtype, classes)

    return trace


def _of_source(source: str) -> Callable[..., Network]:
    def trace(**asked: Any) -> Network:
        from swatcost.tracing.sources import trace_source

        return trace_source(source, **asked)

    return trace


def _offered(name: str) -> str:
    """Where the factory is that another package offers under this name."""
    from importlib.metadata import entry_points

    offered = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    if name not in offered:
        raise SwatcostError(f"unknown model {name!r}: {nearest(name, [*ZOO, *offered])}; or give {_FORMS}")
    return offered[name]
