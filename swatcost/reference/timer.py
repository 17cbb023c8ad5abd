"""Times of single operations, with memory as a training step finds it.

An operation is timed in chains of calls. Before a chain, the caches are filled with other data. Each call has operands
of its own: the one that the layer before writes is written just before the call, the others were not used for a while.
Results stay until the next chain replaces them one by one, as a layer's outputs wait for the backward pass: a result
takes memory that was used before, and only one that is too large for that is allocated anew. Releasing the result that
is replaced is part of the time, as a step releases each once.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor

from swatcost.common.reading import Amount
from swatcost.devices.operations import PositiveCount, PositiveSeconds, ProductPrecision

Operation = Callable[..., object]
Arguments = Callable[[], tuple[Any, ...]]

ENOUGH_SECONDS = 0.15  # timed calls of one operation together
_LONG_SECONDS = 0.6  # after which the fewest chains do
_FEWEST, _MOST = 3, 15  # chains
_DISTURBED = 0.25  # spread of times that are worth repeating [-]
_TICK = 1e-9  # of the clock [s]
_LONGEST_CHAIN = 0.1  # of which operations that take longer have fewer calls [s]
_MOST_CALLS, _FEWEST_CALLS = 64, 2  # in a chain
_OVER_CACHE = 6  # bytes that fill the caches, over those of the last one: others may share it
_UNKNOWN_CACHE = 2**25  # bytes; of the machines that were measured so far
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The median time of a call [s] over chains, how far apart the middle half of these is, over it [-], and the calls
    in all chains.
    """

    seconds: PositiveSeconds
    spread: Amount
    repetitions: PositiveCount


def timed(operation: Operation, arguments: Arguments, on: str) -> Timing:
    """The time of an operation, after a warm-up run. `arguments` prepares its operands, which is not timed."""
    return together([(operation, arguments)], on)[0]


def together(pairs: Sequence[tuple[Operation, Arguments]], on: str) -> list[Timing]:
    """The times of several operations whose chains take turns, so that a disturbance meets all of them."""
    chains = [_Chain(operation, arguments, on) for operation, arguments in pairs]
    others = torch.zeros(filling(on), dtype=torch.uint8, device=on)
    while not _is_enough(chains):
        for chain in chains:
            others += 1
            chain.run()
    return [_timing(each.times, each.calls) for each in chains]


class _Chain:
    """Chains of calls of one operation: its times, one per chain and call [s]."""

    def __init__(self, operation: Operation, arguments: Arguments, on: str) -> None:
        self.operation, self.arguments, self.on = operation, arguments, on
        self.times: list[float] = []
        result = operation(*arguments())
        seconds = min(self._trial() for _ in range(2))
        self.calls = max(_FEWEST_CALLS, min(copies(_bytes(result), on), round(_LONGEST_CHAIN / max(seconds, _TICK))))
        self._results: deque[object] = deque([operation(*arguments()) for _ in range(self.calls)], self.calls)

    def _trial(self) -> float:
        given = self.arguments()
        began = time.perf_counter()
        self.operation(*given)
        _wait(self.on)
        return time.perf_counter() - began

    def run(self) -> None:
        clocked = self._on_gpu() if self.on == "cuda" else self._on_cpu()
        self.times.append(clocked / self.calls)

    def _on_cpu(self) -> float:
        seconds = 0.0
        for _ in range(self.calls):
            given = self.arguments()
            began = time.perf_counter()
            result = self.operation(*given)
            self._results.append(result)
            seconds += time.perf_counter() - began
        return seconds

    def _on_gpu(self) -> float:
        """The GPU's clock runs on its own queue."""
        events = []
        for _ in range(self.calls):
            given = self.arguments()
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            began.record()
            result = self.operation(*given)
            self._results.append(result)
            ended.record()
            events.append((began, ended))
        torch.cuda.synchronize()
        return float(sum(began.elapsed_time(ended) for began, ended in events)) / 1e3


def _wait(on: str) -> None:
    if on == "cuda":
        torch.cuda.synchronize()


def _is_enough(chains: Sequence[_Chain]) -> bool:
    """Whether operations were repeated enough: longer if their times disagree, as on a machine that is busy."""
    rounds, least = len(chains[0].times), min(sum(each.times) * each.calls for each in chains)
    if rounds < _FEWEST:
        return False
    if rounds >= _MOST or least >= _LONG_SECONDS:
        return True
    return least >= ENOUGH_SECONDS and all(_spread(each.times) <= _DISTURBED for each in chains)


def _spread(times: Sequence[float]) -> float:
    low, middle, high = quantiles(times, n=4)
    return (high - low) / middle


def _timing(times: Sequence[float], calls: int) -> Timing:
    return Timing(seconds=max(median(times), _TICK), spread=_spread(times), repetitions=len(times) * calls)


def _bytes(result: object) -> int:
    """What an operation's results hold; a sparse one's are not counted."""
    given = result if isinstance(result, tuple | list) else (result,)
    return sum(
        each.numel() * each.element_size()
        for each in given
        if isinstance(each, Tensor) and each.layout == torch.strided
    )


@cache
def filling(on: str) -> int:
    """The bytes of data that leave nothing else in the caches."""
    if on == "cuda":
        return _OVER_CACHE * int(torch.cuda.get_device_properties(0).L2_cache_size)
    return _OVER_CACHE * last_cache()


def last_cache(of: Path = _CACHES) -> int:
    """The size of the first processor's last cache [bytes], as Linux says it."""
    try:
        sizes = [each.read_text(encoding="ascii").strip() for each in of.glob("index*/size")]
        return max(int(each.removesuffix("K")) * 1024 for each in sizes if each.endswith("K"))
    except (OSError, ValueError):
        return _UNKNOWN_CACHE


def copies(size: int, on: str) -> int:
    """The number of copies of so many bytes that take turns: together larger than the caches, if they are large."""
    return max(1, min(_MOST_CALLS, filling(on) // max(1, size)))


def in_turn(tensor: Tensor) -> Iterator[Tensor]:
    """Copies of an operand that was last used long ago."""
    count = copies(tensor.numel() * tensor.element_size(), tensor.device.type)
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
