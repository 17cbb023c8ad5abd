"""f_TOPK of Algorithm 1 for one operand of one layer: a threshold found every P iterations and reused in between."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from swatcost.reference.products import Kept, Threshold, kernel_norms
from swatcost.reference.thresholds import SELECTIONS, Selection

Over = Literal["nchw", "chw", "hw", "kernel", "random"]
"""The span of one threshold (Figure 9): the whole tensor; a sample or filter; one of its channels; the whole tensor, by
the L1 norms of kernels W[f, c] (Section 3.3.1; weights only); or no threshold, a random choice (null hypothesis)."""

OVER: tuple[Over, ...] = get_args(Over)
_SEEDS = 2**31


@dataclass
class Clock:
    """The iteration that a converted network is in, and when thresholds are found.

    `iteration` counts training forward passes of the whole network from 0; −1 before the first. A selection starts
    `ahead` iterations early, on the operand's values at that time (A.4: hiding its latency).
    """

    period: int = 1
    ahead: int = 0
    seed: int = 0
    iteration: int = -1

    def tick(self, module: torch.nn.Module, args: Any) -> None:
        """A forward pre-hook of the whole network: each training forward pass is an iteration."""
        if module.training and torch.is_grad_enabled() and not in_backward():
            self.iteration += 1

    @property
    def refreshes(self) -> bool:
        """Whether thresholds change in this iteration: t mod P = 0."""
        return self.iteration % self.period == 0

    @property
    def prepares(self) -> bool:
        """Whether the selection for the next refresh starts in this iteration."""
        return self.ahead > 0 and (self.iteration + self.ahead) % self.period == 0


def in_backward() -> bool:
    """Whether activation checkpointing is recomputing a forward pass."""
    return bool(torch._C._current_graph_task_id() != -1)


@dataclass
class Sparsifier:
    """Keeps an operand's largest elements: |x| ≤ t becomes 0 (Algorithm 1, f_TOPK).

    `sparsity` is the target [-] of each new threshold. A layer that runs several times in an iteration has one
    threshold per call. `seconds` is the time spent on thresholds in this iteration.
    """

    clock: Clock
    sparsity: float
    over: Over
    selection: Selection = field(default_factory=lambda: SELECTIONS["exact"])
    of_samples: bool = False
    one_sample: bool = False
    number: int = 0
    thresholds: dict[int, Tensor] = field(default_factory=dict)
    started: dict[int, Tensor] = field(default_factory=dict)
    found_in: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __call__(self, x: Tensor, call: int = 0, *, training: bool = True) -> Tensor:
        """x with masked elements set to zero; x itself if nothing is masked."""
        kept = self.kept(x, call, training)
        return x if kept is None else torch.where(kept, x, 0)

    def kept(self, x: Tensor, call: int = 0, training: bool = True) -> Tensor | None:
        """Which elements are kept, in a shape that broadcasts with x; None if all are."""
        if self.over == "random":
            return self._random(x, call)
        threshold = self._threshold(x, call, training)
        return None if threshold is None else self._measure(x) > threshold

    def cut(self, x: Tensor, call: int = 0, *, training: bool = True) -> Kept:
        """x and the threshold of what is kept.

        Where no single threshold decides, x is masked, and what is not zero is kept.
        """
        if self.over in ("nchw", "kernel"):
            threshold = self._threshold(x, call, training)
            return Kept(x, None if threshold is None else Threshold(float(threshold), self._measures_kernels(x)))
        masked = self(x, call, training=training)
        return Kept(masked, None if masked is x else Threshold(0.0))

    @property
    def threshold(self) -> float | None:
        """The threshold in use, if it is a single number."""
        numbers = list(self.thresholds.values())
        return float(numbers[0]) if len(numbers) == 1 and numbers[0].numel() == 1 else None

    def _measure(self, x: Tensor) -> Tensor:
        """The quantity compared with the threshold: magnitudes, or L1 norms of kernels."""
        return kernel_norms(x) if self._measures_kernels(x) else x.abs()

    def _measures_kernels(self, x: Tensor) -> bool:
        return self.over == "kernel" and x.dim() > 2

    def _threshold(self, x: Tensor, call: int, training: bool) -> Tensor | None:
        clock = self.clock
        if not training or clock.iteration < 0:
            return self.thresholds[call] if call in self.thresholds else self._found(x)
        if clock.iteration != self.found_in.get(call) and self._is_due(call):
            if call in self.started:
                self.thresholds[call] = self.started.pop(call)
            else:
                self._remember(self.thresholds, call, self._found(x))
        if clock.prepares and self._lasts and call not in self.started:
            self._remember(self.started, call, self._found(x))
        self.found_in[call] = clock.iteration
        return self.thresholds.get(call)

    def _is_due(self, call: int) -> bool:
        return self.clock.refreshes or call not in self.found_in or not self._lasts

    @property
    def _lasts(self) -> bool:
        """Whether thresholds can be reused; those of single samples cannot, as another batch has other samples."""
        return not self.of_samples or self.over in ("nchw", "kernel")

    @staticmethod
    def _remember(place: dict[int, Tensor], call: int, threshold: Tensor | None) -> None:
        place.pop(call, None)
        if threshold is not None:
            place[call] = threshold

    def _found(self, x: Tensor) -> Tensor | None:
        """The threshold, or several in a shape that broadcasts with x; None if no element is to be zeroed."""
        if self.sparsity == 0 or x.numel() == 0:
            return None
        before = now(x.device)
        with torch.no_grad():
            measure = self._measure(x[:1] if self.one_sample and self.of_samples else x)
            if self.over in ("nchw", "kernel") or x.dim() < 2:
                found = self._of_flat(measure.flatten())
            else:
                apart = 1 if self.over == "chw" else 2
                rows = measure.flatten(apart) if measure.dim() > apart else measure.unsqueeze(-1)
                zeros = _zeros(rows.shape[-1], self.sparsity)
                found = rows.kthvalue(zeros).values if zeros else None
                if found is not None:
                    found = found.reshape(*measure.shape[:apart], *[1] * (measure.dim() - apart))
        self.seconds += now(x.device) - before
        return found

    def _of_flat(self, magnitudes: Tensor) -> Tensor | None:
        zeros = _zeros(magnitudes.numel(), self.sparsity)
        return self.selection.find(magnitudes, zeros) if zeros else None

    def _random(self, x: Tensor, call: int) -> Tensor | None:
        """A random mask with the exact number of zeros, redrawn at every refresh; for activations, with every batch."""
        zeros = _zeros(x.numel(), self.sparsity)
        if not zeros:
            return None
        drawn = self.clock.iteration if self.of_samples else self.clock.iteration // self.clock.period
        seed = hash((self.clock.seed, self.number, call, drawn)) % _SEEDS
        order = torch.randperm(x.numel(), generator=torch.Generator().manual_seed(seed))
        kept = torch.ones(x.numel(), dtype=torch.bool)
        kept[order[:zeros]] = False
        return kept.to(x.device).reshape(x.shape)


def _zeros(elements: int, sparsity: float) -> int:
    """How many of `elements` elements become zero; at least one is kept."""
    return min(round(elements * sparsity), elements - 1)


def now(on: str | torch.device) -> float:
    """The time [s] once a device has finished its queued work."""
    if torch.device(on).type == "cuda":
        torch.cuda.synchronize(on)
    return time.perf_counter()
