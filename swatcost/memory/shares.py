"""The part of a step that one GPU executes, what it holds and what it sends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from swatcost.memory.gradients import updated_parameters
from swatcost.memory.module_schedule import Held
from swatcost.memory.optimizers import Bytes, Optimizer, Trained
from swatcost.memory.precisions import FULL, Precision
from swatcost.memory.tensor_parallel import Split
from swatcost.network import Network


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part of a step that one GPU executes before its state is sharded.

    `counters` are the bytes of step counters. `sizes` are the bytes of each storage and `elements` those of each
    parameter that the GPU has, after tensor parallelism has `split` them; `gpus` share the state.
    """

    network: Network
    precision: Precision
    optimizer: Optimizer
    counters: Bytes
    gpus: int
    split: Split
    sizes: Sequence[int]
    elements: Sequence[int]

    def parameter_bytes(self, number: int) -> int:
        """Bytes per element of a parameter."""
        traced = self.network.parameters[number].element_bytes
        return self.precision.parameter if traced == FULL else traced

    def as_trained(self, number: int, shape: tuple[int, ...] | None = None) -> Trained:
        """A parameter, or a shard of this shape of it, as the optimizer sees it: its master copy if there is one."""
        whole = self.network.parameters[number].shape
        elements = self.elements[number]
        traced = self.network.parameters[number].element_bytes
        size = self.precision.state if self.precision.master or traced == FULL else traced
        return Trained(shape or (whole if elements == prod(whole) else (elements,)), size)

    @property
    def trained(self) -> list[int]:
        """The numbers of the parameters that train."""
        return [number for number, each in enumerate(self.network.parameters) if each.trains]

    @property
    def gradients(self) -> dict[int, int]:
        """The bytes of each gradient storage."""
        return {storage: self.sizes[storage] for storage in self.network.timeline.gradients}

    def sum(self, numbers: Sequence[int], of: Callable[[int], int] = lambda elements: elements) -> int:
        """The bytes of parameters, of a function of their elements."""
        return sum(of(self.elements[each]) * self.parameter_bytes(each) for each in numbers)


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one GPU holds and sends [bytes].

    `constant` is resident throughout. `sizes` are the bytes of storages; those of gradients are 0 if `held` has them.
    `updated` are the tensors that the optimizer updates. `update` is held in addition while it does; `before_update`
    just before, without its working copies. `gradients` is what is left of them after the backward pass. `sent` is what
    the GPU sends per step, by collective.
    """

    constant: Mapping[str, int]
    sizes: Sequence[int]
    updated: Sequence[Trained]
    gradients: int
    held: tuple[Held, ...] = ()
    before_update: Mapping[str, int]
    update: Mapping[str, int]
    sent: Mapping[str, int]


def undivided(part: Part) -> Share:
    """The share of one GPU, or of each of several that hold everything."""
    trained = {number: part.as_trained(number) for number in part.trained}
    stated = [*trained.values()]
    constant = {
        "parameters": part.sum(range(len(part.elements))),
        "master weights": part.precision.master * sum(part.elements[number] for number in trained),
        "optimizer state": part.optimizer.state(stated) + part.counters(stated),
        "buffers": buffers_of(part.network),
    }
    updated = [trained[number] for number in updated_parameters(part.network)]
    return Share(
        constant=constant, sizes=part.sizes, updated=updated, before_update={}, update={},
        gradients=sum(part.gradients.values()), sent={},
    )  # fmt: skip


def buffers_of(network: Network) -> int:
    """The bytes of all buffers; every GPU has them."""
    return sum(prod(each.shape) * each.element_bytes for each in network.buffers)


def gradients_made(part: Part) -> list[tuple[int, int]]:
    """Gradient storages and the events at which they are allocated, in order."""
    made = part.network.timeline.allocations
    return sorted(((each, made[each]) for each in part.gradients if each in made), key=lambda each: each[1])


def last_event(part: Part) -> int:
    """The last event, by which all communication is over."""
    return len(part.network.timeline.events) - 1


def without_gradients(part: Part) -> list[int]:
    """The sizes of storages, for a share that holds gradients in another way."""
    gradients = part.gradients
    return [0 if storage in gradients else size for storage, size in enumerate(part.sizes)]
