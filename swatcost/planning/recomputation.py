"""What checkpointing a network's repeated modules would save and cost, about, from a trace of the step without it.

`swatcost.trace(…, checkpoint=…)` counts it exactly, but has to run the network.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from swatcost.memory.dense_step import StepMemory
from swatcost.network import Network
from swatcost.network.conditions import IN_LOSS


@dataclass(frozen=True)
class Repeated:
    """Modules of one kind that a network repeats, such as the blocks of a transformer, and their pattern."""

    pattern: str
    modules: tuple[str, ...]

    def forward_macs(self, network: Network) -> float:
        """The MACs of a forward pass of all of them, per sample."""
        prefixes = tuple(f"{module}." for module in self.modules)
        inside = [each for each in network.counted_layers if f"{each.name}.".startswith(prefixes)]
        return sum(each.forward_macs for each in inside) / network.batch_size


def repeated_modules(network: Network) -> list[Repeated]:
    """The kinds of modules that occur twice or more and hold modules of their own, the largest modules first.

    Modules are of one kind if their names differ in numbers alone, as in "layer1.0" and "layer2.3".
    """
    kinds: dict[str, dict[str, None]] = defaultdict(dict)
    for tensor in network.saved_before_loss:
        parts = tensor.held_by.split(".")
        for end in range(1, len(parts)):
            if parts[end - 1][-1:].isdigit():
                kinds[".".join(re.sub(r"\d+$", "*", part) for part in parts[:end])][".".join(parts[:end])] = None
    return [Repeated(pattern, tuple(names)) for pattern, names in kinds.items() if len(names) > 1]


class Recomputed:
    """A step in which modules of one kind are checkpointed, about.

    Each keeps its input only; while its backward pass runs, it holds what it would have saved.
    """

    def __init__(self, network: Network, repeated: Repeated) -> None:
        self.network, self.repeated = network, repeated

    @cached_property
    def _freed(self) -> dict[str, set[int]]:
        """The storages that each module no longer saves."""
        holder: dict[int, str] = {}
        inputs: set[int] = set()
        started: set[str] = set()
        for tensor in self.network.saved:
            module = next((each for each in self.repeated.modules if f"{tensor.held_by}.".startswith(f"{each}.")), "")
            if module and module not in started:
                started.add(module)
                inputs.add(tensor.storage)
            if not module:  # somebody else keeps it
                holder[tensor.storage] = IN_LOSS
            holder.setdefault(tensor.storage, module)
        freed: dict[str, set[int]] = defaultdict(set)
        for storage, module in holder.items():
            if module in started and storage not in inputs:
                freed[module].add(storage)
        return dict(freed)

    def peak(self, step: StepMemory) -> int:
        """The peak of the step [bytes]."""
        sizes, events, backward = step.sizes, step.events, step.backward
        module_of = {storage: module for module, storages in self._freed.items() for storage in storages}
        left = {module: sum(sizes[each] for each in storages) for module, storages in self._freed.items()}
        ended = [module_of[-event - 1] for event in events[backward:] if -event - 1 in module_of]
        order = iter(ended)
        running, gone, most = next(order, ""), 0, step.at_update
        for place, event in enumerate(events):
            again = left.get(running, 0) if place >= backward else 0
            storage = abs(event) - 1
            if storage in module_of:
                gone += sizes[storage] if event > 0 else -sizes[storage]
                if event < 0 and place >= backward:
                    left[module_of[storage]] -= sizes[storage]
                    running = next(order, "")
            most = max(most, sum(step.constant.values()) + step.live[place] - gone + again)
        return most
