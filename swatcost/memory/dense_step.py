"""Resident bytes of a dense training step, and their peak.

Parameters, optimizer state and buffers are counted from the network; everything else follows the trace's timeline of
storages, forward and backward, at any batch size.

Assumed: gradients are set to None between steps; the optimizer has state for every parameter that trains; what the
network and the loss are given, and the loss, one number, live until the step is over, and those of a micro-batch until
the next begins; the network's outputs only if the trace says so. Not counted: step counters that torch keeps on the
host, the allocator's rounding and cache, kernel workspaces, the program itself. What GPUs that share a step hold in
addition is in `sharding` and `tensor_parallel`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Unpack

from swatcost.common.errors import SwatcostError
from swatcost.memory.collectives import shard
from swatcost.memory.execution import Executing, Execution
from swatcost.memory.module_schedule import Held
from swatcost.memory.precisions import FULL, Precision
from swatcost.memory.shares import Part, Share, undivided
from swatcost.memory.tensor_parallel import split_of
from swatcost.memory.updates import accumulating_events, updating_events
from swatcost.network import Network


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
    those of the network's timeline and what this execution adds, and `sizes` those of each storage; the backward pass
    begins at event `backward`.
    `working` are the temporaries of an update that follows the backward pass, where they are largest. If GPUs share the
    step, all of these are of one of them; `sent` is what it sends per step, in all of its micro-batches, by collective,
    and `whole` names what tensor parallelism does not split, and why.
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
    sizes: Sequence[int] = ()
    sent: Mapping[str, int] = field(default_factory=dict)
    whole: tuple[str, ...] = ()

    @property
    def at_update(self) -> int:
        """What is held while the optimizer updates: all that the backward pass leaves, and its temporaries."""
        return sum(self.constant.values()) + (self.live[-1] if self.live else 0) + self.working

    @property
    def sent_bytes(self) -> int:
        """All that each GPU sends per step [bytes]."""
        return sum(self.sent.values())

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
    timeline = network.timeline
    if not timeline.events:
        raise SwatcostError(f"{network.name} has no recorded training step, so its memory is unknown: trace the module")
    if timeline.backward == len(timeline.events) and any(each.trains for each in network.parameters):
        raise SwatcostError(f"the backward pass of {network.name} could not be run, so its memory is unknown")
    part = part_of(network, batch_size, execution)
    share = execution.sharding.divide(part) if part.gpus > 1 else undivided(part)
    events, sizes, constant = timeline.events, [*share.sizes], dict(share.constant)
    updating = {**share.update, _WORKING: execution.way.temporaries(share.updated)}
    if execution.update_in_backward:
        copies = {number: execution.way.temporaries([part.as_trained(number)]) for number in part.trained}
        events, updating = updating_events(network, copies, len(sizes)), {}
        sizes += copies.values()
    elif sum(share.before_update.values()) > sum(updating.values()):
        updating = dict(share.before_update)
    if execution.accumulate > 1:
        constant["accumulated gradients"] = share.gradients
        events = accumulating_events(network) if not share.held else events
    live = live_bytes(events, sizes, share.held)
    return StepMemory(
        batch_size=batch_size,
        execution=execution,
        constant={name: size for name, size in constant.items() if size},
        gradients=share.gradients,
        input=sum(part.sizes[: timeline.inputs]),
        targets=sum(part.sizes[storage] for storage in timeline.targets),
        saved=saved_by_operation(network, part.sizes),
        loss=saved_by_loss(network, part.sizes),
        live=live,
        backward=timeline.backward,
        peak=_peak(network, sizes, events, share.held, live, constant, updating),
        working=sum(updating.values()),
        events=events,
        sizes=sizes,
        sent=_sent(share, part, batch_size, execution),
        whole=part.split.whole,
    )


def _sent(share: Share, part: Part, batch_size: int, execution: Execution) -> dict[str, int]:
    """What each GPU sends per step, by collective: once, or in each of the micro-batches that accumulate.

    fully_shard reduces and shards the gradients of every micro-batch, as `accumulated gradients` has them.
    """
    exchanges = 1 if execution.sharding.once else execution.accumulate
    split = part.split.sent(batch_size, execution.precision)
    return {
        **{name: exchanges * size for name, size in share.sent.items()},
        **{name: execution.accumulate * size for name, size in split.items()},
    }


def part_of(network: Network, batch_size: int, execution: Execution) -> Part:
    """The part of a step of batch_size samples that each GPU executes, which tensor parallelism may have divided."""
    split, gpus = split_of(network, execution.tensor_parallel), execution.tensor_parallel
    sizes = sizes_at(network, batch_size, execution.precision)
    return Part(
        network=network,
        precision=execution.precision,
        optimizer=execution.optimizer,
        counters=execution.way.counters,
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
    traced = network.batch_size
    sizes = [each.bytes * batch_size // traced if each.scales_with_batch else each.bytes for each in network.storages]
    if precision.parameter == precision.activation == FULL:
        return sizes
    gradients = frozenset(network.timeline.gradients)
    for number, each in enumerate(network.storages):
        if each.float_bytes == FULL:
            wanted = precision.parameter if number in gradients else precision.activation
            sizes[number] = sizes[number] * wanted // FULL
    return sizes


def live_bytes(events: Sequence[int], sizes: Sequence[int], held: Sequence[Held] = ()) -> list[int]:
    """The total bytes that are live after each event: storages, and what else is held meanwhile."""
    changes = [0] * (len(events) + 1)
    for each in held:
        if 0 <= each.since < each.until:
            changes[each.since] += each.bytes
            changes[min(each.until, len(events))] -= each.bytes
    live, total = [], 0
    for event, change in zip(events, changes, strict=False):
        total += change + (sizes[event - 1] if event > 0 else -sizes[-event - 1])
        live.append(total)
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
    held: Sequence[Held],
    live: Sequence[int],
    constant: Mapping[str, int],
    updating: Mapping[str, int],
) -> Peak:
    throughout = sum(constant.values())
    place = max(range(len(live)), key=live.__getitem__, default=None)
    at_update = throughout + (live[-1] if live else 0) + sum(updating.values())
    if place is None or at_update > throughout + live[place]:
        holds = composition(network, sizes, events, held)
        return Peak(at_update, "optimizer step", _together(holds, constant, updating))
    phase = "forward" if place < network.timeline.backward else "backward"
    holds = composition(network, sizes, events[: place + 1], held)
    return Peak(throughout + live[place], phase, _together(holds, constant))


_WORKING = "optimizer's working copies"


def _together(*parts: Mapping[str, int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, size in part.items():
            total[name] = total.get(name, 0) + size
    return total


def composition(
    network: Network, sizes: Sequence[int], events: Sequence[int], held: Sequence[Held] = ()
) -> dict[str, int]:
    """The bytes of what is live after these events, by their contents."""
    freed = {-event for event in events if event < 0}  # each storage is allocated once, and freed once at most
    alive = [event - 1 for event in events if event > 0 and event not in freed]
    saved = {each.storage for each in network.saved_before_loss}
    by_loss, gradients = _of_loss(network), frozenset(network.timeline.gradients)
    holds: dict[str, int] = defaultdict(int)
    for storage in alive:
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
    for each in held:
        if each.since < len(events) <= each.until:
            holds[each.name] += each.bytes
    return dict(holds)
