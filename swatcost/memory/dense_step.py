"""Resident bytes of a dense training step, and their peak.

Parameters, optimizer state and buffers are counted from the network; everything else follows the trace's timeline of
storages, forward and backward, at any batch size.

Assumed: gradients are set to None between steps; the optimizer updates one parameter after another and has state for
every parameter that trains; the network's outputs and the loss, one number, live until the step is over; the loss saves
nothing. Not counted: what another loss saves, Adam's 4-byte step counter for each parameter, the allocator's rounding
and cache, kernel workspaces, the program itself. What GPUs that share a step hold in addition is in `sharding` and
`tensor_parallel`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Unpack

from swatcost.common.errors import SwatcostError
from swatcost.memory.collectives import shard
from swatcost.memory.execution import Executing, Execution
from swatcost.memory.precisions import FULL, Precision
from swatcost.memory.shares import Part, Share, undivided
from swatcost.memory.tensor_parallel import split_of
from swatcost.network import Network


@dataclass(frozen=True)
class Peak:
    """The peak memory of a step [bytes], the phase in which it occurs, and its composition [bytes]."""

    bytes: int
    phase: str
    holds: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Resident bytes of a training step of `batch_size` samples.

    `constant` is resident throughout: parameters, master weights, optimizer state and buffers. `saved` is what autograd
    saves by the end of the forward pass, by operation: each storage once, under the first operation that saves it.
    `loss` is what a cross-entropy loss on the output saves, 0 if the output is not a matrix of class scores. `live`
    holds the size of all live storages after each event of the timeline; the backward pass begins at event `backward`.
    `working` are the copies that the optimizer makes while it updates parameters, where they are largest. If GPUs share
    the step, all of these are of one of them; `sent` is what it sends per step, by collective, and `whole` names what
    tensor parallelism does not split, and why.
    """

    batch_size: int
    execution: Execution
    constant: dict[str, int]
    gradients: int
    input: int
    saved: dict[str, int]
    loss: int
    live: Sequence[int]
    backward: int
    peak: Peak
    working: int = 0
    sent: dict[str, int] = field(default_factory=dict)
    whole: tuple[str, ...] = ()

    @property
    def at_update(self) -> int:
        """What is held while the optimizer updates: all that the backward pass leaves, and its working copies."""
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
    updates = execution.optimizer
    if network.timeline.backward == len(network.timeline.events) and any(each.trains for each in network.parameters):
        raise SwatcostError(f"the backward pass of {network.name} could not be run, so its memory is unknown")
    part = part_of(network, batch_size, execution)
    share = execution.sharding.divide(part) if part.gpus > 1 else undivided(part)
    live = _live(network, share)
    copies = share.state * _working(updates.working_copies, share.updated)
    updating = {**share.update, "optimizer's working copies": copies}
    if sum(share.before_update.values()) > sum(updating.values()):
        updating = dict(share.before_update)
    return StepMemory(
        batch_size=batch_size,
        execution=execution,
        constant={name: size for name, size in share.constant.items() if size},
        gradients=share.gradients,
        input=sum(part.sizes[: network.timeline.inputs]),
        saved=saved_by_operation(network, part.sizes),
        loss=_cross_entropy(network, batch_size, execution.precision),
        live=live,
        backward=network.timeline.backward,
        peak=_peak(network, share, live, updating),
        working=sum(updating.values()),
        sent={**share.sent, **part.split.sent(batch_size, execution.precision)},
        whole=part.split.whole,
    )


def part_of(network: Network, batch_size: int, execution: Execution) -> Part:
    """The part of a step of batch_size samples that each GPU executes, which tensor parallelism may have divided."""
    split, gpus = split_of(network, execution.tensor_parallel), execution.tensor_parallel
    sizes = sizes_at(network, batch_size, execution.precision)
    return Part(
        network=network,
        precision=execution.precision,
        states=execution.optimizer.states,
        gpus=execution.replicas,
        sizes=[shard(size, gpus) if number in split.storages else size for number, size in enumerate(sizes)],
        split=split,
        elements=[
            shard(each.elements, gpus) if number in split.parameters else each.elements
            for number, each in enumerate(network.parameters)
        ],
    )


