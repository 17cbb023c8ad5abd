"""Resident bytes of a dense training step, and their peak.

Parameters, optimizer state and buffers are counted from the network; everything else follows the trace's timeline of
storages, forward and backward, at any batch size.

Assumed: gradients are set to None between steps; the optimizer has state for every parameter that trains; the network's
outputs, what the loss is given beside them, and the loss, one number, live until the step is over, and those of a
micro-batch until the next begins. Not counted: step counters that torch keeps on the host, the allocator's rounding and
cache, kernel workspaces, the program itself.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Unpack

from swatcost.common.errors import SwatcostError
from swatcost.memory.execution import Executing, Execution
from swatcost.memory.optimizers import Trained
from swatcost.memory.precisions import FULL, Precision
from swatcost.memory.updates import accumulating_events, updating_events
from swatcost.network import Network, Parameter


@dataclass(frozen=True)
class Peak:
    """The peak memory of a step [bytes], the phase in which it occurs, and its composition [bytes]."""

    bytes: int
    phase: str
    holds: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Resident bytes of a training step of `batch_size` samples, or of the last micro-batch if several accumulate.

    `constant` is resident throughout: parameters, master weights, optimizer state, buffers, and gradients of earlier
    micro-batches. `saved` is what autograd saves by the end of the network's forward pass, by operation: each storage
    once, under the first operation that saves it; `loss` is what only the loss saves. `input` and `targets` are what
    the network and the loss are given. `live` holds the size of all live storages after each of `events`, which are
    those of the network's timeline and what this execution adds; the backward pass begins at event `backward`.
    `working` are the temporaries of an update that follows the backward pass, where they are largest.
    """

    batch_size: int
    execution: Execution
    constant: dict[str, int]
    gradients: int
    input: int
    targets: int
    saved: dict[str, int]
    loss: int
    live: Sequence[int]
    backward: int
    peak: Peak
    working: int = 0
    events: Sequence[int] = ()

    @property
    def at_update(self) -> int:
        """What is held while the optimizer updates: all that the backward pass leaves, and its temporaries."""
        return sum(self.constant.values()) + (self.live[-1] if self.live else 0) + self.working

    @property
    def saved_bytes(self) -> int:
        """Everything that is saved for the backward pass [bytes], including the loss."""
        return sum(self.saved.values()) + self.loss


def training_memory(network: Network, *, batch_size: int = 32, **executing: Unpack[Executing]) -> StepMemory:
    """Resident bytes of a dense training step of batch_size samples, and their peak.

    executing are the values of `Execution.of`: optimizer, precision and so on.

    Raises SwatcostError for invalid ones, and if the backward pass could not be traced.
    """
    return dense_step(network, batch_size, Execution.of(**executing))


def dense_step(network: Network, batch_size: int, execution: Execution) -> StepMemory:
    """The same for an Execution."""
    numbers, timeline = execution.precision, network.timeline
    if timeline.backward == len(timeline.events) and any(each.trains for each in network.parameters):
        raise SwatcostError(f"the backward pass of {network.name} could not be run, so its memory is unknown")
    trained = {place: as_trained(each, numbers) for place, each in enumerate(network.parameters) if each.trains}
    known, stated = {each.parameter for each in timeline.accumulations}, [*trained.values()]
    updated = [each for place, each in trained.items() if place in known or not known]
    sizes = sizes_at(network, batch_size, numbers)
    gradients = sum(sizes[storage] for storage in timeline.gradients)
    constant = {
        "parameters": sum(each.elements * _size(each.element_bytes, numbers.parameter) for each in network.parameters),
        "master weights": numbers.master * sum(each.elements for each in stated),
        "optimizer state": execution.optimizer.state(stated) + execution.way.counters(stated),
        "buffers": sum(prod(each.shape) * each.element_bytes for each in network.buffers),
    }
    events, working = timeline.events, 0
    if execution.update_in_backward:
        copies = {place: execution.way.temporaries([each]) for place, each in trained.items()}
        events = updating_events(network, copies, len(sizes))
        sizes += copies.values()
    else:
        working = execution.way.temporaries(updated)
    if execution.accumulate > 1:
        events = accumulating_events(network)
        constant["accumulated gradients"] = gradients
    live = live_bytes(events, sizes)
    return StepMemory(
        batch_size=batch_size,
        execution=execution,
        constant={name: size for name, size in constant.items() if size},
        gradients=gradients,
        input=sum(sizes[: timeline.inputs]),
        targets=sum(sizes[storage] for storage in timeline.targets),
        saved=saved_by_operation(network, sizes),
        loss=saved_by_loss(network, sizes),
        live=live,
        backward=timeline.backward,
        peak=_peak(network, sizes, events, live, constant, working),
        working=working,
        events=events,
    )


