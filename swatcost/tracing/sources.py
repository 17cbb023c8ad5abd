"""Networks by name: builds and traces networks of the zoo, of other libraries and of a user's module or file."""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Unpack

import torch
from swatcost_models import ZooNetwork
from torch import nn

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.registry import nearest
from swatcost.network import Network
from swatcost.network.conditions import ConditionsAsked
from swatcost.tracing import trace
from swatcost.tracing.loss import NamedLoss
from swatcost.tracing.module_state import process_state
from swatcost.tracing.random_state import Generators

_IMAGENET = (3, 224, 224)


@dataclass(frozen=True)
class Built:
    """A factory's result: a module, with example inputs or the shape of one sample where known."""

    module: nn.Module
    inputs: Any = None
    input_shape: tuple[int, ...] | None = None


def trace_zoo(
    entry: ZooNetwork,
    input_shape: Sequence[int] | None = None,
    input_dtype: str | None = None,
    seq_len: int | None = None,
    classes: int | None = None,
    batch_size: int | None = None,
    **conditions: Unpack[ConditionsAsked],
) -> Network:
    """Traces a network of the zoo."""
    if seq_len is not None:
        if entry.input_dtype is None:
            raise SwatcostError(without_tokens(entry.name, seq_len))
        input_shape = (seq_len,)
    conditions["loss"] = loss_named(conditions.get("loss"))
    try:
        with torch.device("meta"):
            module = entry.build(classes)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise SwatcostError(f"{entry.name} cannot be built with {classes} classes: {first_line(error)}") from None
    shape = entry.input_shape if input_shape is None else input_shape
    dtype = input_dtype or entry.input_dtype
    return trace(module, input_shape=shape, input_dtype=dtype, batch_size=batch_size, name=entry.name, **conditions)


def trace_source(
    source: str,
    *,
    input_shape: Sequence[int] | None = None,
    input_dtype: str | None = None,
    seq_len: int | None = None,
    classes: int | None = None,
    **conditions: Unpack[ConditionsAsked],
) -> Network:
    """Traces the network that `library:name`, `package.module:factory` or `path/file.py:factory` names.

    A factory is called with num_classes=classes, if given, or without arguments. It returns a module, or a module
    and example inputs for it (as `trace` takes them), or a Network. The name may also refer to a module itself. The
    module is built on the meta device where possible. The input comes from the first of these that defines it:
    input_shape or seq_len, the factory, the module (`dummy_inputs` of Hugging Face models, `default_cfg` of timm
    models).

    Raises SwatcostError, with a one-line message, if any step fails. Torch's global settings and the random generators
    are afterwards as they were, whatever the factory does.
    """
    with _importing(source), process_state(), Generators().restored():
        built = _built(source, classes, meta=True)
        if isinstance(built, Network):
            if any(each is not None for each in (input_shape, input_dtype, seq_len, classes, *conditions.values())):
                raise SwatcostError(
                    f"{source} is already traced: leave out what a trace fixes, such as input_shape and classes"
                )
            return built
        conditions["loss"] = loss_named(conditions.get("loss"))
        if seq_len is not None:
            input_shape, input_dtype = (seq_len,), input_dtype or "int64"
        if input_shape is None and built.inputs is None and built.input_shape is None:
            raise SwatcostError(
                f"{source} does not define an input shape: give --input-shape (input_shape=), "
                "or let the factory return (module, example_inputs)"
            )
        try:
            network = _traced(source, built, input_shape, input_dtype, conditions)
        except SwatcostError:
            if not any(tensor.is_meta for tensor in (*built.module.parameters(), *built.module.buffers())):
                raise
            built = _built(source, classes, meta=False)  # it may read values
            assert isinstance(built, Built)
            network = _traced(source, built, input_shape, input_dtype, conditions)
    if seq_len is not None and not network.looked_up(reads_input=True):
        raise SwatcostError(without_tokens(source, seq_len))
    return network


