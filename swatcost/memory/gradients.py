"""Whose gradient each storage of a traced step is, and when it is accumulated: every account of gradients asks here.

A trace says both. Of an older one, which does not, gradients are told apart by size, and those of one size by order.
"""

from collections import defaultdict

from swatcost.common.errors import SwatcostError
from swatcost.network import Accumulation, Network


def parameter_of_gradients(network: Network) -> dict[int, int]:
    """The number of the parameter that each gradient storage belongs to; one that several parameters share has none."""
    found = network.timeline.accumulations
    if not found:
        return _by_size(network)
    owners: dict[int, list[int]] = defaultdict(list)
    for each in found:
        owners[each.storage].append(each.parameter)
    return {storage: numbers[0] for storage, numbers in owners.items() if len(numbers) == 1}


def gradient_of_parameters(network: Network) -> dict[int, int]:
    """The storage of each parameter's gradient, by the parameter's number; those that share one are left out."""
    return {number: storage for storage, number in parameter_of_gradients(network).items()}


def updated_parameters(network: Network) -> list[int]:
    """The numbers of the parameters that an optimizer updates: a step need not make a gradient for all that train."""
    known = {each.parameter for each in network.timeline.accumulations}
    return [number for number, each in enumerate(network.parameters) if each.trains and (number in known or not known)]


def accumulations(network: Network) -> tuple[Accumulation, ...]:
    """When each gradient is accumulated. Raises SwatcostError if the trace does not say it of all of them."""
    found = network.timeline.accumulations
    if {each.storage for each in found} != {*network.timeline.gradients}:
        raise SwatcostError(f"the trace of {network.name} does not say when gradients are accumulated: trace it again")
    return found


def _by_size(network: Network) -> dict[int, int]:
    """The same from sizes, in reverse order of use, in which autograd makes them; the others have none."""
    last_use: dict[str, int] = {}
    for place, layer in enumerate(network.layers):
        last_use.update(dict.fromkeys(layer.parameters, place))
    waiting: dict[int, list[int]] = defaultdict(list)
    numbered = [(last_use.get(each.name, -1), -number) for number, each in enumerate(network.parameters) if each.trains]
    for _, number in sorted(numbered):
        each = network.parameters[-number]
        waiting[each.elements * each.element_bytes].append(-number)
    made = network.timeline.allocations
    found = {}
    for storage in sorted(network.timeline.gradients, key=lambda each: made.get(each, -1)):
        if same_size := waiting[network.storages[storage].bytes]:
            found[storage] = same_size.pop()
    return found
