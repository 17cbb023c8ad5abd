"""Ways to fit a larger batch in memory, the cheapest first, and what each costs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from swatcost.estimate import Estimate, plan_of
from swatcost.memory.dense_step import dense_step
from swatcost.memory.execution import Execution
from swatcost.memory.precisions import PRECISIONS
from swatcost.memory.sharding import SHARDINGS
from swatcost.network import Network
from swatcost.planning.capacity import largest_batch, view_of
from swatcost.planning.recomputation import Recomputed, repeated_modules

_SHOWN = 3
_GPUS = 8
_SPARSITY = 0.9
_WORTH = 1.1  # a way that fits fewer than that many times as many samples is not worth showing

Kind = Literal["precision", "checkpointing", "sharding", "sparsity"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """A change by which a larger batch fits, the options that ask for it, and its cost.

    `batch` is the largest that fits on a GPU then; with `is_bound` at least about as many do. `added_macs` are those of
    the recomputation over those of the step [-], at most; `sent_bytes` what each GPU sends per step of that batch.
    """

    kind: Kind
    options: str
    batch: int
    is_bound: bool = False
    added_macs: float = 0.0
    sent_bytes: int = 0


def ways_to_fit(found: Estimate, execution: Execution, capacity: int, batch: int) -> tuple[Way, ...]:
    """The first three ways to fit more than `batch` samples in capacity [bytes], by what they cost.

    In order: a lower precision, which costs nothing but digits; checkpointing, which recomputes; sharding, which takes
    more GPUs and sends; sparsity, which needs formats and kernels that read them.
    """
    ways = (way for of in _KINDS for way in of(found, execution, capacity) if way.batch > _WORTH * batch)
    return tuple(islice(ways, _SHOWN))


def _dense(network: Network, execution: Execution, capacity: int) -> int:
    return largest_batch(lambda samples: dense_step(network, samples, execution).peak.bytes, capacity)


def _precision(found: Estimate, execution: Execution, capacity: int) -> Iterator[Way]:
    if execution.precision.name != "fp32":
        return
    name = "amp" if found.network.amp else "master"
    network = found.network.under(name) if found.network.amp else found.network
    lower = replace(execution, precision=PRECISIONS[name])
    yield Way(kind="precision", options=f"--precision {name}", batch=_dense(network, lower, capacity))


def _checkpointing(found: Estimate, execution: Execution, capacity: int) -> Iterator[Way]:
    network = found.network
    if network.conditions.checkpoint or network.conditions.offload or execution.tensor_parallel > 1:
        return
    ways = []
    for repeated in repeated_modules(network):
        recomputed = Recomputed(network, repeated)

        def peak(samples: int, recomputed: Recomputed = recomputed) -> int:
            return recomputed.peak(dense_step(network, samples, execution))

        ways.append(
            Way(
                kind="checkpointing",
                options=f"--checkpoint '{repeated.pattern}'",
                batch=largest_batch(peak, capacity),
                is_bound=True,
                added_macs=repeated.forward_macs(network) / found.exact.training.dense,
            )
        )
    yield from sorted(ways, key=lambda way: -way.batch)[:1]


def _sharding(found: Estimate, execution: Execution, capacity: int) -> Iterator[Way]:
    if execution.sharding.name != "ddp" or execution.update_in_backward or found.plan.asks_for_sparsity:
        return
    gpus = execution.gpus if execution.replicas > 1 else _GPUS * execution.tensor_parallel
    shared = replace(execution, gpus=gpus, sharding=SHARDINGS["fsdp"])
    batch = _dense(found.network, shared, capacity)
    sent = dense_step(found.network, max(batch, 1), shared).sent_bytes
    yield Way(kind="sharding", options=f"--gpus {gpus} --sharding fsdp", batch=batch, sent_bytes=sent)


def _sparsity(found: Estimate, execution: Execution, capacity: int) -> Iterator[Way]:
    method = found.plan.method
    alone = execution.gpus == 1 or (execution.sharding.name == "ddp" and execution.tensor_parallel == 1)
    if found.plan.asks_for_sparsity or not alone or not (method.uses("weight") and method.uses("activation")):
        return
    plan = plan_of(found.network, found.setting.but(weights=_SPARSITY, acts=_SPARSITY))

    def peak(samples: int) -> int:
        return view_of(found.network, plan, samples, execution).compressed_peak

    options = f"--weights {_SPARSITY} --acts {_SPARSITY}"
    yield Way(kind="sparsity", options=options, batch=largest_batch(peak, capacity))


_KINDS: tuple[Callable[[Estimate, Execution, int], Iterator[Way]], ...] = (
    _precision, _checkpointing, _sharding, _sparsity,
)  # fmt: skip
