"""ZeRO 1 to 3 as DeepSpeed executes them, with its default configuration.

Master weights and optimizer state are in fp32 at any precision. Alignment and padding of partitions are not counted.

Source: DeepSpeed, runtime/zero/stage_1_and_2.py, stage3.py, partitioned_param_coordinator.py and config.py.
"""

from swatcost.memory.module_schedule import Held, released, visits
from swatcost.memory.precisions import FULL
from swatcost.memory.shares import (
    Part,
    Share,
    buffers_of,
    gradients_made,
    last_event,
    sent_by,
    shard,
    without_gradients,
)

BUCKET = 500_000_000
"""Elements of DeepSpeed's gradient bucket (reduce_bucket_size), allocated whole however small the network is."""
PREFETCH, REUSE, LIVE = 50_000_000, 1_000_000_000, 1_000_000_000
"""ZeRO-3: elements gathered ahead (stage3_prefetch_bucket_size); parameters that are used again within so many elements
are kept (stage3_max_reuse_distance); nothing is gathered ahead beyond so many (stage3_max_live_parameters)."""
PERSISTENT = 100_000
"""ZeRO-3: parameters of at most so many elements stay whole on every GPU (stage3_param_persistence_threshold)."""
SUB_GROUP = 1_000_000_000
"""ZeRO-3: elements that are updated at a time (sub_group_size)."""


def zero1(part: Part) -> Share:
    """Optimizer state and master weights are sharded."""
    return _zero12(part, gradients_sharded=False)


def zero2(part: Part) -> Share:
    """Gradients are sharded, too."""
    return _zero12(part, gradients_sharded=True)


def _in_partitions(part: Part, shards: int, **holds: int) -> dict[str, int]:
    """Resident bytes under ZeRO: its master weights, state and updates are in fp32 at any precision."""
    return {
        "parameters": holds.pop("parameters"),
        "master weights": FULL * shards,
        "optimizer state": FULL * part.states * shards,
        "buffers": buffers_of(part.network),
        **{name.replace("_", " "): size for name, size in holds.items()},
    }


def _zero12(part: Part, *, gradients_sharded: bool) -> Share:
    """Parameters are whole; each GPU updates one flat partition of them and gathers the others.

    In the backward pass there is a bucket, and gradients are copied to it as they are made (stage 2) or all at the end
    (stage 1). A full bucket is flattened once more and all-reduced (use_multi_rank_bucket_allreduce); the GPU's own
    partition is then copied out.
    """
    bytes_each = max((part.parameter_bytes(each) for each in part.trained), default=FULL)
    shards = shard(sum(part.elements[each] for each in part.trained), part.gpus)
    backward, last, own = part.network.timeline.backward, last_event(part), bytes_each * shards
    held = [Held("communication buckets", BUCKET * bytes_each, backward, last)]
    filled, own_since = 0, None
    if gradients_sharded:
        for storage, place in gradients_made(part):
            held.append(Held("gradients", part.sizes[storage], place, min(last, released(part.network, place))))
            if filled and filled + part.sizes[storage] > BUCKET * bytes_each:
                held.append(Held("communication buckets", filled, place, place + 1))
                own_since, filled = place if own_since is None else own_since, 0
            filled += part.sizes[storage]
        held.append(Held("communication buckets", filled, max(backward, last - 1), last))
        own_since = max(backward, last - 1) if own_since is None else own_since
    else:
        for storage, place in gradients_made(part):
            held.append(Held("gradients", part.sizes[storage], place, last))
        own_since = last
    held.append(Held("gradients", own, own_since, last + 1))
    converted = {"gradients converted to fp32": (FULL - bytes_each) * shards}
    flattened = {"gradients flattened": own, "gradients in fp32": FULL * shards if bytes_each != FULL else 0}
    gradients, parameters = sum(part.gradients.values()), part.sum(part.trained)
    return Share(
        constant=_in_partitions(part, shards, parameters=part.sum(range(len(part.elements)))),
        sizes=without_gradients(part), held=tuple(held), updated=[shards], state=FULL, gradients=own,
        before_update=flattened, update=converted,
        sent=sent_by(part.gpus, {"all-reduce": gradients, "all-gather": parameters}),
    )  # fmt: skip


