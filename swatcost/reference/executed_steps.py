"""Runs whole training steps: timed as they are, or with every operation observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from swatcost.common.errors import SwatcostError, first_line
from swatcost.network import Network
from swatcost.reference.sparsifier import now
from swatcost.reference.step_observer import PartKey, StepObserver, by_part
from swatcost.reference.watched_products import watching
from swatcost.tracing.loss import Loss

_ON = "cpu"
_MOMENTUM = 0.9
_LEARNING_RATE = 0.0  # the update is as much work with any rate, and no number grows over the steps
_LOSSES = ("none", "mse", "cross-entropy")  # others are the network's own, which it is asked for by no name


class Elapsed(NamedTuple):
    """The time [s] of the forward pass, the loss and the backward pass together, and of the optimizer's update."""

    passes: float
    update: float


@dataclass
class TrainingStep:
    """A training step of a module on one batch, with the loss of its trace and SGD with momentum.

    Gradients are dropped before the clock starts. Raises SwatcostError if the module cannot be run.
    """

    module: nn.Module
    network: Network
    inputs: Tensor
    optimizer: torch.optim.SGD = field(init=False)
    targets: dict[Any, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        trained = [each for each in self.module.parameters() if each.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=_LEARNING_RATE, momentum=_MOMENTUM)
        name = self.network.conditions.loss
        self._loss = Loss(name if name in _LOSSES else None)

    def timed(self) -> Elapsed:
        """One step, and how long it takes."""
        self.optimizer.zero_grad()
        began = now(_ON)
        self._passes(lambda: None)
        turned = now(_ON)
        self.optimizer.step()
        return Elapsed(turned - began, now(_ON) - turned)

    def observed(self, batch_size: int, kinds: tuple[str, ...]) -> tuple[dict[PartKey, float], float]:
        """The time of each part of a forward and a backward pass [s], and of both as they are observed."""
        self.optimizer.zero_grad()
        observer = StepObserver()
        began = now(_ON)
        with watching(observer), observer:
            self._passes(observer.backward_begins)
        elapsed = now(_ON) - began
        return by_part(observer.calls, self.network, batch_size, kinds), elapsed

    def _passes(self, backward_begins: Callable[[], None]) -> None:
        try:
            scalar = self._loss.of(self.module(self.inputs), self.module, self._target).scalar
            backward_begins()
            if scalar is not None:
                scalar.backward()  # type: ignore[no-untyped-call]
        except SwatcostError:
            raise
        except Exception as error:  # a user's module may raise anything
            raise SwatcostError(
                f"the network raised {type(error).__name__} on a batch of {len(self.inputs)}: {first_line(error)}"
            ) from error

    def _target(self, output: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """What the loss is given beside an output, made once: it exists before a step begins."""
        if (shape, dtype) not in self.targets:
            self.targets[shape, dtype] = torch.zeros(shape, dtype=dtype)
        return self.targets[shape, dtype]
