"""A step's events where gradients accumulate over micro-batches, or are used and freed in the backward pass.

As a trace has them, gradients are allocated in the backward pass and live until the step is over.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from swatcost.memory.gradients import accumulations
from swatcost.network import Network


def accumulating_events(network: Network) -> tuple[int, ...]:
    """The events of a micro-batch after the first, other than those of the gradients that are there already.

    A new gradient is added in place to the one that is there, and freed. One that AccumulateGrad would have copied, had
    there been none, is added as it is: nothing is allocated for it.

    Source: `accumulateGrad` in torch/csrc/autograd/functions/accumulate_grad.h.

    Raises SwatcostError if the trace does not have when gradients are accumulated.
    """
    freed = {each.storage: each.event for each in accumulations(network)}
    copies = {each.storage + 1 for each in accumulations(network) if each.copied}
    added: dict[int, list[int]] = defaultdict(list)
    for storage, event in freed.items():
        if storage + 1 not in copies:
            added[event].append(-storage - 1)
    return tuple(each for each in _with(network, added) if each not in copies)


def updating_events(network: Network, copies: Mapping[int, int], first: int) -> tuple[int, ...]:
    """The events of a step in which a hook updates each parameter, and then sets its gradient to None.

    `copies` are the optimizer's temporaries [bytes] for each parameter that trains, by its place in the network. They
    are storages from number `first` on, in that order.

    Source: torch's tutorial "How to save memory by fusing the optimizer step into the backward pass".

    Raises SwatcostError if the trace does not have when gradients are accumulated.
    """
    numbers = {place: number for number, place in enumerate(copies, first)}
    freed = {each.storage: each for each in accumulations(network)}
    added: dict[int, list[int]] = defaultdict(list)
    for each in accumulations(network):
        if copies[each.parameter]:
            added[each.event] += [numbers[each.parameter] + 1, -numbers[each.parameter] - 1]
        if freed[each.storage] is each:  # the last parameter whose gradient is in this storage
            added[each.event].append(-each.storage - 1)
    return tuple(_with(network, added))


def _with(network: Network, added: Mapping[int, list[int]]) -> Iterator[int]:
    """The timeline's events, with others before the events of these numbers."""
    for place, event in enumerate((*network.timeline.events, 0)):
        yield from added.get(place, ())
        if event:
            yield event
