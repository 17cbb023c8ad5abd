"""The random generators that a forward pass may use: seeded for a run, looked at after it, and restored."""

import contextlib
import pickle
import random
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

_CONTAINERS = (list, tuple, dict)


class Generators:
    """The generators of a network: Python's, numpy's and torch's own ones, and those that its modules or files hold.

    Numbers that Python and numpy draw are values; those that torch draws are in tensors, until one is read.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        model = model or nn.Module()  # without one, those of the process
        devices = sorted({each.device.index for each in model.parameters() if each.is_cuda})
        of_torch = [torch.default_generator, *(torch.cuda.default_generators[each] for each in devices)]
        found: list[Any] = [random._inst, _of_numpy(), *of_torch, *_held(model)]
        self._all: list[Any] = list({id(each): each for each in found if isinstance(each, _kinds())}.values())
        self._before: list[Any] = []

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Restores the state of all afterwards."""
        states = [_state(each) for each in self._all]
        try:
            yield
        finally:
            for each, state in zip(self._all, states, strict=True):
                _set_state(each, state)

    def seed(self, number: int) -> None:
        """Gives all of them a seed, from which `drawn` looks."""
        for each in self._all:
            if isinstance(each, torch.Generator):
                each.manual_seed(number)
            elif hasattr(each, "bit_generator"):
                each.bit_generator.state = type(each.bit_generator)(number).state
            else:
                each.seed(number)
        self._before = [_state(each) for each in self._all]

    def drawn(self) -> tuple[bool, bool]:
        """Whether values, and whether tensors, were drawn since the seed was given."""
        with _disable_current_modes():  # the states of torch's generators are tensors
            states = [_state(each) for each in self._all]
            pairs = zip(self._all, states, self._before, strict=True)
            used = [each for each, state, before in pairs if not _same(state, before)]
        tensors = [isinstance(each, torch.Generator) for each in used]
        return not all(tensors), any(tensors)


def _of_numpy() -> Any:
    """The generator behind numpy's functions, which is made when it is first used; None if numpy is not loaded."""
    return import_module("numpy.random").mtrand._rand if "numpy" in sys.modules else None


def _kinds() -> tuple[type, ...]:
    numpy = sys.modules.get("numpy.random")
    return (random.Random, torch.Generator, *((numpy.RandomState, numpy.Generator) if numpy else ()))


def _held(model: nn.Module) -> Iterator[Any]:
    """The generators among the attributes of modules and the global variables of the files that define them."""
    parts, kinds = list(model.modules()), _kinds()
    for part in parts:
        for value in vars(part).values():
            if isinstance(value, _CONTAINERS) and value:
                yield from filter(_is_usable, _of(kinds, value.values() if isinstance(value, dict) else value))
            elif isinstance(value, kinds) and _is_usable(value):
                yield value
    forwards = [getattr(kind, "forward", None) for kind in {type(part) for part in parts}]
    scopes = {id(scope): scope for each in forwards if (scope := getattr(each, "__globals__", None)) is not None}
    for scope in scopes.values():
        yield from filter(_is_usable, _of(kinds, list(scope.values())))


def _of(kinds: tuple[type, ...], values: Iterable[Any]) -> list[Any]:
    return [each for each in values if isinstance(each, kinds)]


def _is_usable(generator: Any) -> bool:
    """Whether a generator can be seeded and restored: not one of the system's own, or of a kind without seeds."""
    with contextlib.suppress(Exception):
        _set_state(generator, _state(generator))
        legacy = hasattr(generator, "get_state") and not isinstance(generator, torch.Generator)
        return not legacy or generator.get_state()[0] == "MT19937"
    return False


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.bit_generator.state if hasattr(generator, "bit_generator") else generator.get_state()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    elif hasattr(generator, "bit_generator"):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


def _same(state: Any, other: Any) -> bool:
    if isinstance(state, torch.Tensor):
        return torch.equal(state, other)
    return pickle.dumps(state) == pickle.dumps(other)  # numpy's states hold arrays
