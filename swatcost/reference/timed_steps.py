"""The times of executed steps and of their parts, each beside its prediction."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles
from typing import Literal

from swatcost.reference.step_observer import MASKING, InPass

Kernels = Literal["dense", "masked", "sparse"]
"""What runs the products of a step: torch's own layers; the reference, which masks dense tensors; or the same with the
program's own sparse kernels where they are faster.
"""


@dataclass(frozen=True)
class Repeated:
    """The times of the same work [s], one per repetition."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median [s]."""
        return median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile [s]: the middle half of the repetitions lies between them.

        >>> Repeated((4.0, 1.0, 3.0, 2.0, 5.0)).quartiles
        (2.0, 4.0)
        """
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        low, _, high = quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    def __add__(self, other: Repeated) -> Repeated:
        """The times of both kinds of work, repetition by repetition."""
        return Repeated(tuple(map(sum, zip(self.seconds, other.seconds, strict=True))))


@dataclass(frozen=True, kw_only=True)
class TimedStep:
    """A kind of step: its predicted time [s], None if the profile does not give it, and its measured ones.

    `refreshes` says that thresholds are found in it. `passes` are the forward pass, the loss and the backward pass,
    `update` is the optimizer's; the prediction is of both, or of the passes alone.
    """

    refreshes: bool
    predicted: float | None
    passes: Repeated
    update: Repeated
    predicts_update: bool

    @property
    def measured(self) -> Repeated:
        """The time of what is predicted."""
        return self.passes + self.update if self.predicts_update else self.passes

    @property
    def error(self) -> float | None:
        """predicted / measured − 1 [-]."""
        return _error(self.predicted, self.measured)


@dataclass(frozen=True, kw_only=True)
class TimedPart:
    """A part of a step: a pass of a layer, or all other operations of a kind in a pass; predicted and measured [s].

    `layer` is the place among the network's counted layers, None for other parts. The backward pass of a layer is both
    of its gradients; the masking of its operands is a part of its own.
    """

    name: str
    kind: str
    in_pass: InPass | Literal["update"]
    layer: int | None
    predicted: float | None
    measured: Repeated

    @property
    def error(self) -> float | None:
        """predicted / measured − 1 [-]."""
        return _error(self.predicted, self.measured)


def _error(predicted: float | None, measured: Repeated) -> float | None:
    return None if predicted is None or not measured.median else predicted / measured.median - 1


@dataclass(frozen=True, kw_only=True)
class TimedSteps:
    """Steps whose products one kind of kernels executes: the kinds of step, and the parts of the first of them.

    `observed` are the forward and backward passes in which the parts were timed, one operation at a time.
    """

    kernels: Kernels
    steps: tuple[TimedStep, ...]
    parts: tuple[TimedPart, ...]
    observed: Repeated

    @property
    def step(self) -> TimedStep:
        """The step whose parts are known: dense, or with thresholds that are reused."""
        return self.steps[0]

    def average(self, period: float) -> tuple[float | None, float] | None:
        """A step with its share of a Top-K every period [s], predicted and measured; None without a Top-K."""
        if len(self.steps) == 1:
            return None
        reusing, finding = self.steps
        measured = reusing.measured.median + (finding.measured.median - reusing.measured.median) / period
        if reusing.predicted is None or finding.predicted is None:
            return None, measured
        return reusing.predicted + (finding.predicted - reusing.predicted) / period, measured

    @property
    def predicts_parts(self) -> bool:
        """Whether the device's profile tells the parts of a step."""
        return any(each.predicted is not None and each.kind != MASKING for each in self.parts)
