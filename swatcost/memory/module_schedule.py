"""When groups of parameters are in use during a traced step, and which storage is the gradient of which parameter.

A timeline records storages, not layers. In the forward pass a layer begins with the first allocation after its input's;
in the backward pass a group is over once the last gradient of its parameters is made, groups in reverse order.
Gradients are assigned to parameters by size, in reverse order of use, which is the order in which autograd makes them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

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


def allocations(network: Network) -> dict[int, int]:
    """The event at which each storage is allocated."""
    return {event - 1: place for place, event in enumerate(network.timeline.events) if event > 0}


def released(network: Network, place: int) -> int:
    """The first event from `place` on that frees a storage: the operation that ran is then over."""
    events = network.timeline.events
    return next((later for later in range(place, len(events)) if events[later] < 0), len(events))


def gradients_of(network: Network) -> dict[int, int]:
    """The number of the parameter that each gradient storage belongs to; gradients of another size have none."""
    last_use: dict[str, int] = {}
    for place, layer in enumerate(network.layers):
        last_use.update(dict.fromkeys(layer.parameters, place))
    waiting: dict[int, list[int]] = defaultdict(list)
    numbered = [(last_use.get(each.name, -1), -number) for number, each in enumerate(network.parameters) if each.trains]
    for _, number in sorted(numbered):
        each = network.parameters[-number]
        waiting[each.elements * each.element_bytes].append(-number)
    made = allocations(network)
    found = {}
    for storage in sorted(network.timeline.gradients, key=lambda each: made.get(each, -1)):
        same_size = waiting[network.storages[storage].bytes]
        if same_size:
            found[storage] = same_size.pop()
    return found


def visits(network: Network, group_of: Callable[[str], str]) -> list[Visit]:
    """The runs of groups of parameters in forward order; consecutive layers of one group are one run.

    Groups that no layer uses, such as an embedding's, run first. A run is over backward once the gradients of the
    parameters are made that no earlier run uses; a run that shares all of them is taken to be over at once.
    """
    made, backward = allocations(network), network.timeline.backward
    ended = {network.parameters[number].name: released(network, made[storage])
             for storage, number in gradients_of(network).items() if storage in made}  # fmt: skip
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
    made, events, backward = allocations(network), network.timeline.events, network.timeline.backward
    now = 0
    for layer in network.layers_of_step:
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
