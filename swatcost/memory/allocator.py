"""A step's memory as torch.cuda reports it: the blocks of CUDA's caching allocator, and what libraries keep.

`CachingAllocator` hands out the same blocks as torch with its default settings, for one stream:

- a request is rounded up to 512 bytes; up to 1 MiB it is served from small segments of 2 MiB, each held apart from the
  large ones;
- the smallest free block that suffices is taken, the one at the lowest address if several are as small. If there is
  none, a segment is allocated: 2 MiB for a small request, 20 MiB for one below 10 MiB, else the request rounded up to
  2 MiB;
- what is left of a block is split off if it is at least 512 bytes (small) or more than 1 MiB (large); otherwise it
  stays part of the block, and counts as allocated;
- a freed block is merged with its free neighbours in the same segment. Segments are kept.

Source: c10/cuda/CUDACachingAllocator.cpp; sizes as in c10/core/AllocatorConfig.h of torch 2.13. Left out: settings of
PYTORCH_CUDA_ALLOC_CONF (expandable segments, a largest block to split, roundings, garbage collection), several
streams, CUDA graphs. On a full GPU torch releases all segments without an allocated block and tries again.
Assumed: CUDA gives each new segment a higher address than those before; this only decides between free blocks of the
same size.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from swatcost.memory.dense_step import StepMemory
from swatcost.network import Network

_MiB = 2**20
ROUNDING = 512
"""Sizes of blocks are multiples of this [bytes]: kMinBlockSize."""
SMALL = _MiB
"""The largest request that is served from small segments [bytes]; kSmallSize."""
SMALL_SEGMENT = 2 * _MiB
"""[bytes]; kSmallBuffer."""
LARGE_SEGMENT = 20 * _MiB
"""The segment for large requests below OWN_SEGMENT [bytes]; large_segment_size."""
OWN_SEGMENT = 10 * _MiB
"""Requests from this size on get a segment of their own size [bytes]; kMinLargeAlloc."""
SEGMENT_ROUNDING = 2 * _MiB
"""Such segments are multiples of this [bytes]; kRoundLarge."""

CUBLAS_WORKSPACE = 2 * 4 * _MiB + 8 * 16 * 2**10
"""What torch allocates at the first product of each cuBLAS handle, and keeps [bytes]: its default ":4096:2:16:8".

Source: aten/src/ATen/cuda/CublasHandlePool.cpp. The thread of the forward pass has a handle of its own, and so has the
thread in which autograd runs the backward pass; cuBLASLt uses the same workspaces.
"""
HOPPER_CUBLAS_WORKSPACE = 32 * _MiB
"""The same on Hopper and, in recent versions of torch, on Blackwell [bytes]."""

CUDNN_ALLOWANCE = 20_000_000
"""What cuDNN may need while a convolution runs [bytes]: measured, not a bound.

`max_memory_allocated` was up to 19.4 MB above the blocks in eight steps of convolutional networks
(benchmarks/GPU_MEMORY.md: H200, fp32). torch sets no limit: it takes the first algorithm in cuDNN's list that can be
given its workspace, and frees the workspace after the call.
"""

_STEPS = 3
"""Steps until the same blocks are used in each: the optimizer allocates its state in the first, between activations."""

_BEFORE = {"parameters", "buffers", "master weights"}
"""What is allocated before the first step. All else that lives throughout is the optimizer's."""


