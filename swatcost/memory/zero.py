"""ZeRO 1 to 3 as DeepSpeed executes them, with its default configuration.

Master weights and optimizer state are in fp32 at any precision. Alignment and padding of partitions are not counted.

Source: DeepSpeed, runtime/zero/stage_1_and_2.py, stage3.py, partitioned_param_coordinator.py and config.py.
"""

from swatcost.memory.collectives import sent_by, shard
from swatcost.memory.module_schedule import Held, released, visits
from swatcost.memory.precisions import FULL
from swatcost.memory.shares import Part, Share, buffers_of, gradients_made, last_event, without_gradients
from swatcost.memory.trained_parameters import Trained

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
    """Optimizer state and master weights are sharded; gradients stay whole until the backward pass is over.

    Then they are copied to the bucket, which frees them, and all-reduced; the GPU's partition is copied out.
    """
    last = last_event(part)
    held = [Held("gradients", part.sizes[storage], place, last) for storage, place in gradients_made(part)]
    return _with_whole_parameters(part, held, last)


def zero2(part: Part) -> Share:
    """Gradients are sharded, too: each is copied to the bucket as it is made, and freed.

    A full bucket is flattened once more and all-reduced (use_multi_rank_bucket_allreduce); the GPU's partition is then
    copied out. So is what is in the bucket at the end.
    """
    held, full = _bucketed(part)
    return _with_whole_parameters(part, held, full)


def _bucketed(part: Part) -> tuple[list[Held], int]:
    """Gradients until they are in the bucket, the copies of full buckets, and the event at which the first is made."""
    last, bucket = last_event(part), BUCKET * _gradient_bytes(part)
    filled, full, held = 0, list[int](), list[Held]()
    for storage, place in gradients_made(part):
        size = part.sizes[storage]
        held.append(Held("gradients", size, place, min(last, released(part.network, place))))
        if filled and filled + size > bucket:
            held.append(Held("communication buckets", filled, place, place + 1))
            full.append(place)
            filled = 0
        filled += size
    end = max(part.network.timeline.backward, last - 1)
    return [*held, Held("communication buckets", filled, end, last)], min([*full, end])


def _gradient_bytes(part: Part) -> int:
    return max((part.parameter_bytes(each) for each in part.trained), default=FULL)


def _with_whole_parameters(part: Part, held: list[Held], own_since: int) -> Share:
    """Each GPU updates one flat partition of the parameters, and gathers the others.

    The partition's gradients are held from event `own_since`. Before the update they are flattened and converted.
    """
    shards = shard(sum(part.elements[each] for each in part.trained), part.gpus)
    each_has, last = _gradient_bytes(part), last_event(part)
    own = each_has * shards
    bucket = Held("communication buckets", BUCKET * each_has, part.network.timeline.backward, last)
    gradients, parameters = sum(part.gradients.values()), part.sum(part.trained)
    return Share(
        constant=_in_partitions(part, shards, parameters=part.sum(range(len(part.elements)))),
        sizes=without_gradients(part),
        held=(bucket, *held, Held("gradients", own, own_since, last + 1)),
        updated=[Trained((shards,), FULL)],
        gradients=own,
        before_update=_flattened(each_has, shards),
        update={"gradients converted to fp32": (FULL - each_has) * shards},
        sent=sent_by(part.gpus, {"all-reduce": gradients, "all-gather": parameters}),
    )


def _flattened(bytes_each: int, elements: int) -> dict[str, int]:
    in_fp32 = FULL * elements if bytes_each != FULL else 0
    return {"gradients flattened": bytes_each * elements, "gradients in fp32": in_fp32}


def _in_partitions(part: Part, shards: int, **holds: int) -> dict[str, int]:
    """Resident bytes under ZeRO: its master weights, state and updates are in fp32 at any precision."""
    return {
        "parameters": holds.pop("parameters"),
        "master weights": FULL * shards,
        "optimizer state": part.optimizer.state([Trained((shards,), FULL)]),
        "buffers": buffers_of(part.network),
        **{name.replace("_", " "): size for name, size in holds.items()},
    }


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
    trained, each_has = part.trained, _gradient_bytes(part)
    shards = sum(shard(part.elements[each], part.gpus) for each in trained)
    everything = range(len(part.elements))
    small = [each for each in everything if part.elements[each] <= PERSISTENT]
    gathered, fetched = _gathered(part, frozenset(small))
    persistent = part.sum([each for each in small if part.network.parameters[each].trains])
    updated = min(shards, SUB_GROUP)
    return Share(
        constant=_in_partitions(
            part,
            shards,
            parameters=part.sum(everything, lambda elements: shard(elements, part.gpus)),
            persistent_parameters=part.sum(small),
            gradients=each_has * shards,
            communication_buckets=BUCKET * each_has,
        ),
        sizes=without_gradients(part),
        held=(*gathered, *_bucketed(part)[0]),
        updated=[Trained((updated,), FULL)],
        gradients=each_has * shards,
        before_update=_flattened(each_has, updated),
        update={"gradients in fp32": FULL * updated},
        sent=sent_by(part.gpus, {"all-gather": fetched + persistent, "reduce-scatter": sum(part.gradients.values())}),
    )


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