def sizes_at(network: Network, batch_size: int, precision: Precision) -> list[int]:
    """The bytes of every storage in a step of batch_size samples; numbers traced at 4 bytes take that precision."""
    gradients = frozenset(network.timeline.gradients)

    def size(number: int) -> int:
        kept = network.storage_bytes(number, batch_size)
        wanted = precision.parameter if number in gradients else precision.activation
        return kept * wanted // FULL if network.storages[number].float_bytes == FULL else kept

    return [size(number) for number in range(len(network.storages))]


def _size(traced: int, wanted: int) -> int:
    return wanted if traced == FULL else traced


def as_trained(parameter: Parameter, precision: Precision) -> Trained:
    """A parameter as the optimizer sees it: its master copy if there is one."""
    size = precision.state if precision.master else _size(parameter.element_bytes, precision.state)
    return Trained(parameter.shape, size)


def live_bytes(events: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The total bytes of live storages after each event."""
    live, held = [], 0
    for event in events:
        held += sizes[event - 1] if event > 0 else -sizes[-event - 1]
        live.append(held)
    return live


def saved_by_operation(network: Network, sizes: Sequence[int]) -> dict[str, int]:
    """The bytes that the network saves, by the first operation that saves each storage, in descending order."""
    seen: set[int] = set()
    saved: dict[str, int] = defaultdict(int)
    for tensor in network.saved_before_loss:
        if tensor.storage not in seen:
            seen.add(tensor.storage)
            saved[tensor.operation] += sizes[tensor.storage]
    return dict(sorted(saved.items(), key=lambda each: -each[1]))


def saved_by_loss(network: Network, sizes: Sequence[int]) -> int:
    """The bytes that only the loss saves: of a cross-entropy the log-probabilities, labels, their total weight."""
    return sum(sizes[storage] for storage in _of_loss(network))


def _of_loss(network: Network) -> set[int]:
    """The storages that only the loss saves."""
    return {each.storage for each in network.saved} - {each.storage for each in network.saved_before_loss}


def _peak(
    network: Network,
    sizes: Sequence[int],
    events: Sequence[int],
    live: Sequence[int],
    constant: dict[str, int],
    working: int,
) -> Peak:
    held = sum(constant.values())
    place = max(range(len(live)), key=live.__getitem__, default=None)
    at_update = held + (live[-1] if live else 0) + working
    if place is None or at_update > held + live[place]:
        return Peak(at_update, "optimizer step", {**composition(network, sizes, events), **constant, _WORKING: working})
    phase = "forward" if place < network.timeline.backward else "backward"
    return Peak(held + live[place], phase, {**composition(network, sizes, events[: place + 1]), **constant})


_WORKING = "optimizer's working copies"


def composition(network: Network, sizes: Sequence[int], events: Sequence[int]) -> dict[str, int]:
    """The bytes of the live storages after these events, by their contents."""
    alive: set[int] = set()
    for event in events:
        (alive.add if event > 0 else alive.discard)(abs(event) - 1)
    saved = {each.storage for each in network.saved_before_loss}
    by_loss, gradients = _of_loss(network), frozenset(network.timeline.gradients)
    holds: dict[str, int] = defaultdict(int)
    for storage in sorted(alive):
        if storage < network.timeline.inputs:
            holds["input"] += sizes[storage]
        elif storage in network.timeline.targets:
            holds["targets"] += sizes[storage]
        elif storage in gradients:
            holds["gradients"] += sizes[storage]
        elif storage in saved:
            holds["saved activations"] += sizes[storage]
        elif storage in by_loss:
            holds["saved by the loss"] += sizes[storage]
        elif storage >= len(network.storages):
            holds[_WORKING] += sizes[storage]
        else:
            holds["other activations and their gradients"] += sizes[storage]
    return dict(holds)