class CachingAllocator:
    """Blocks of GPU memory, handed out as by torch. `allocated`, its `peak` and `reserved` are in bytes.

    An address of 0 stands for no memory.
    """

    def __init__(self) -> None:
        self.allocated = self.peak = self.reserved = 0
        self._allocated: dict[int, int] = {}  # sizes by address
        self._free: dict[int, int] = {}  # sizes by address
        self._free_by_end: dict[int, int] = {}  # addresses
        self._small: list[tuple[int, int]] = []  # sizes and addresses of free blocks in small segments, sorted
        self._large: list[tuple[int, int]] = []
        self._beyond = ROUNDING  # the end of the last segment, and a gap that keeps neighbours apart

    def allocate(self, size: int) -> int:
        """The address of a block for `size` bytes; 0 if no bytes are wanted."""
        if not size:
            return 0
        size = -(-size // ROUNDING) * ROUNDING
        small = size <= SMALL
        pool = self._small if small else self._large
        place = bisect_left(pool, (size, 0))
        if place < len(pool):
            held, address = pool.pop(place)
            del self._free[address], self._free_by_end[address + held]
        else:
            held, address = self._new_segment(size)
        rest = held - size
        if rest >= ROUNDING if small else rest > SMALL:
            self._keep_free(pool, address + size, rest)
            held = size
        self._allocated[address] = held
        self.allocated += held
        self.peak = max(self.peak, self.allocated)
        return address

    def free(self, address: int) -> None:
        """Frees the block at the address."""
        if not address:
            return
        size = self._allocated.pop(address)
        self.allocated -= size
        pool = self._small if size <= SMALL else self._large
        if (before := self._free_by_end.get(address)) is not None:
            size += self._taken(pool, before)
            address = before
        if address + size in self._free:
            size += self._taken(pool, address + size)
        self._keep_free(pool, address, size)

    def _new_segment(self, size: int) -> tuple[int, int]:
        """The size and the address of a new segment, for a request of this size."""
        if size <= SMALL:
            size = SMALL_SEGMENT
        elif size < OWN_SEGMENT:
            size = LARGE_SEGMENT
        else:
            size = -(-size // SEGMENT_ROUNDING) * SEGMENT_ROUNDING
        address, self._beyond = self._beyond, self._beyond + size + ROUNDING
        self.reserved += size
        return size, address

    def _keep_free(self, pool: list[tuple[int, int]], address: int, size: int) -> None:
        insort(pool, (size, address))
        self._free[address] = size
        self._free_by_end[address + size] = address

    def _taken(self, pool: list[tuple[int, int]], address: int) -> int:
        """The size of a free block that is free no longer."""
        size = self._free.pop(address)
        del self._free_by_end[address + size]
        del pool[bisect_left(pool, (size, address))]
        return size


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """The memory of training steps on a GPU, as torch.cuda reports it [bytes].

    `allocated` is what max_memory_allocated gives: the peak of all allocated blocks. `reserved` is what memory_reserved
    gives: all segments. `workspace` is what cuBLAS keeps, included in both. `convolutions` is CUDNN_ALLOWANCE if the
    network has convolutions, included in neither.

    The allocator does not see the CUDA context and the code of kernels, several hundred MB, nor the buffers of NCCL.
    """

    allocated: int
    reserved: int
    workspace: int
    convolutions: int


def gpu_memory(network: Network, step: StepMemory, *, cublas_workspace: int = HOPPER_CUBLAS_WORKSPACE) -> GpuMemory:
    """The memory of steps of the network on a GPU, all like this one.

    Each parameter, buffer and optimizer state is an allocation of its own; the optimizer allocates its state at the
    first update. Between steps the batch, the gradients and the outputs are freed. `cublas_workspace` [bytes] is
    allocated by the forward and by the backward pass, if the network multiplies matrices outside convolutions.
    """
    gpu = CachingAllocator()
    for size in _resident(network, step):
        gpu.allocate(size)
    passes = [step.events[: step.backward], step.events[step.backward :]]
    kinds = {layer.kind for layer in network.layers}
    workspace = cublas_workspace if kinds & {"linear", "product", "custom"} else 0
    for number in range(_STEPS):
        addresses: dict[int, int] = {}
        for each in passes:
            if number == 0 and each:
                gpu.allocate(workspace)
            for event in each:
                if event > 0:
                    addresses[event] = gpu.allocate(step.sizes[event - 1])
                else:
                    gpu.free(addresses.pop(-event))
        if number == 0:
            for kind in sorted(step.constant.keys() - _BEFORE):
                for size in _per_parameter(network, step, kind):
                    gpu.allocate(size)
        copies = [gpu.allocate(size) for size in _shares(step.working, _trained(network))]
        for address in (*copies, *addresses.values()):
            gpu.free(address)
    return GpuMemory(
        allocated=gpu.peak,
        reserved=gpu.reserved,
        workspace=workspace * sum(map(bool, passes)),
        convolutions=CUDNN_ALLOWANCE if kinds & {"conv", "transposed_conv"} else 0,
    )


def _resident(network: Network, step: StepMemory) -> Iterator[int]:
    """The allocations [bytes] that are made before the first step."""
    traced = [each.elements * each.element_bytes for each in network.parameters]
    yield from _shares(step.constant.get("parameters", 0), traced)
    yield from (prod(each.shape) * each.element_bytes for each in network.buffers)
    yield from _per_parameter(network, step, "master weights")


def _per_parameter(network: Network, step: StepMemory, kind: str) -> Iterator[int]:
    """The allocations [bytes] of a kind of `constant` that has copies of each parameter that trains."""
    size, trained = step.constant.get(kind, 0), _trained(network)
    copies = max(1, round(size / max(sum(trained) * step.execution.precision.state, 1)))
    for each in _shares(size, trained):
        yield from [-(-each // copies)] * copies


def _trained(network: Network) -> list[int]:
    return [each.elements for each in network.parameters if each.trains]


def _shares(size: int, parts: Sequence[int]) -> list[int]:
    """`size` bytes, divided in proportion to the parts, each rounded up."""
    whole = sum(parts)
    return [-(-size * part // whole) for part in parts] if whole else []
