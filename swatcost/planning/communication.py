"""What GPUs that share a step send per optimizer step, how long that takes, and how much of it computing can hide."""

from collections.abc import Mapping
from dataclasses import dataclass

from swatcost.counting.costs import Cost
from swatcost.estimate import Estimate
from swatcost.memory.execution import Execution
from swatcost.memory.tensor_parallel import split_of

WAITED_FOR = ("broadcast", "all-reduce of activations")
"""What the next operation cannot begin without: a forward pass its buffers, a layer the sum of what GPUs computed."""


@dataclass(frozen=True, kw_only=True)
class Communication:
    """What each GPU sends per optimizer step [bytes], averaged over the run, over a link of `link` bytes per second.

    `sent` is by collective. `backward_seconds` is the time of the backward pass behind which sending may be hidden: of
    the last micro-batch if gradients are sent once per step, and otherwise of all of them. Assumed: one link for all
    traffic, at its full bandwidth; no latency; `link` is None if it is not known.
    """

    sent: Mapping[str, Cost]
    backward_seconds: Cost
    link: float | None

    @property
    def bytes(self) -> Cost:
        """All that each GPU sends per step [bytes]."""
        return sum(self.sent.values(), Cost())

    @property
    def waited_for(self) -> Cost:
        """The part that cannot be sent while the GPU computes [bytes]."""
        return sum((size for name, size in self.sent.items() if name in WAITED_FOR), Cost())

    @property
    def seconds(self) -> Cost | None:
        """The time of sending it all [s]; None without a link."""
        return None if self.link is None else 1 / self.link * self.bytes

    @property
    def exposed_seconds(self) -> Cost | None:
        """What sending adds to a step [s] if it overlaps with the backward pass as far as it can.

        waited_for / link + max(0, (bytes − waited_for) / link − backward_seconds)
        """
        if self.link is None:
            return None
        waited, free = 1 / self.link * self.waited_for, self.backward_seconds
        hidden = 1 / self.link * (self.bytes + -1 * self.waited_for)
        return waited + Cost(max(0.0, hidden.dense - free.dense), max(0.0, hidden.sparse - free.sparse))


def backward_share(found: Estimate) -> Cost:
    """The backward pass's share of a step's MACs [-], which is taken for its share of the time.

    It is that of grad_input, grad_weight and what checkpoints recompute, as autograd executes them (`exact`).
    """
    costs = found.exact
    backward, training = costs.grad_input + costs.grad_weight + costs.recompute, costs.training
    return Cost(_ratio(backward.dense, training.dense), _ratio(backward.sparse, training.sparse))


def divided_share(found: Estimate, execution: Execution) -> Cost:
    """The share [-] of a step's MACs that each of the GPUs of a tensor-parallel group computes; 1 for one GPU.

    1/T of the layers that T GPUs split, and all of the others, which each of them computes, as autograd executes them.
    """
    gpus = execution.tensor_parallel
    if gpus == 1:
        return Cost(1, 1)
    split = split_of(found.network, gpus).layers
    places = [place for place, each in enumerate(found.network.layers) if not each.is_norm]
    divided = sum(
        (each.exact.training for place, each in zip(places, found.layers, strict=True) if place in split), Cost()
    )
    whole = sum((each.exact.training for each in found.layers), Cost())
    spared = 1 - 1 / gpus
    return Cost(1 - spared * _ratio(divided.dense, whole.dense), 1 - spared * _ratio(divided.sparse, whole.sparse))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
