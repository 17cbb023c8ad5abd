"""The memory of a training step, and what fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from swatcost.common.result import Result
from swatcost.estimate import Estimate, estimate_setting
from swatcost.memory.allocator import GpuMemory, gpu_memory
from swatcost.memory.dense_step import StepMemory, dense_step
from swatcost.memory.execution import Executing, Execution
from swatcost.memory.sparse_step import SparseMemory
from swatcost.network import Network
from swatcost.network.conditions import StepAsked
from swatcost.planning.capacity import capacity_of, largest_batch, moving_seconds, needed_sparsity, rate_of, view_of
from swatcost.planning.training import OF_EXECUTION, trained
from swatcost.planning.ways_to_fit import Way, ways_to_fit
from swatcost.setting import NOT_TIMED, Scope, Settings

if TYPE_CHECKING:
    from torch import nn


MEASURING = Scope(without={"mfu": NOT_TIMED["mfu"]}, own=OF_EXECUTION)
"""The settings of a memory report: its optimizer and precision are the execution's."""


class Asked(Settings, Executing, StepAsked):
    """The keywords of `memory_of` beside its own: the settings of `estimate`, the step, and how it is executed."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MemoryReport(Result):
    """The memory of a training step, and whether it fits. Its repr is the report.

    `on_gpu` is what CUDA's allocator makes of the dense step, if it runs on one. `fits` are the largest batches
    ("dense", "naive" and "compressed") that fit in `capacity` bytes, `fitted` the dense step of that batch, if any
    does, `fitted_on_gpu` the largest batch whose blocks and workspaces CUDA's allocator fits, with what they take, and
    `ways` the cheapest changes by which more fit; `needed` is the activation sparsity at which the batch
    fits. `moving` is the time [s] to offload the saved tensors and bring them back at `link` bytes per second, dense
    and compressed.
    """

    report = "memory"

    estimate: Estimate
    memory: SparseMemory
    on_gpu: GpuMemory | None
    capacity: int | None = None
    fits: dict[str, int] | None = None
    fitted: StepMemory | None = None
    fitted_on_gpu: tuple[int, GpuMemory] | None = None
    ways: tuple[Way, ...] = ()
    needed: float | None = None
    link: float | None = None
    moving: tuple[float, float] | None = None


def _as_allocated(network: Network, execution: Execution, batch: int, capacity: int) -> tuple[int, GpuMemory] | None:
    """The largest batch, at most this one, whose blocks and workspaces fit, and what it takes; None if none does."""
    while batch > 0:
        step = dense_step(network, batch, execution)
        found = gpu_memory(network, step)
        if found.allocated <= capacity:
            return batch, found
        batch -= max(1, (found.allocated - capacity) * batch // max(step.peak.bytes, 1))
    return None


def memory_of(
    network: "Network | str | Path | nn.Module",
    *,
    input_shape: Sequence[int] | None = None,
    example_inputs: Any = None,
    batch_dim: int | None = None,
    fit: str | int | None = None,
    link: str | float | None = None,
    **settings: Unpack[Asked],
) -> MemoryReport:
    """The memory of a training step, dense and sparse.

    network, input_shape, example_inputs and batch_dim are as `estimate` takes them; loss, checkpoint, offload and
    hold_outputs as `trace` does. optimizer, precision and so on say how a step is executed (`Execution`). fit is a
    memory size [bytes, a string such as "11GB", or a device] to find the largest batch for; link is the bandwidth to
    the host [bytes/s, or a string such as "16GB"]. settings are those of `estimate`: weights, acts, method,
    distribution, batch_size and so on.

    Raises SwatcostError for invalid arguments.
    """
    traced, execution, asked = trained(
        network, settings, input_shape=input_shape, example_inputs=example_inputs, batch_dim=batch_dim
    )
    found = estimate_setting(traced, MEASURING.setting(asked))
    view = cache(lambda samples: view_of(traced, found.plan, samples, execution))
    memory, rate = view(found.batch_size), None if link is None else rate_of(link)
    alone = execution.precision.on_gpu and (execution.replicas == 1 or execution.sharding.name == "ddp")
    fits = needed = fitted = fitted_on_gpu = None
    ways: tuple[Way, ...] = ()
    capacity = None if fit is None else capacity_of(str(fit))
    if capacity is not None:
        dense = largest_batch(lambda samples: dense_step(traced, samples, execution).peak.bytes, capacity)
        fits = dict.fromkeys(("dense", "naive", "compressed"), dense)
        if found.plan.asks_for_sparsity:
            fits["naive"] = largest_batch(lambda samples: view(samples).naive_peak, capacity)
            fits["compressed"] = largest_batch(lambda samples: view(samples).largest_compressed_peak, capacity)
        fitted = dense_step(traced, dense, execution) if dense else None
        if dense and alone:
            fitted_on_gpu = _as_allocated(traced, execution, dense, capacity)
        ways = ways_to_fit(found, execution, capacity, dense)
        if found.plan.asks_for_sparsity:
            needed = needed_sparsity(traced, found.plan, found.batch_size, execution, capacity)
    saved = memory.dense.saved_bytes, memory.compressed
    moving = None if rate is None else (moving_seconds(saved[0], rate), moving_seconds(saved[1], rate))
    on_gpu = gpu_memory(traced, memory.dense) if alone else None
    return MemoryReport(
        estimate=found, memory=memory, on_gpu=on_gpu, capacity=capacity, fits=fits,
        fitted=fitted, fitted_on_gpu=fitted_on_gpu, ways=ways, needed=needed, link=rate, moving=moving,
    )  # fmt: skip
