"""Fully sharded data parallel as torch's fully_shard executes it, with its defaults.

Each parameter's first dimension is divided, rounded up; whole parameters and gradients are padded to equal shards where
they are sent.

Source: torch 2.13, distributed/fsdp/_fully_shard.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod

from swatcost.memory.collectives import sent_by, shard
from swatcost.memory.gradients import parameter_of_gradients
from swatcost.memory.module_schedule import Held, Visit, output_made, visits
from swatcost.memory.shares import Part, Share, buffers_of, gradients_made, last_event, without_gradients


def block_of(parameter: str) -> str:
    """The repeated block that a parameter belongs to: its name up to the first number, "" if there is none.

    >>> block_of("layers.3.mlp.up.weight"), block_of("embedding.weight")
    ('layers.3', '')
    """
    found = re.match(r"(?:.*?\.)??\d+(?=\.)", parameter)
    return found[0] if found else ""


def fsdp(part: Part, *, reshard: bool = True) -> Share:
    """fully_shard on every repeated block, then on the network, whose own group holds all other parameters.

    A group is gathered into a buffer and copied out of it. In the forward pass the buffer lives until the next group
    has been copied out, the last one until the output is there; in the backward pass the next group's is already there.
    The network's own group stays gathered from the beginning to the end. When a group's backward pass is over, its
    gradients are copied to the input of the reduce-scatter, which lives until the next group's. If the precision has
    master weights, the shards are these, and are gathered in the parameters' precision (MixedPrecisionPolicy);
    otherwise the shards are the parameters.
    """
    precision, last = part.precision, last_event(part)
    everything, trained = range(len(part.elements)), part.trained
    stored = precision.master or None

    def shards(numbers: Sequence[int]) -> int:
        own = [stored or part.parameter_bytes(each) for each in numbers]
        return sum(size * _rows(part, each) for size, each in zip(own, numbers, strict=True))

    members: dict[str, list[int]] = {}
    for number, each in enumerate(part.network.parameters):
        members.setdefault(block_of(each.name), []).append(number)
    padded = [part.gpus * _rows(part, each) for each in everything]
    bytes_of = {
        group: sum(padded[each] * part.parameter_bytes(each) for each in numbers) for group, numbers in members.items()
    }
    runs = [each for each in visits(part.network, block_of) if each.group]
    held, fetched = _unsharded(runs, bytes_of, part, reshard=reshard)
    ends = {each.group: each.backward[1] for each in runs if each.backward[1] > each.backward[0]}
    belongs = parameter_of_gradients(part.network)
    reduced: dict[str, int] = {}
    for storage, place in gradients_made(part):
        size, group, whose = part.sizes[storage], "", belongs.get(storage)
        sent = size
        if whose is not None:
            group, sent = block_of(part.network.parameters[whose].name), size * padded[whose] // part.elements[whose]
        held.append(Held("gradients", size, place, max(place + 1, min(last, ends.get(group, last)))))
        reduced[group] = reduced.get(group, 0) + sent
    order = [*sorted((group for group in reduced if group in ends), key=ends.__getitem__)]
    following = [*(ends[each] for each in order[1:]), last - 1]
    for group, until in zip(order, following, strict=False):
        held.append(Held("communication buckets", reduced[group], ends[group], min(last, until)))
        held.append(Held("gradients", _shards_of(part, shards, members, group), min(last, ends[group]), last + 1))
    others = [group for group in reduced if group not in ends]
    held.append(Held("communication buckets", sum(reduced[each] for each in others), last - 1, last))
    held += [Held("gradients", _shards_of(part, shards, members, each), last, last + 1) for each in others]
    updated = [part.as_trained(each, _shard_of(part, each)) for each in trained]
    constant = {
        "parameters": shards(everything),
        "optimizer state": part.optimizer.state(updated) + part.counters(updated),
        "buffers": buffers_of(part.network),
    }
    return Share(
        constant=constant, sizes=without_gradients(part), held=tuple(held), updated=updated,
        gradients=shards(trained), before_update={}, update={},
        sent=sent_by(part.gpus, {"all-gather": fetched, "reduce-scatter": sum(reduced.values())}),
    )  # fmt: skip


def _shards_of(part: Part, shards: Callable[[Sequence[int]], int], members: Mapping[str, list[int]], group: str) -> int:
    return shards([each for each in members.get(group, ()) if part.network.parameters[each].trains])


def _shard_of(part: Part, number: int) -> tuple[int, ...]:
    """The shape of a parameter's shard: FSDP divides its first dimension."""
    shape, elements = part.network.parameters[number].shape or (1,), part.elements[number]
    if not shape[0] or elements % shape[0]:  # tensor parallelism has divided the dimension itself
        return (shard(elements, part.gpus),)
    rest = shape[1:] if elements == prod(shape) else (elements // shape[0],)
    return (shard(shape[0], part.gpus), *rest)


def _rows(part: Part, number: int) -> int:
    """Elements of a parameter's shard."""
    return prod(_shard_of(part, number))


def _unsharded(
    runs: Sequence[Visit], bytes_of: Mapping[str, int], part: Part, *, reshard: bool
) -> tuple[list[Held], int]:
    """The gathered parameters and the buffers of their gathers, and the bytes that are gathered in a step."""
    last, backward = last_event(part), part.network.timeline.backward
    root, held, fetched = bytes_of.get("", 0), list[Held](), sum(bytes_of.values())
    held.append(Held("gathered parameters", root, 0, last))
    held.append(Held("communication buckets", root, 0, runs[0].forward[0] if runs else backward))
    kept: set[str] = set()
    for place, run in enumerate(runs):
        size, since, until = bytes_of[run.group], max(0, run.forward[0] - 1), max(0, run.forward[1] - 1)
        fetched += size if reshard and run.group in {each.group for each in runs[:place]} else 0
        if reshard:
            held.append(Held("gathered parameters", size, since, until))
        elif run.group not in kept:
            ended = max(each.backward[1] for each in runs if each.group == run.group)
            held.append(Held("gathered parameters", size, since, min(last, ended)))
        if reshard or run.group not in kept:
            copied = runs[place + 1].forward[0] if place + 1 < len(runs) else output_made(part.network) + 1
            held.append(Held("communication buckets", size, since, copied))
        kept.add(run.group)
    if reshard:
        begin = backward
        for place in reversed(range(len(runs))):
            run = runs[place]
            since, until = run.backward
            size = bytes_of[run.group]
            fetched += size
            held.append(Held("communication buckets", size, begin, min(last, since)))  # gathered ahead
            held.append(Held("gathered parameters", size, since, min(last, until)))
            begin = since
    return held, fetched


def fsdp_kept(part: Part) -> Share:
    """The same with reshard_after_forward=False: blocks stay gathered until their backward pass is over."""
    return fsdp(part, reshard=False)
