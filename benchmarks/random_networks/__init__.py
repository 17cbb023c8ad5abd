"""Random networks: small, of every kind of layer and control flow that torch's own counter counts right.

A network is a sequence of steps over a pool of values, of which the first are its inputs; dimension 0 is the batch. The
same seed gives the same network on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.random_networks import activations, elementwise, weights  # noqa: F401  (they add their parts)
from benchmarks.random_networks.parts import PARTS, Draw, Part
from benchmarks.random_networks.wrappers import WRAPPERS

_MOST_NUMBERS = 4_000  # of one value: products stay small enough to be run on a CPU
_ATTEMPTS = 4  # at a step: not every part takes every shape
_IN_PLACE = ("works_in_place_", "block")  # a reentrant checkpoint runs without gradients first, where more is allowed
_OF_INDICES = ("embedding", "view")


@dataclass(frozen=True)
class Step:
    """A part that reads values of the pool and appends its result."""

    part: str
    module: int
    reads: tuple[int, ...]
    shape: tuple[int, ...]  # of its result

    def __str__(self) -> str:
        return f"{self.part}({', '.join(f'v{each}' for each in self.reads)}) → {'×'.join(map(str, self.shape))}"


class RandomNetwork(nn.Module):
    """Runs its steps; returns some of the values, as a tensor, a tuple or a dict."""

    def __init__(
        self, steps: Sequence[Step], modules: Sequence[nn.Module], inputs: int, returned: Sequence[int]
    ) -> None:
        super().__init__()
        self.steps, self.inputs, self.returned = tuple(steps), inputs, tuple(returned)
        self.form = tuple
        self.parts = nn.ModuleList(modules)

    def forward(self, *args: Tensor, **named: Tensor) -> Any:
        values = [*args, *named.values()]
        for step in self.steps:
            values.append(self.parts[step.module](*(values[each] for each in step.reads)))
        outputs = [values[each] for each in self.returned]
        if len(outputs) == 1:
            return outputs[0]
        return {f"output{place}": each for place, each in enumerate(outputs)} if self.form is dict else tuple(outputs)

    def __str__(self) -> str:
        lines = [f"v{self.inputs + place} = {step}" for place, step in enumerate(self.steps)]
        return "\n".join([*lines, f"returns {', '.join(f'v{each}' for each in self.returned)}"])


@dataclass(frozen=True)
class Case:
    """A network with what it is called with."""

    network: RandomNetwork
    inputs: tuple[Tensor, ...]
    by_name: bool
    batch_size: int

    @property
    def example_inputs(self) -> Any:
        return {f"x{place}": each for place, each in enumerate(self.inputs)} if self.by_name else self.inputs

    def __str__(self) -> str:
        lines = [
            f"v{place} = input {'×'.join(map(str, each.shape))} {str(each.dtype).removeprefix('torch.')}"
            f"{' that needs a gradient' if each.requires_grad else ''}"
            for place, each in enumerate(self.inputs)
        ]
        return "\n".join([*lines, str(self.network)])

    def call(self) -> Any:
        inputs = self.example_inputs
        return self.network(**inputs) if isinstance(inputs, dict) else self.network(*inputs)

    def cut(self, steps: int) -> Case:
        """The case that ends after so many steps, without the steps that its result does not need."""
        whole = self.network
        last = whole.inputs + steps - 1
        needed, kept = {last}, []
        for place in range(steps - 1, -1, -1):
            step = whole.steps[place]
            if whole.inputs + place in needed or step.part.endswith("_"):  # works in place
                needed.update(step.reads)
                kept.append(place)
        kept.reverse()
        renamed = {each: each for each in range(whole.inputs)}
        renamed |= {whole.inputs + place: whole.inputs + new for new, place in enumerate(kept)}
        cut = [
            Step(old.part, old.module, tuple(renamed[each] for each in old.reads), old.shape)
            for old in (whole.steps[place] for place in kept)
        ]
        network = RandomNetwork(cut, list(whole.parts), whole.inputs, [renamed[last]])
        return Case(network, self.inputs, self.by_name, self.batch_size)


def random_case(seed: int, device: str = "meta") -> Case:
    """The network of a seed."""
    draw = Draw(seed)
    with torch.device(device):
        return _case(draw)


def _case(draw: Draw) -> Case:
    batch = draw.choice([1, 2, 2, 3, 5])
    inputs = [_input(draw, batch) for _ in range(draw.choice([1, 1, 1, 2, 3]))]
    values: list[Tensor] = list(inputs)
    steps: list[Step] = []
    modules: list[nn.Module] = []
    seen: dict[tuple[Any, ...], list[tuple[str, int]]] = {}
    for _ in range(draw.integer(1, 9)):
        for _ in range(_ATTEMPTS):
            name, build = draw.choice(list(PARTS.items()))
            newest = draw.chance(0.7)
            reads = [len(values) - 1 if newest else draw.integer(0, len(values) - 1)]
            reads += [draw.integer(0, len(values) - 1) for _ in range(build.inputs - 1)]
            if any(not values[each].is_floating_point() for each in reads) and name not in _OF_INDICES:
                continue  # products of whole numbers have no gradients
            shapes = [tuple(values[each].shape) for each in reads]
            key = (tuple(shapes), tuple(values[each].dtype for each in reads))
            if draw.chance(0.1) and key in seen:
                name, place = draw.choice(seen[key])  # a part that is called twice
                name, module = name.removesuffix(" again") + " again", modules[place]
            else:
                built = _built(draw, name, build, shapes)
                if built is None:
                    continue
                name, module = built
                place = len(modules)
            result = _tried(module, [values[each] for each in reads], batch)
            if result is None:
                continue
            if place == len(modules):
                modules.append(module)
                seen.setdefault(key, []).append((name, place))
            steps.append(Step(name, place, tuple(reads), tuple(result.shape)))
            values.append(result)
            break
    returned = {len(values) - 1} | {draw.integer(0, len(values) - 1) for _ in range(draw.choice([0, 0, 1, 3]))}
    network = RandomNetwork(steps, modules, len(inputs), sorted(returned))
    network.form = draw.choice([tuple, dict])
    return Case(network, tuple(inputs), draw.chance(0.2), batch)


def _input(draw: Draw, batch: int) -> Tensor:
    """An image, a sequence, a vector or indices for each sample."""
    sizes = draw.choice([1, 2, 2, 2, 3, 4])
    shape = (batch, *(draw.choice([1, 2, 3, 4, 4, 5, 6, 8]) for _ in range(sizes)))
    if sizes <= 2 and draw.chance(0.25):
        return torch.zeros(shape, dtype=torch.int64)
    return torch.zeros(shape, requires_grad=draw.chance(0.15))


def _built(draw: Draw, name: str, build: Part, shapes: Sequence[tuple[int, ...]]) -> tuple[str, nn.Module] | None:
    """A part and perhaps a wrapper around it."""
    try:
        module = build(draw, *shapes)
    except Exception:  # what was drawn does not fit together
        return None
    if module is None:
        return None
    for wrapper, (share, wrap) in WRAPPERS.items():
        if draw.chance(share) and not (wrapper == "reentrant" and name.endswith(_IN_PLACE)):
            name, module = f"{wrapper} {name}", wrap(module)
    return name, module


def _tried(module: nn.Module, values: Sequence[Tensor], batch: int) -> Tensor | None:
    """The part's result, as it will be in the network; None where it does not fit the values."""
    try:
        with torch.no_grad():
            result = module(*(each.detach().clone() for each in values))
    except Exception:
        return None
    fits = result.dim() >= 2 and result.shape[0] == batch and 0 < result.numel() <= _MOST_NUMBERS
    return result if fits else None
