"""The memory of a training step, and what fits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from swatcost.common.result import Result
from swatcost.estimate import Estimate, estimate
from swatcost.memory.execution import Executing
from swatcost.memory.sparse_step import SparseMemory
from swatcost.network import Network
from swatcost.planning.capacity import capacity_of, largest_batch, moving_seconds, needed_sparsity, rate_of, view_of
from swatcost.planning.training import trained
from swatcost.setting import Settings

if TYPE_CHECKING:
    from torch import nn


class Asked(Settings, Executing):
    """The keywords of `memory_of`: the settings of `estimate`, and how the step is executed."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MemoryReport(Result):
    """The memory of a training step, and whether it fits. Its repr is the report.

    `fits` are the largest batches ("dense", "naive" and "compressed") that fit in `capacity` bytes; `needed` is the
    activation sparsity at which the batch fits; `moving` is the time [s] to offload the saved tensors and bring them
    back at `link` bytes per second, dense and compressed.
    """

    report = "memory"

    estimate: Estimate
    memory: SparseMemory
    capacity: int | None = None
    fits: dict[str, int] | None = None
    needed: float | None = None
    link: float | None = None
    moving: tuple[float, float] | None = None


def memory_of(
    network: "Network | str | Path | nn.Module",
    *,
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    batch_dim: int | None = None,
    loss: Any = None,
    checkpoint: str | Iterable[str] | None = None,
    offload: bool | None = None,
    fit: str | int | None = None,
    link: str | float | None = None,
    **settings: Unpack[Asked],
) -> MemoryReport:
    """The memory of a training step, dense and sparse.

    network, input_shape, example_inputs and batch_dim are as `estimate` takes them; loss, checkpoint and offload as
    `trace` does. optimizer, precision and so on say how a step is executed (`Execution`). fit is a memory size [bytes,
    a string such as "11GB", or a device] to find the largest batch for; link is the bandwidth to the host [bytes/s, or
    a string such as "16GB"]. settings are those of `estimate`: weights, acts, method, distribution, batch_size and so
    on.

    Raises SwatcostError for invalid arguments.
    """
    traced, execution, asked = trained(
        network,
        settings,
        input_shape=input_shape,
        example_inputs=example_inputs,
        batch_dim=batch_dim,
        loss=loss,
        checkpoint=checkpoint,
        offload=offload,
    )
    found = estimate(traced, **asked)
    plan = found.plan
    memory = view_of(traced, plan, found.batch_size, execution)
    fits = needed = moving = None
    capacity = None if fit is None else capacity_of(str(fit))
    rate = None if link is None else rate_of(link)
    if capacity is not None:

        def view(samples: int) -> SparseMemory:
            return view_of(traced, plan, samples, execution)

        fits = {
            "dense": largest_batch(lambda samples: view(samples).dense.peak.bytes, capacity),
            "naive": largest_batch(lambda samples: view(samples).naive_peak, capacity),
            "compressed": largest_batch(lambda samples: view(samples).compressed_peak, capacity),
        }
        needed = needed_sparsity(traced, plan, found.batch_size, execution, capacity)
    if rate is not None:
        moving = (moving_seconds(memory.dense.saved_bytes, rate), moving_seconds(memory.compressed, rate))
    return MemoryReport(
        estimate=found, memory=memory, capacity=capacity, fits=fits, needed=needed, link=rate, moving=moving
    )