def without_tokens(name: str, seq_len: int) -> str:
    """Why a network whose inputs are not tokens is refused a number of them."""
    return f"seq_len {seq_len}: {name} does not take tokens, give --input-shape (input_shape=)"


def build_source(source: str, classes: int | None = None) -> Built:
    """The module that `trace_source` traces, with real parameters, and its input where it defines one.

    Raises SwatcostError if it cannot be built, or if the source gives a Network instead of a module.
    """
    with _importing(source):
        built = _built(source, classes, meta=False)
    if isinstance(built, Network):
        raise SwatcostError(f"{source} gives a trace, which cannot be run: let it return a module")
    return built


def loss_named(loss: str | None) -> Any:
    """The loss of this name, or the one that `path/file.py:factory` or `package.module:factory` returns."""
    if loss is None or ":" not in loss:
        return loss
    place, _, name = loss.rpartition(":")
    with _importing(loss):
        factory = _attribute(loss, _file(Path(place)) if place.endswith(".py") else _imported(place, place), name)
        try:
            found = factory()
        except Exception as error:
            raise SwatcostError(f"{loss} raised {type(error).__name__}: {first_line(error)}") from error
    if not callable(found):
        raise SwatcostError(
            f"{loss} returned a {type(found).__name__}: let it return a function of the network's output"
        )
    return NamedLoss(loss, found)


def _traced(
    source: str,
    built: Built,
    input_shape: Sequence[int] | None,
    input_dtype: str | None,
    conditions: ConditionsAsked,
) -> Network:
    inputs = built.inputs if input_shape is None else None
    shape = built.input_shape if input_shape is None and inputs is None else input_shape
    return trace(built.module, inputs, input_shape=shape, input_dtype=input_dtype, name=source, **conditions)


