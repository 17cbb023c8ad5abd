"""What GPUs that share a step send per optimizer step, how long that takes, and how much of it computing can hide."""

from collections.abc import Mapping
from dataclasses import dataclass

from swatcost.counting.costs import Cost
from swatcost.estimate import Estimate
from swatcost.memory.execution import Execution
from swatcost.memory.tensor_parallel import split_of
from swatcost.planning.answers import Answers
from swatcost.timing.dense_step import Part

WAITED_FOR = ("broadcast", "all-reduce of activations")
"""What the next operation cannot begin without: a forward pass its buffers, a layer the sum of what GPUs computed."""


@dataclass(frozen=True, kw_only=True)
class Communication:
    """What each GPU sends per optimizer step [bytes], averaged over the run, over a link of `link` bytes per second.

    `sent` is by collective, dense, and sparse where that saves something. `backward_seconds` is the time of the
    backward pass behind which sending may be hidden: of the last micro-batch if gradients are sent once per step, and
    otherwise of all of them. Assumed: one link for all traffic, at its full bandwidth; no latency; `link` is None if it
    is not known. Attainable steps send as dense ones do, since their kernels compute the gradient of every weight, but
    nothing of weights that are `frozen`.
    """

    sent: Mapping[str, Cost]
    backward_seconds: Answers
    link: float | None
    frozen: bool = False

    @property
    def bytes(self) -> Cost:
        """All that each GPU sends per step [bytes]."""
        return sum(self.sent.values(), Cost())

    @property
    def waited_for(self) -> Cost:
        """The part that cannot be sent while the GPU computes [bytes]."""
        return sum((size for name, size in self.sent.items() if name in WAITED_FOR), Cost())

    @property
    def seconds(self) -> Answers | None:
        """The time of sending it all [s]; None without a link."""
        return None if self.link is None else 1 / self.link * self._sent(self.bytes)

    @property
    def exposed_seconds(self) -> Answers | None:
        """What sending adds to a step [s] if it overlaps with the backward pass as far as it can.

        waited_for / link + max(0, (bytes − waited_for) / link − backward_seconds)
        """
        if self.link is None:
            return None
        hidden = 1 / self.link * self._sent(self.bytes + -1 * self.waited_for)
        left = hidden + -1 * self.backward_seconds
        return 1 / self.link * self._sent(self.waited_for) + left.each(lambda seconds: max(0.0, seconds))

    def _sent(self, size: Cost) -> Answers:
        return Answers(dense=size.dense, attainable=size.sparse if self.frozen else size.dense, ideal=size.sparse)


def backward_share(found: Estimate) -> Answers:
    """The backward pass's share of a step's time [-]; with recomputed forward passes, which are a part of it.

    Where the parts of the dense step are known (`backward_is_timed`), it is that of their times, and attainable with
    the kernels that are chosen. Elsewhere it is that of MACs, as autograd executes them (`exact`), and attainable as
    long as the dense one. The ideal backward pass takes of the dense one what its MACs are of the dense MACs.
    """
    by_macs = _share_of_macs(found)
    backward = sum(each.seconds * _in_backward(found, each) for each in found.dense_step.parts)
    whole = sum(each.seconds for each in found.dense_step.parts)
    dense = backward / whole if backward_is_timed(found) else by_macs.dense
    ideal = min(1.0, dense * _ratio(by_macs.sparse, by_macs.dense))
    if found.attainable_step.choices:
        return Answers(dense, _ratio(*_attainable_backward(found)), ideal)
    return Answers(dense, dense * found.dense_step.seconds / found.attainable_step.seconds, ideal)


def backward_is_timed(found: Estimate) -> bool:
    """Whether the backward pass's share is that of its operations' times, not of its MACs."""
    return bool(found.dense_step.parts)


def _attainable_backward(found: Estimate) -> tuple[float, float]:
    """The attainable time of the backward pass at the target sparsity, and that of the whole step [s]."""
    backward, whole = 0.0, 0.0
    passes: dict[tuple[int, str], tuple[float, float]] = {}
    chosen = {each.layer for each in found.attainable_step.choices}
    for part in found.dense_step.parts:
        in_backward = _in_backward(found, part)
        if part.layer in chosen:
            passes[part.layer, part.in_pass] = part.seconds, in_backward
        else:
            backward, whole = backward + part.seconds * in_backward, whole + part.seconds
    for choice in found.attainable_step.choices:
        parts = [passes[choice.layer, each] for each in choice.passes]
        share = sum(seconds * in_backward for seconds, in_backward in parts) / sum(seconds for seconds, _ in parts)
        backward, whole = backward + choice.seconds * share, whole + choice.seconds
    return backward, whole


def _in_backward(found: Estimate, part: Part) -> float:
    """The share of a part that the backward pass runs [-]: of a recomputed layer, all but its first forward pass."""
    if part.in_pass == "forward" and part.layer is not None:
        recomputed = found.network.counted_layers[part.layer].recomputed
        return recomputed / (1 + recomputed)
    return float(part.in_pass in ("grad_input", "grad_weight", "backward"))


def _share_of_macs(found: Estimate) -> Cost:
    """The share of grad_input, grad_weight and what checkpoints recompute in a step's MACs [-]."""
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
