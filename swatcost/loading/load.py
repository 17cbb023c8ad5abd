"""Name, file or module → Network."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Unpack

from swatcost_models import ZOO, ZooNetwork

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.registry import nearest
from swatcost.common.units import checked_count
from swatcost.loading.hugging_face import PLACE, checked_settings, config_file, setting_words, trace_or_config
from swatcost.loading.traces import shipped
from swatcost.network import Network
from swatcost.network.conditions import (
    OF_ONE_SIZE,
    ConditionsAsked,
    checked_autocast,
    checked_flag,
    patterns_of,
)
from swatcost.network.formulas import registered_here

ENTRY_POINTS = "swatcost.models"
"""The entry point group through which other packages add networks: each entry names a factory."""

_STARTED = time.time_ns()  # a file changed later may have been imported before the change
_FORMS = (
    "a zoo name, torchvision:NAME, timm:NAME, hf:CLASS, package.module:factory, path/file.py:factory, a Hugging Face "
    "config.json, a saved trace (.json) or an ONNX file (.onnx)"
)


def load(
    model: str | Path,
    *,
    input_shape: Sequence[int] | None = None,
    input_dtype: str | None = None,
    seq_len: int | None = None,
    classes: int | None = None,
    settings: Mapping[str, Any] | None = None,
    loss: str | None = None,
    autocast: str | None = None,
    checkpoint: str | Iterable[str] | None = None,
    offload: bool | None = None,
    hold_outputs: bool | None = None,
    fresh: bool = False,
) -> Network:
    """Loads a network by zoo name, from a library or a factory, from a Hugging Face config, a trace or an ONNX file.

    model is a zoo name, a name that another package registers, `torchvision:NAME`, `timm:NAME`, `hf:CLASS`,
    `package.module:factory`, `path/file.py:factory`, the path of an .onnx file, or of a .json file: a saved trace, or a
    Hugging Face config, for which its folder may be given. A factory returns a module, or a module and example inputs,
    or a Network. CLASS is a class of transformers, or a model type; settings are fields of its config, or of the one in
    a file, such as {"num_hidden_layers": 2}, with dots for a config in a config. Nothing is downloaded.

    input_shape is the shape of one sample, (C, H, W) for images; input_shape and classes override the network's
    defaults. input_dtype is the name of a torch dtype, such as int64. seq_len is the number of tokens in one sample of
    a network that takes sequences of tokens; classes are its vocabulary. loss, autocast, checkpoint and offload are as
    in `swatcost.trace`; loss may also be `path/file.py:factory`, which returns a function of the network's output.

    Traces of zoo networks ship with the package. Other networks are traced once, and the trace is cached on disk (in
    $SWATCOST_CACHE_DIR, or the user's cache) until their source, swatcost or torch changes. fresh ignores cached and
    shipped traces.

    An ONNX file says nothing of training: what is assumed is in the network's `assumed`. input_shape fills the
    dimensions that it leaves open.

    Raises SwatcostError for an unknown name, a damaged file, a network that cannot be built, and an input shape that
    the network does not accept.
    """
    if not isinstance(model, str | Path):
        raise SwatcostError(
            f"{type(model).__name__} is not a name or path: give one, or trace a module with swatcost.trace"
        )
    name = str(model)
    if loss is not None and not isinstance(loss, str):
        raise SwatcostError(
            f"loss {loss!r:.60}: give {name} a loss by name, or FILE:factory; functions are for modules, which "
            "swatcost.trace takes"
        )
    if seq_len is not None and input_shape is not None:
        raise SwatcostError("seq_len is the input_shape of a sequence of tokens: give one of the two")
    source = {
        "input_shape": None if input_shape is None else _whole_numbers(input_shape),
        "input_dtype": None if input_dtype is None else str(input_dtype).removeprefix("torch."),
        "seq_len": None if seq_len is None else checked_count(seq_len, "seq_len"),
        "classes": None if classes is None else checked_count(classes, "classes"),
        "settings": checked_settings(settings),
    }
    conditions: ConditionsAsked = {
        "loss": loss, "autocast": autocast, "checkpoint": checkpoint, "offload": offload, "hold_outputs": hold_outputs,
    }  # fmt: skip
    file = None if name in ZOO else config_file(name)
    given = None if file is None else trace_or_config(file)
    if isinstance(given, Network):
        _refuse(source, f"{name} is a saved trace", *source)
        return with_conditions(given, **conditions)
    if name.endswith(".onnx"):
        return _of_onnx(name, source, conditions)
    is_config = given is not None or _place(name) == PLACE
    if not is_config and source.pop("settings") is not None:
        raise SwatcostError(f"settings are fields of a Hugging Face config, which {name} does not have: leave them out")
    patterns, autocast = patterns_of(checkpoint), checked_autocast(autocast)
    if autocast in OF_ONE_SIZE and not is_config:  # most traces have it beside their own precision
        plain = load(
            name, input_shape=input_shape, input_dtype=input_dtype, seq_len=seq_len, classes=classes,
            settings=settings, loss=loss, checkpoint=patterns, offload=offload, hold_outputs=hold_outputs, fresh=fresh,
        )  # fmt: skip
        if plain.amp is not None:
            return plain.under(autocast)
    asked = {
        **source,
        "loss": loss,
        "autocast": autocast or None,
        "checkpoint": list(patterns) or None,
        "offload": checked_flag("offload", offload) or None,
        "hold_outputs": checked_flag("hold_outputs", hold_outputs) or None,
    }
    if is_config:
        both = autocast in OF_ONE_SIZE
        asked = {**asked, "config": given, "under_amp": both, "autocast": None if both else asked["autocast"]}
        found = _traced(name, asked, fresh)
        return found.under(autocast) if both else found
    if name in ZOO:
        network = None if fresh else _shipped(ZOO[name], asked)
        return _traced(name, asked, fresh) if network is None else network
    return _traced(place_of(name), asked, fresh)


def _refuse(asked: Mapping[str, Any], why: str, *names: str) -> None:
    """Raises SwatcostError that names those of these that are asked for, if there are any."""
    if given := [name for name in names if asked[name] is not None]:
        raise SwatcostError(f"{why}: leave out {' and '.join(given)}, which it fixes")


def _of_onnx(name: str, source: Mapping[str, Any], conditions: ConditionsAsked) -> Network:
    """The network in an ONNX file, which has no training step whose conditions could be chosen."""
    _refuse(source, f"{name} is an ONNX file", "input_dtype", "classes", "settings")
    for option, value in conditions.items():
        if value and value != "none":
            raise SwatcostError(
                f"{name} is an ONNX file, which holds no training step: leave out {option}, or trace the module"
            )
    from swatcost.importing import read_onnx

    tokens, shape = source["seq_len"], source["input_shape"]
    return read_onnx(name, shape if tokens is None else [tokens])


def _shipped(entry: ZooNetwork, asked: dict[str, Any]) -> Network | None:
    """The shipped trace, scaled to the number of tokens asked for; None if the request is for another one.

    Raises SwatcostError for more tokens than the network has positions for.
    """
    tokens, shape = asked["seq_len"], asked["input_shape"]
    if tokens is not None and entry.input_dtype is not None:
        shape = [tokens]
    elif shape is None and tokens is None:
        shape = list(entry.input_shape)
    of_tokens = entry.input_dtype is not None and shape is not None and len(shape) == 1 and type(shape[0]) is int
    if of_tokens and entry.context is not None and shape[0] > entry.context:
        raise SwatcostError(
            f"{shape[0]:,} tokens: {entry.name} has {entry.context:,} learned positions; give fewer tokens"
        )
    others = asked.keys() - {"input_shape", "input_dtype", "seq_len", "loss"}
    as_shipped = of_tokens or shape == list(entry.input_shape)
    if not as_shipped or any(asked[key] is not None for key in others):
        return None
    if asked["input_dtype"] not in (None, entry.input_dtype):
        return None
    network = shipped(entry.name, shape[0] if of_tokens else None)
    return network if network is not None and asked["loss"] in (None, network.conditions.loss) else None


def loading_words(
    *,
    input_shape: Sequence[int] | None = None,
    input_dtype: str | None = None,
    seq_len: int | None = None,
    classes: int | None = None,
    settings: Mapping[str, Any] | None = None,
    loss: str | None = None,
    checkpoint: Sequence[str] | None = None,
    fresh: bool = False,
) -> list[str]:
    """These arguments of `load` as command-line options."""
    words = [] if classes is None else ["--classes", str(classes)]
    words += [] if input_shape is None else ["--input-shape", ",".join(map(str, input_shape))]
    words += [] if input_dtype is None else ["--input-dtype", input_dtype]
    words += [] if seq_len is None else ["--seq-len", str(seq_len)]
    words += setting_words(settings)
    words += [] if loss is None else ["--loss", loss]
    return words + [word for pattern in checkpoint or () for word in ("--checkpoint", pattern)]


def with_conditions(network: Network, **conditions: Unpack[ConditionsAsked]) -> Network:
    """The network, if it was traced under these conditions; None stands for any.

    Raises SwatcostError if it was not: a trace is of one step, and plain data.
    """
    has, checkpoint = network.conditions, conditions.get("checkpoint")
    wanted = (
        ("loss", conditions.get("loss"), has.loss),
        ("checkpoint", None if checkpoint is None else patterns_of(checkpoint), has.checkpoint),
        ("offload", checked_flag("offload", conditions.get("offload")), has.offload),
        ("hold_outputs", checked_flag("hold_outputs", conditions.get("hold_outputs")), has.holds_outputs),
    )
    for name, value, traced in wanted:
        if value is not None and value != traced:
            asked, so = (", ".join(each) if isinstance(each, tuple) else each for each in (value, traced))
            raise SwatcostError(
                f"{name} {asked!r:.60}: {network.name} was traced {f'with {so!r:.60}' if so else 'without'}; "
                f"give {name} when it is traced"
            )
    autocast = conditions.get("autocast")
    return network if autocast is None else network.under(autocast)


def _whole_numbers(shape: Any) -> list[Any]:
    """The sizes of a shape, integers of any type as ints; other values are left for tracing to reject."""
    sizes = list(shape) if isinstance(shape, Iterable) else [shape]
    return [int(each) if isinstance(each, Integral) and not isinstance(each, bool) else each for each in sizes]


def _traced(source: str, asked: dict[str, Any], fresh: bool) -> Network:
    """A trace from the cache, or a new one that is added to it.

    The cache is not used where another process may get a different trace: if this one registered a formula itself, or
    if it has already loaded the module and may have changed it.
    """
    from swatcost.loading import trace_cache

    imported = source, asked["loss"] or ""
    key = {"source": source, "where": [*map(_where, imported)], **asked, **trace_cache.versions()}
    if "config" in asked:
        key["transformers"] = trace_cache.version_of("transformers")
    cacheable = not registered_here() and not any(_place(each) in sys.modules for each in imported)
    cached = trace_cache.read(key) if cacheable and not fresh else None
    if cached is not None:
        return cached
    try:
        import torch  # noqa: F401

        # Before reads are recorded: versions() covers their own files.
        from swatcost.tracing import hugging_face, sources
    except ImportError as error:
        raise SwatcostError(f"tracing {source} needs torch, which cannot be imported: {first_line(error)}") from None

    with trace_cache.record_reads() as files:
        if source in ZOO:
            network = sources.trace_zoo(ZOO[source], **asked)
        elif "config" in asked:
            network = hugging_face.trace_config(source, **asked)
            files.forget_packages()  # some thousands
        else:
            network = sources.trace_source(source, **asked)
    if cacheable and not registered_here():
        trace_cache.write(key, network, files, _STARTED)
    return network


def _place(source: str) -> str:
    """The module, file or library that a source is in; empty for the zoo."""
    return source.rpartition(":")[0]


def _where(source: str) -> list[str]:
    """What else identifies a factory: its file, and the working directory."""
    place = _place(source)
    if place in ("", "torchvision", "timm", PLACE):
        return []
    return [os.path.abspath(place) if place.endswith(".py") else "", os.getcwd()]


def place_of(name: str) -> str:
    """The factory of a network outside the zoo: `library:name`, `module:factory` or `file.py:factory`.

    Raises SwatcostError for an unknown name.
    """
    return name if ":" in name else _registered(name)


def _registered(name: str) -> str:
    """The factory that another package registers under this name."""
    from importlib.metadata import entry_points

    registered = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    if name.endswith(".py"):
        raise SwatcostError(f"{name} is a file: add the name of its factory, {name}:FACTORY")
    if name not in registered:
        raise SwatcostError(f"unknown model {name!r}: {nearest(name, [*ZOO, *registered])}; or give {_FORMS}")
    return registered[name]
