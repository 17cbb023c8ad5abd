"""The ways in which several GPUs share a training step.

Every GPU runs the step on samples of its own: the batch size is that of one GPU. What does not divide by the number of
GPUs is rounded up. Only what differs from a step on one GPU is described here; `dense_step` puts it together.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from swatcost.common.registry import Registry
from swatcost.memory.collectives import sent_by
from swatcost.memory.fsdp import fsdp, fsdp_kept
from swatcost.memory.shares import Part, Share, undivided
from swatcost.memory.zero import zero1, zero2, zero3


@dataclass(frozen=True)
class Sharding:
    """A way in which GPUs share a step.

    `once` says that they exchange what they do once per update, and not in each of its micro-batches. If it
    `divides_update`, each GPU holds the optimizer's state of its share of the parameters, and updates that alone.
    """

    name: str
    title: str
    divide: Callable[[Part], Share]
    once: bool = False
    divides_update: bool = True


def _ddp(part: Part) -> Share:
    """Gradients are copied to buckets that live as long as the model, unless gradient_as_bucket_view is set.

    Rank 0 broadcasts the buffers before a forward pass that follows an all-reduce; in a ring each GPU passes them on
    once. Micro-batches but the last are assumed to run under `no_sync`.
    """
    found = undivided(part)
    sent = sent_by(part.gpus, {"all-reduce": found.gradients})
    buffers = {"broadcast": found.constant["buffers"]} if found.constant["buffers"] else {}
    buckets = part.sum(part.trained)
    return replace(found, constant={**found.constant, "gradient buckets": buckets}, sent={**sent, **buffers})


SHARDINGS = Registry[Sharding](
    "sharding",
    Sharding,
    Sharding("ddp", "data parallel: every GPU holds everything, gradients are all-reduced", _ddp, True, False),
    Sharding("zero1", "ZeRO 1: optimizer state and master weights are sharded, as by DeepSpeed", zero1),
    Sharding("zero2", "ZeRO 2: gradients are sharded, too", zero2),
    Sharding("zero3", "ZeRO 3: parameters are sharded, too", zero3),
    Sharding("fsdp", "fully_shard: all are sharded, blocks are resharded after their forward pass", fsdp),
    Sharding("fsdp-keep", "fully_shard with reshard_after_forward=False", fsdp_kept),
)