def sizes_at(network: Network, batch_size: int, precision: Precision) -> list[int]:
    """The bytes of every storage in a step of batch_size samples; numbers traced at 4 bytes take that precision."""
    gradients = frozenset(network.timeline.gradients)

    def size(number: int) -> int:
        kept = network.storage_bytes(number, batch_size)
        wanted = precision.parameter if number in gradients else precision.activation
        return kept * wanted // FULL if network.storages[number].float_bytes == FULL else kept

    return [size(number) for number in range(len(network.storages))]


def _working(copies: int, trained: Sequence[int]) -> int:
    """The most elements of temporary copies: `copies` of the parameter updated, and one of the parameter before."""
    before = (0, *trained)
    return max((last + copies * size for last, size in zip(before, trained, strict=False)), default=0) if copies else 0


def _live(network: Network, share: Share) -> list[int]:
    """The total bytes that are live after each event, besides what is constant."""
    events, changes = network.timeline.events, [0] * (len(network.timeline.events) + 1)
    for each in share.held:
        if 0 <= each.since < each.until:
            changes[each.since] += each.bytes
            changes[min(each.until, len(events))] -= each.bytes
    live, held = [], 0
    for place, event in enumerate(events):
        held += changes[place] + (share.sizes[event - 1] if event > 0 else -share.sizes[-event - 1])
        live.append(held)
    return live


def saved_by_operation(network: Network, sizes: Sequence[int]) -> dict[str, int]:
    """The bytes that autograd saves, by the first operation that saves each storage, in descending order."""
    seen: set[int] = set()
    saved: dict[str, int] = defaultdict(int)
    for tensor in network.saved:
        if tensor.storage not in seen:
            seen.add(tensor.storage)
            saved[tensor.operation] += sizes[tensor.storage]
    return dict(sorted(saved.items(), key=lambda each: -each[1]))


def _cross_entropy(network: Network, batch_size: int, precision: Precision) -> int:
    """Bytes that a cross-entropy saves: log-probabilities, an 8-byte label per row, the labels' total weight."""
    if len(network.output_shapes) != 1 or len(network.output_shapes[0]) != 2:
        return 0
    rows, classes = network.output_shapes[0]
    samples = rows * batch_size // network.batch_size
    return samples * classes * precision.activation + samples * 8 + precision.activation


def _peak(network: Network, share: Share, live: Sequence[int], updating: dict[str, int]) -> Peak:
    held = sum(share.constant.values())
    place = max(range(len(live)), key=live.__getitem__, default=None)
    at_update = held + (live[-1] if live else 0) + sum(updating.values())
    if place is None or at_update > held + live[place]:
        composed = _composition(network, share, len(live))
        return Peak(at_update, "optimizer step", _together(composed, share.constant, updating))
    phase = "forward" if place < network.timeline.backward else "backward"
    return Peak(held + live[place], phase, _together(_composition(network, share, place + 1), share.constant))


def _together(*parts: Mapping[str, int]) -> dict[str, int]:
    held: dict[str, int] = {}
    for part in parts:
        for name, size in part.items():
            held[name] = held.get(name, 0) + size
    return held


def _composition(network: Network, share: Share, events: int) -> dict[str, int]:
    """The bytes of the live storages after `events` events, by their contents."""
    alive: set[int] = set()
    for event in network.timeline.events[:events]:
        (alive.add if event > 0 else alive.discard)(abs(event) - 1)
    saved, gradients = {each.storage for each in network.saved}, frozenset(network.timeline.gradients)
    holds: dict[str, int] = defaultdict(int)
    for storage in sorted(alive):
        if storage < network.timeline.inputs:
            holds["input"] += share.sizes[storage]
        elif storage in gradients:
            holds["gradients"] += share.sizes[storage]
        elif storage in saved:
            holds["saved activations"] += share.sizes[storage]
        else:
            holds["other activations and their gradients"] += share.sizes[storage]
    for each in share.held:
        if each.since < events <= each.until:
            holds[each.name] += each.bytes
    return dict(holds)
