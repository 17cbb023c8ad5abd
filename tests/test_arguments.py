"""The caller's objects: what counts as input, and that a forward call changes copies only."""

from __future__ import annotations

import threading
from collections import UserDict, namedtuple
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import swatcost


def made() -> Tensor:
    return torch.randn(2, 5, 8)


@dataclass
class Fields:
    keys: Tensor = field(default_factory=made)
    values: Tensor = field(default_factory=made)


class Slots:
    __slots__ = ("keys", "values")

    def __init__(self) -> None:
        self.keys, self.values = made(), made()


class WithLock:
    """Something that cannot be copied does not keep the rest from being copied."""

    def __init__(self) -> None:
        self.keys, self.values, self.lock = made(), made(), threading.Lock()


class Buffers(nn.Module):
    """A cache that is a module, with its numbers in buffers, as torchtune's."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("keys", made())
        self.register_buffer("values", made())


@dataclass
class Lists:
    keys: list[Tensor] = field(default_factory=lambda: [made()])
    values: list[Tensor] = field(default_factory=lambda: [made()])


class Cache:
    """A cache of layers, as Hugging Face's."""

    def __init__(self) -> None:
        self.layers, self.seen = [Fields()], 5

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += keys.shape[1]
        return by_attribute(self.layers[0], keys, values)


def by_attribute(cache: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    cache.keys, cache.values = torch.cat([cache.keys, keys], 1), torch.cat([cache.values, values], 1)
    return cache.keys, cache.values


def by_item(cache: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    cache[0], cache[1] = torch.cat([cache[0], keys], 1), torch.cat([cache[1], values], 1)
    return cache[0], cache[1]


def by_append(cache: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    cache.keys.append(keys)
    cache.values.append(values)
    return torch.cat(cache.keys, 1), torch.cat(cache.values, 1)


def in_place(cache: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    cache.keys[:, :3], cache.values[:, :3] = keys, values
    return torch.cat([keys, cache.keys], 1), torch.cat([values, cache.values], 1)


class Attention(nn.Module):
    def __init__(self, update: Callable[..., tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.qkv, self.update = nn.Linear(8, 24), update

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        query, keys, values = self.qkv(x).chunk(3, -1)
        keys, values = self.update(cache, keys, values)
        return query @ keys.transpose(1, 2) @ values


def contents(value: Any) -> list[Tensor]:
    """The tensors of a cache, however it keeps them."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    elif hasattr(value, "layers"):
        value = [*value.layers, torch.tensor(value.seen)]
    elif hasattr(value, "keys"):
        value = [value.keys, value.values]
    return [tensor for each in value for tensor in contents(each)]


@pytest.mark.parametrize(
    ("update", "make"),
    [
        (by_item, lambda: [made(), made()]),
        (by_item, lambda: {0: made(), 1: made()}),
        (by_item, lambda: UserDict({0: made(), 1: made()})),
        (by_attribute, Fields),
        (by_attribute, Slots),
        (by_attribute, Buffers),
        (by_attribute, WithLock),
        (by_attribute, lambda: SimpleNamespace(keys=made(), values=made())),
        (by_append, Lists),
        (in_place, Fields),
        (in_place, Buffers),
        (lambda cache, keys, values: cache.update(keys, values), Cache),
    ],
)
@pytest.mark.parametrize("by_name", [False, True])
def test_a_cache_stays_as_it_was(update: Callable[..., Any], make: Callable[[], Any], by_name: bool) -> None:
    module, cache = Attention(update), make()
    before = [tensor.clone() for tensor in contents(cache)]
    x = torch.randn(2, 3, 8)
    networks = [swatcost.trace(module, {"x": x, "cache": cache} if by_name else (x, cache)) for _ in range(3)]
    assert networks[0] == networks[1] == networks[2]
    # 3 tokens · 8 · 24, and 3 queries by 5 + 3 keys and values of 8
    assert swatcost.estimate(networks[0], convention="exact").costs.forward.dense == 3 * 8 * 24 + 2 * 3 * 8 * 8
    after = contents(cache)
    assert len(after) == len(before)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


class Reads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, batch: Any) -> Tensor:
        return self.linear(batch["x"] if isinstance(batch, Mapping) else batch.x)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor, y: Any = None) -> Tensor:
        return self.linear(x)


Pair = namedtuple("Pair", "x y")
X = torch.randn(6, 8)


@dataclass(frozen=True)
class Frozen:
    x: Tensor


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (Reads(), {"x": X}),
        (Reads(), UserDict(x=X)),
        (Reads(), MappingProxyType({"x": X})),
        (Reads(), ({"x": X},)),
        (Reads(), {"batch": {"x": X}}),
        (Reads(), Frozen(X)),
        (Reads(), (Frozen(X),)),
        (Reads(), Pair(X, X)),
        (Reads(), SimpleNamespace(x=X, other=[1, "two", None])),
        (Named(), {"x": X}),
        (Named(), UserDict(x=X)),
        (Named(), MappingProxyType({"x": X})),
        (Named(), Pair(X, X)),
        (Named(), [X, X]),
        (Named(), X),
        (Named(), (X, torch.nn.Identity())),
    ],
)
def test_whatever_holds_tensors_is_an_input(module: nn.Module, inputs: Any) -> None:
    network = swatcost.trace(module, inputs)
    assert network.batch_size == 6
    assert swatcost.estimate(network, convention="exact").costs.forward.dense == 8 * 4


def test_what_no_copy_can_be_made_of_is_refused() -> None:
    class Stubborn:
        def __init__(self) -> None:
            self.x = X

        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("there can be only one")

    with pytest.raises(swatcost.SwatcostError, match=r"cannot be copied .*there can be only one"):
        swatcost.trace(Reads(), (Stubborn(),))


def test_an_object_given_twice_stays_one() -> None:
    class Same(Named):
        def forward(self, x: Any, y: Any = None) -> Tensor:
            assert x is y
            return self.linear(x["x"])

    both = {"x": X}
    assert swatcost.trace(Same(), (both, both)).input_shapes == ((6, 8),)
    tree = deepcopy(both)
    tree["self"] = tree  # type: ignore[assignment]
    assert swatcost.trace(Same(), (tree, tree)).input_shapes == ((6, 8),)
