"""The arguments of a forward call: which they are, the tensors in them or in a result, and copies of them."""

import inspect
from collections import deque
from collections.abc import Iterator, Mapping, MappingView
from copy import deepcopy
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from swatcost.common.errors import SwatcostError, first_line
from swatcost.tracing.module_state import stand_in

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_PLAIN = (
    str, bytes, bytearray, int, float, complex, range, type(None), type, torch.dtype, torch.device, torch.Size,
    ModuleType, FunctionType, BuiltinFunctionType,
)  # fmt: skip


def arguments_of(model: nn.Module, examples: Any) -> Arguments:
    """The arguments by position and by name that example inputs stand for.

    A tuple or list holds the arguments in order, and a mapping or named tuple those by name, if the module's forward
    takes them so; anything else is its only argument, as is a list of tensors if forward declares that it takes one.
    """
    only = (examples,), dict[str, Any]()
    if isinstance(examples, Mapping):
        spread: Arguments = (), dict(examples)
        named = all(isinstance(key, str) for key in examples)
        return spread if named and (_takes(model, spread) or not _takes(model, only)) else only
    if isinstance(examples, PackedSequence) or not isinstance(examples, tuple | list):
        return only
    fields = getattr(examples, "_fields", None)
    if fields is not None:
        spread = (), dict(zip(fields, examples, strict=True))
        return spread if _takes(model, spread) else only
    spread = tuple(examples), {}
    declared = isinstance(examples, list) and _first_takes_a_list(model)
    return only if declared or (_takes(model, only) and not _takes(model, spread)) else spread


def _takes(model: nn.Module, arguments: Arguments) -> bool:
    """Whether the signature of the module's forward takes these arguments; True if it has none to look at."""
    args, kwargs = arguments
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _first_takes_a_list(model: nn.Module) -> bool:
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return False
    return bool(parameters) and "list[" in str(parameters[0].annotation).lower()


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested containers and objects, each once, in order."""
    return [each for each in _objects_in(value) if isinstance(each, Tensor)]


def copied(value: Any, model: nn.Module, *, meta: bool) -> Any:
    """A copy of arguments whose tensors are stand-ins: whatever a forward call changes in it, the caller's stay.

    A tensor or object that occurs twice stays one. The model's own modules, and objects that cannot be copied, such as
    locks, are shared with the caller.
    """
    objects = list(_objects_in(value))  # alive until the copy is made: they are known by their addresses
    memo: dict[int, Any] = {id(module): module for module in model.modules()}
    for each in objects:
        if isinstance(each, Tensor):
            memo.setdefault(id(each), stand_in(each, meta))
        elif isinstance(each, PackedSequence):  # its sizes are read as numbers
            memo[id(each.batch_sizes)] = each.batch_sizes.clone()
        elif isinstance(each, nn.Module):
            memo[id(each)] = memo.get(id(each)) or _copied_module(each, memo, meta=meta)
        elif not _can_be_copied(each):
            memo[id(each)] = each
    try:
        for each in objects:
            if isinstance(each, MappingProxyType):
                memo[id(each)] = MappingProxyType(deepcopy(dict(each), memo))
        return deepcopy(value, memo)
    except RecursionError:
        raise  # nested too deeply, as `trace` says
    except Exception as error:
        raise SwatcostError(
            f"example_inputs cannot be copied ({type(error).__name__}: {first_line(error)}), and a forward call might "
            "change them: give tensors, or containers and objects that copy.deepcopy takes"
        ) from None


def _copied_module(module: nn.Module, memo: dict[int, Any], *, meta: bool) -> nn.Module:
    """A copy of a module outside the model, such as a cache; the module itself if it cannot be copied."""
    for each in (*module.parameters(), *module.buffers()):
        copy = stand_in(each, meta)
        memo.setdefault(id(each), nn.Parameter(copy, each.requires_grad) if isinstance(each, nn.Parameter) else copy)
    try:
        return deepcopy(module, memo)
    except Exception:
        return module


def _can_be_copied(value: Any) -> bool:
    """Whether an object without contents can be copied."""
    if isinstance(value, _PLAIN) or next(_contents(value), None) is not None or isinstance(value, _CONTAINERS):
        return True
    try:
        deepcopy(value)
    except Exception:
        return False
    return True


_CONTAINERS: tuple[Any, ...] = (tuple, list, set, frozenset, deque, Mapping, MappingView)


def _objects_in(value: Any) -> Iterator[Any]:
    """The value and what it contains, depth first, each once; not what is inside tensors and modules."""
    waiting, seen = [value], dict[int, Any]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, _PLAIN):
            continue
        seen[id(each)] = each
        yield each
        if not isinstance(each, Tensor | nn.Module):
            waiting += reversed(list(_contents(each)))


def _contents(value: Any) -> Iterator[Any]:
    """What a container holds, and the values of an object's attributes."""
    if isinstance(value, Mapping):
        yield from value.values()
        yield from value
    elif isinstance(value, _CONTAINERS):
        yield from value
    yield from getattr(value, "__dict__", {}).values()
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot != "__weakref__" and slot != "__dict__" and hasattr(value, slot):
                yield getattr(value, slot)
