"""What a part of a random network is: it takes the shapes that it will read and builds a module for them, or None."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tests.cases import Applied

Shape = tuple[int, ...]


class Draw(random.Random):
    """Random draws under their names here."""

    def integer(self, low: int, high: int) -> int:
        return self.randint(low, high)

    def chance(self, share: float) -> bool:
        return self.random() < share

    def each(self, count: int, low: int, high: int) -> list[int]:
        return [self.randint(low, high) for _ in range(count)]

    def divisor(self, number: int) -> int:
        return self.choice([each for each in range(1, number + 1) if number % each == 0])

    def width(self) -> int:
        return self.choice([1, 2, 3, 4, 6, 8])


@dataclass(frozen=True)
class Part:
    """How a part is built, for how many values, of which ranks."""

    build: Callable[..., nn.Module | None]
    inputs: int
    ranks: range

    def __call__(self, draw: Draw, *shapes: Shape) -> nn.Module | None:
        return self.build(draw, *shapes) if len(shapes[0]) in self.ranks else None


PARTS: dict[str, Part] = {}


def part(*, inputs: int = 1, ranks: tuple[int, int] = (2, 5)) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds a part under its function's name; a name that ends in _ works in place."""

    def add(build: Callable[..., Any]) -> Callable[..., Any]:
        PARTS[build.__name__] = Part(build, inputs, range(ranks[0], ranks[1] + 1))
        return build

    return add


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def does(function: Callable[..., Any], **parts: nn.Module | nn.Parameter) -> nn.Module:
    return Applied(function, parts)
