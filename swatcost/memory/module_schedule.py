"""When groups of parameters are in use during a traced step.

A timeline records storages, not layers. In the forward pass a layer begins with the first allocation after its input's;
in the backward pass a group is over once the last gradient of its parameters is made, groups in reverse order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

from swatcost.memory.gradients import parameter_of_gradients
from swatcost.network import Layer, Network


@dataclass(frozen=True)
class Held:
    """Bytes that are held after the events of a timeline from number `since` to number `until`, exclusive."""

    name: str
    bytes: int
    since: int
    until: int


@dataclass(frozen=True)
class Visit:
    """One run of a group of parameters: the range of events in the forward pass, and that of its backward pass."""

    group: str
    forward: tuple[int, int]
    backward: tuple[int, int]


def released(network: Network, place: int) -> int:
    """The first event from `place` on that frees a storage: the operation that ran is then over."""
    events = network.timeline.events
    return next((later for later in range(place, len(events)) if events[later] < 0), len(events))


def visits(network: Network, group_of: Callable[[str], str]) -> list[Visit]:
    """The runs of groups of parameters in forward order; consecutive layers of one group are one run.

    Groups that no layer uses, such as an embedding's, run first. A run is over backward once the gradients of the
    parameters are made that no earlier run uses; a run that shares all of them is taken to be over at once.
    """
    made, backward = network.timeline.allocations, network.timeline.backward
    ended = {network.parameters[number].name: released(network, made[storage])
             for storage, number in parameter_of_gradients(network).items() if storage in made}  # fmt: skip
    names, starts, uses = list[str](), list[int](), list[set[str]]()
    for layer, now in _begun(network):
        if not layer.parameters:
            continue
        group = group_of(layer.parameters[0])
        if not names or names[-1] != group:
            names.append(group)
            starts.append(now)
            uses.append(set())
        uses[-1].update(layer.parameters)
    unseen: dict[str, set[str]] = defaultdict(set)
    for each in network.parameters:
        if (group := group_of(each.name)) not in names:
            unseen[group].add(each.name)
    names, starts, uses = [*unseen, *names], [0] * len(unseen) + starts, [*unseen.values(), *uses]
    runs, begin, ends = list[tuple[int, int]](), backward, [*starts[1:], backward][: len(starts)]
    for place in reversed(range(len(names))):
        own = uses[place].difference(*uses[:place])
        runs.append((begin, end := max([begin, *(ended[each] for each in own if each in ended)])))
        begin = end
    return [
        Visit(name, (start, end), run)
        for name, start, end, run in zip(names, starts, ends, reversed(runs), strict=True)
    ]


def _begun(network: Network) -> Iterator[tuple[Layer, int]]:
    """The layers of the forward pass, and the event of the first allocation of each."""
    made, events, backward = network.timeline.allocations, network.timeline.events, network.timeline.backward
    now = 0
    for layer in network.layers:
        place = made.get(layer.input_storage, -1)
        if place < backward:  # the others run in the backward pass
            now = max(now, next((later for later in range(place + 1, backward) if events[later] > 0), backward))
            yield layer, now


def output_made(network: Network) -> int:
    """The event at which the last layer's result is allocated; what follows is taken to be the loss."""
    events, backward = network.timeline.events, network.timeline.backward
    for layer, now in list(_begun(network))[-1:]:
        for place in range(now, backward):
            kept = network.storages[abs(events[place]) - 1]
            if events[place] > 0 and kept.bytes == prod(layer.output_shape) * max(1, kept.float_bytes):
                return place
    return max(0, backward - 1)