def module_of(parameter: str) -> str:
    """The module that owns a parameter.

    >>> module_of("layers.3.mlp.up.weight")
    'layers.3.mlp.up'
    """
    return parameter.rpartition(".")[0]


def zero3(part: Part) -> Share:
    """Parameters, gradients and state are partitioned, each parameter by itself; small parameters also stay whole.

    A module's parameters are gathered for it, forward and backward, and the next ones ahead; they are kept if they are
    used again soon. The bucket and the partitions of the gradients are resident.
    """
    trained = part.trained
    bytes_each = max((part.parameter_bytes(each) for each in trained), default=FULL)
    shards = sum(shard(part.elements[each], part.gpus) for each in trained)
    everything = range(len(part.elements))
    small = [each for each in everything if part.elements[each] <= PERSISTENT]
    backward, last = part.network.timeline.backward, last_event(part)
    gathered, fetched = _gathered(part, frozenset(small))
    held, filled = list(gathered), 0
    for storage, place in gradients_made(part):
        held.append(Held("gradients", part.sizes[storage], place, min(last, released(part.network, place))))
        if filled and filled + part.sizes[storage] > BUCKET * bytes_each:
            held.append(Held("communication buckets", filled, place, place + 1))
            filled = 0
        filled += part.sizes[storage]
    held.append(Held("communication buckets", filled, max(backward, last - 1), last))
    updated = min(shards, SUB_GROUP)
    flattened = {"gradients flattened": bytes_each * updated,
                 "gradients in fp32": FULL * updated if bytes_each != FULL else 0}  # fmt: skip
    persistent = part.sum([each for each in small if part.network.parameters[each].trains])
    gradients = sum(part.gradients.values())
    return Share(
        constant=_in_partitions(
            part, shards, parameters=part.sum(everything, lambda elements: shard(elements, part.gpus)),
            persistent_parameters=part.sum(small), gradients=bytes_each * shards,
            communication_buckets=BUCKET * bytes_each,
        ),
        sizes=without_gradients(part), held=tuple(held), updated=[updated], state=FULL, gradients=bytes_each * shards,
        before_update=flattened, update={"gradients in fp32": FULL * updated},
        sent=sent_by(part.gpus, {"all-gather": fetched + persistent, "reduce-scatter": gradients}),
    )  # fmt: skip


def _gathered(part: Part, small: frozenset[int]) -> tuple[list[Held], int]:
    """The parameters that ZeRO-3 holds whole while each module runs, and the bytes that it gathers in a step."""
    members: dict[str, list[int]] = {}
    for number, each in enumerate(part.network.parameters):
        if number not in small:
            members.setdefault(module_of(each.name), []).append(number)
    runs, last = [each for each in visits(part.network, module_of) if each.group in members], last_event(part)
    steps = [(each.group, each.forward) for each in runs] + [(each.group, each.backward) for each in reversed(runs)]
    size = {group: sum(part.elements[each] for each in numbers) for group, numbers in members.items()}
    bytes_of = {group: part.sum(numbers) for group, numbers in members.items()}
    passed = [0]  # elements of all steps before each
    for group, _ in steps:
        passed.append(passed[-1] + size[group])
    following: list[int | None] = [None] * len(steps)
    later: dict[str, int] = {}
    for step in reversed(range(len(steps))):
        following[step] = later.get(steps[step][0])
        later[steps[step][0]] = step
    available: dict[str, None] = {}
    queued, latest, held, fetched = 0, dict[str, int](), list[Held](), 0
    for step, (group, (since, until)) in enumerate(steps):
        wanted = [] if group in available else [group]
        live, ahead = sum(size[each] for each in {*available, group}), 0
        queued = max(queued, step + 1)
        while queued < len(steps) and ahead < min(LIVE - live, PREFETCH):
            other = steps[queued][0]
            latest[other] = queued
            if other not in available and other not in wanted:
                wanted.append(other)
                ahead += size[other]
            queued += 1
        available.update(dict.fromkeys(wanted))
        fetched += sum(bytes_of[each] for each in wanted)
        held.append(Held("gathered parameters", sum(bytes_of[each] for each in available), since, min(last, until)))
        again = following[step]
        near = again is not None and passed[again] - passed[step + 1] < REUSE
        if not near and latest.get(group, 0) <= step:
            del available[group]
    return held, fetched