def _built(source: str, classes: int | None, *, meta: bool) -> Built | Network:
    try:
        return _given(source, classes, meta)
    except (SwatcostError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise SwatcostError(f"{source} raised {type(error).__name__}: {first_line(error)}") from error


def _given(source: str, classes: int | None, meta: bool) -> Built | Network:
    place, _, name = source.rpartition(":")
    if place == "torchvision":
        return _of_torchvision(name, classes, meta)
    if place == "timm":
        return _of_timm(name, classes, meta)
    module = _file(Path(place)) if place.endswith(".py") else _imported(place, place)
    return _called(source, _attribute(source, module, name), {} if classes is None else {"num_classes": classes}, meta)


def _attribute(source: str, module: Any, name: str) -> Any:
    """What a module has by this name, which may have dots."""
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
            known = nearest(name, names) if names else "it has no function"
            raise SwatcostError(f"{source.rpartition(':')[0]} has no {name!r}: {known}") from None
    return found


def _called(source: str, factory: Any, arguments: dict[str, Any], meta: bool) -> Built | Network:
    """The factory's result: on the meta device if `meta`, if it can be built there and if no values are needed."""
    if isinstance(factory, nn.Module | Network):
        if arguments:
            raise SwatcostError(f"{source} is already built: leave out classes, which are fixed")
        return _understood(source, factory)
    if not callable(factory):
        raise SwatcostError(f"{source} is of type {type(factory).__name__}, not a network factory")
    if meta:
        with contextlib.suppress(Exception, SystemExit), torch.device("meta"):  # or else it is built for real
            built = _understood(source, factory(**arguments))
            if isinstance(built, Network) or not _carries_masks(built.module):
                return built
    return _understood(source, factory(**arguments))


def _carries_masks(module: nn.Module) -> bool:
    """Whether it carries pruning masks, whose zeros only real values show."""
    return any(name.endswith("_mask") for name, _ in module.named_buffers())


def _understood(source: str, given: Any) -> Built | Network:
    if isinstance(given, Network):
        return given
    module, *rest = given if isinstance(given, tuple) and given else (given,)
    if not isinstance(module, nn.Module) or len(rest) > 1:
        raise SwatcostError(
            f"{source} returned a value of type {type(given).__name__}: "
            "it has to return a module, or a module and its example inputs"
        )
    if rest:
        return Built(module, inputs=rest[0])
    return Built(module, inputs=_dummy_inputs(module), input_shape=_shape_of_image(module))


def _dummy_inputs(module: nn.Module) -> dict[str, Any] | None:
    """The dummy inputs of Hugging Face's language models; its image models have some too, but do not accept them."""
    dummy, main = getattr(module, "dummy_inputs", None), getattr(module, "main_input_name", None)
    return dummy if isinstance(dummy, dict) and dummy and main in (None, *dummy) else None


def _shape_of_image(module: nn.Module) -> tuple[int, ...] | None:
    """The input shape in timm's `default_cfg`, or in the config of Hugging Face's image models."""
    cfg, config = getattr(module, "default_cfg", None), getattr(module, "config", None)
    if isinstance(cfg, dict) and cfg.get("input_size"):
        return tuple(cfg["input_size"])
    channels, side = getattr(config, "num_channels", None), getattr(config, "image_size", None)
    return (channels, side, side) if isinstance(channels, int) and isinstance(side, int) else None


def _of_torchvision(name: str, classes: int | None, meta: bool) -> Built | Network:
    models = _imported("torchvision.models", "torchvision")
    if name not in (names := models.list_models()):
        raise SwatcostError(f"torchvision has no model {name!r}: {nearest(name, names)}")
    arguments = {"weights": None} | ({} if classes is None else {"num_classes": classes})
    built = _called(f"torchvision:{name}", lambda: models.get_model(name, **arguments), {}, meta)
    if isinstance(built, Network):
        return built
    size = _IMAGENET
    with contextlib.suppress(ValueError, AttributeError):  # not every model has weights that define an input size
        side = models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
        size = (3, side, side)
    return Built(built.module, input_shape=size)


def _of_timm(name: str, classes: int | None, meta: bool) -> Built | Network:
    timm = _imported("timm", "timm")
    if not timm.is_model(name):
        raise SwatcostError(f"timm has no model {name!r}: {nearest(name, timm.list_models())}")
    arguments = {} if classes is None else {"num_classes": classes}
    return _called(f"timm:{name}", lambda: timm.create_model(name, pretrained=False, **arguments), {}, meta)


def _imported(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and f"{module}.".startswith(f"{absent}."):
            raise SwatcostError(f"{what} is not installed, or not on the path: no module named {absent!r}") from None
        kind = "" if isinstance(error, ModuleNotFoundError) else f"{type(error).__name__}: "
        raise SwatcostError(f"{what} cannot be imported: {kind}{first_line(error)}") from error


def _file(path: Path) -> Any:
    """Runs a Python file as a module with a unique name."""
    if not path.is_file():
        raise SwatcostError(f"cannot read {path}: no such file")
    name = f"{path.stem}_{blake2b(os.fsencode(os.path.abspath(path)), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SwatcostError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look for it there
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise SwatcostError(f"{path} cannot be imported: {type(error).__name__}: {first_line(error)}") from error
    return module


@contextlib.contextmanager
def _importing(source: str) -> Iterator[None]:
    """Finds modules beside the named file, or else in the working directory, as Python itself would.

    Modules imported from beside a file are unloaded afterwards, so that they are read again next time. Prints go to
    standard error: standard output is for data.
    """
    place = source.rpartition(":")[0]
    of_file = place.endswith(".py")
    beside = os.path.dirname(os.path.abspath(place)) if of_file else os.getcwd()
    before = set(sys.modules)
    sys.path.insert(0, beside)
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr), contextlib.chdir(os.getcwd()):  # which the file's code may change
            yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(beside)
        for name in set(sys.modules) - before if of_file else ():
            path = getattr(sys.modules[name], "__file__", None)
            if path and Path(path).is_relative_to(beside) and "site-packages" not in path:
                del sys.modules[name]
