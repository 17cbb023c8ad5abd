"""Times of single operations: warmed up, repeated, the median kept, with memory as a training step finds it."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor

from swatcost.common.reading import Amount
from swatcost.devices.operations import PositiveCount, PositiveSeconds, ProductPrecision

Operation = Callable[..., object]
Arguments = Callable[[], tuple[Any, ...]]

ENOUGH_SECONDS = 0.15  # timed repetitions of one operation together
_LONG_SECONDS = 0.6  # after which the fewest repetitions do
_FEWEST, _ENOUGH, _MOST = 3, 5, 300  # repetitions
_DISTURBED = 0.25  # spread of times that are worth repeating [-]
_TICK = 1e-9  # of the clock [s]
CACHED_BYTES = 2**26  # more than the last-level cache that a few cores share
_MOST_COPIES = 64

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The median time [s] of an operation, and how far apart the middle half of its repetitions is, over it [-]."""

    seconds: PositiveSeconds
    spread: Amount
    repetitions: PositiveCount


def timed(operation: Operation, arguments: Arguments, on: str) -> Timing:
    """The time of an operation, after a warm-up run. `arguments` prepares its operands, which is not timed."""
    return together([(operation, arguments)], on)[0]


def together(pairs: Sequence[tuple[Operation, Arguments]], on: str) -> list[Timing]:
    """The times of several operations that take turns, so that a disturbance meets all of them."""
    times: list[list[float]] = [[] for _ in pairs]
    kept = [_kept(operation(*arguments())) for operation, arguments in pairs]
    while not _is_enough(times):
        for own, results, (operation, arguments) in zip(times, kept, pairs, strict=True):
            seconds, result = _once(operation, arguments(), on)
            own.append(seconds)
            results.append(result)
    return [_timing(own) for own in times]


def _is_enough(times: Sequence[Sequence[float]]) -> bool:
    """Whether operations were repeated enough: longer if their times disagree, as on a machine that is busy."""
    rounds, least = len(times[0]), min(map(sum, times))
    if rounds < _FEWEST or least < ENOUGH_SECONDS:
        return rounds >= _MOST
    if least >= _LONG_SECONDS:
        return True
    return rounds >= _ENOUGH and all(_spread(each) <= _DISTURBED for each in times)


def _spread(times: Sequence[float]) -> float:
    low, middle, high = quantiles(times, n=4)
    return (high - low) / middle


def _timing(times: Sequence[float]) -> Timing:
    return Timing(seconds=max(median(times), _TICK), spread=_spread(times), repetitions=len(times))


def _once(operation: Operation, arguments: tuple[Any, ...], on: str) -> tuple[float, object]:
    """The time [s] of one run, and its result. A GPU's clock runs on its own queue, without the time of a launch."""
    if torch.device(on).type == "cuda":
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        began.record()
        result = operation(*arguments)
        ended.record()
        torch.cuda.synchronize()
        return began.elapsed_time(ended) / 1e3, result
    before = time.perf_counter()
    result = operation(*arguments)
    return time.perf_counter() - before, result


def _kept(result: object) -> deque[object]:
    """Where results stay until newer ones have filled the caches, as a layer's outputs wait for the backward pass."""
    given = result if isinstance(result, tuple | list) else (result,)
    size = sum(each.numel() * each.element_size() for each in given if isinstance(each, Tensor) and not _sparse(each))
    return deque(maxlen=_copies(size))


def _sparse(tensor: Tensor) -> bool:
    return tensor.layout != torch.strided


def _copies(size: int) -> int:
    return max(1, min(_MOST_COPIES, CACHED_BYTES // max(1, size)))


def in_turn(tensor: Tensor) -> Iterator[Tensor]:
    """Copies of an operand that was last used long ago: one after the other, together larger than the caches."""
    count = _copies(tensor.numel() * tensor.element_size())
    return cycle([tensor, *(tensor.clone() for _ in range(count - 1))])


def written(tensor: Tensor) -> Tensor:
    """An operand that the operation before has just written."""
    return tensor.neg_()


@contextmanager
def computing_in(precision: ProductPrecision, on: str) -> Iterator[None]:
    """GPUs multiply fp32 tensors in fp32, or in tf32 if that is the precision."""
    if torch.device(on).type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
