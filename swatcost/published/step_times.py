"""Published times of whole steps, to hold a model of time against: `step_times.csv`, none of it measured here.

The columns that count FLOPs are the source's own: `formula` (see below), `mfu` as printed and `peak_tflops` that it was
divided by, both empty where the source prints no utilisation. All peaks are those of dense products. A field that the
source does not say is empty, or "not said".

Formulas, in FLOPs per token of training, with N parameters, L layers of width h, s tokens per sequence, V words:

- `mosaic`: 3 · (2 · N + 4 · L · h · s); tied embeddings are in N once, as the logits
- `megatron-2021`: 72 · L · h² + 12 · L · h · s + 6 · V · h; `encoder` is the same without logits
- `torchtitan`: 6 · (N − V · h) + 12 · L · h · s, without the input embedding
- `resnet50`: 2 FLOPs for each MAC that autograd executes in an image's step
- `maxtext`: products one by one; the source prints the rate itself
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import msgspec

from swatcost.devices import load_device
from swatcost.published.cell import lines

RESNET50_TRAINING_MACS = 12_149_538_816
"""MACs of a training step per image of 224 x 224, as autograd executes them: without the gradient of the images."""

_PROFILES = {"A100 80GB": "a100", "A100 40GB": "a100", "H100 80GB": "h100", "H200": "h200", "V100 16GB": "v100",
             "V100 32GB": "v100"}  # fmt: skip
"""Profiles with the peaks of these GPUs. The 40 GB card has less bandwidth, not less arithmetic."""


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """A published measurement of a step, or of how many there are in a second; None is not said.

    `batch` are sequences or images of all GPUs together in a step of the optimizer; `parameters` as the source counts
    them; `sparse` says what was sparse, nothing if it is empty; `value` has `unit`; `mfu` [%] is as printed.
    """

    model: str
    family: Literal["decoder", "encoder", "convolutional", "vision transformer"]
    gpu: str
    in_pass: Literal["training", "inference"]
    value: float
    unit: Literal["tokens/s", "sequences/s", "images/s", "s/step", "TFLOP/s/chip", "time/dense", "times faster"]
    source: str
    remark: str
    layers: int | None = None
    width: int | None = None
    heads: int | None = None
    vocabulary: int | None = None
    parameters: int | None = None
    sequence: int | None = None
    batch: int | None = None
    gpus: int | None = None
    precision: Literal["", "fp32", "tf32", "bf16", "fp16", "fp8"] = ""
    sparse: str = ""
    formula: Literal["", "mosaic", "megatron-2021", "encoder", "torchtitan", "resnet50", "maxtext"] = ""
    mfu: float | None = None
    peak_tflops: float | None = None
    recompute: Literal["", "none", "selective", "minimal", "full"] = ""

    @property
    def flops(self) -> float | None:
        """FLOPs of training of one token, or one image, by the row's formula; None if a number is missing."""
        L, h, s, V, N = self.layers, self.width, self.sequence, self.vocabulary, self.parameters
        if self.formula == "resnet50":
            return 2 * RESNET50_TRAINING_MACS
        if not (L and h and s):
            return None
        if self.formula == "mosaic" and N:
            return 3 * (2 * N + 4 * L * h * s)
        if self.formula == "torchtitan" and N and V:
            return 6 * (N - V * h) + 12 * L * h * s
        if self.formula in ("megatron-2021", "encoder") and V:
            return 72 * L * h**2 + 12 * L * h * s + (6 * V * h if self.formula == "megatron-2021" else 0)
        return None

    @property
    def per_second(self) -> float | None:
        """Tokens or images per second of all GPUs together; None if the unit does not give them."""
        tokens = self.sequence if self.family in ("decoder", "encoder") else 1
        if self.unit in ("tokens/s", "images/s"):
            return self.value
        if self.unit == "sequences/s" and self.sequence:
            return self.value * self.sequence
        return self.batch * tokens / self.value if self.unit == "s/step" and self.batch and tokens else None

    @property
    def peak(self) -> float | None:
        """The peak [TFLOP/s] of dense products of one GPU: that of its profile, or else the source's."""
        if self.gpu not in _PROFILES:
            return self.peak_tflops
        precisions = load_device(_PROFILES[self.gpu]).precisions
        return next(2 * each.macs_per_second / 1e12 for each in precisions if each.name == self.precision)

    @property
    def utilisation(self) -> float | None:
        """FLOPs per second by the row's formula over the peak of its GPUs [%], for dense training; None if unknown."""
        if self.sparse or self.in_pass != "training" or not (self.peak and self.gpus):
            return None
        if self.unit == "TFLOP/s/chip":
            return 100 * self.value / self.peak
        if self.flops is None or self.per_second is None:
            return None
        return 100 * self.flops * self.per_second / (self.gpus * self.peak * 1e12)


@dataclass(frozen=True, kw_only=True)
class UtilisationRange:
    """The least, median and largest utilisation [%] of `count` published steps on a GPU, by family and precision."""

    gpu: str
    family: str
    precision: str
    least: float
    median: float
    most: float
    count: int


def step_times() -> list[StepTime]:
    """The lines of `step_times.csv`."""
    return [_typed(line) for line in lines("step_times.csv")]


def utilisation_ranges(steps: Sequence[StepTime] | None = None) -> list[UtilisationRange]:
    """The utilisation that published steps reach, by GPU, family of networks and precision."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for step in step_times() if steps is None else steps:
        if (reached := step.utilisation) is not None:
            groups.setdefault((step.gpu, step.family, step.precision), []).append(reached)
    return [
        UtilisationRange(
            gpu=gpu,
            family=family,
            precision=precision,
            least=min(all_),
            median=median(all_),
            most=max(all_),
            count=len(all_),
        )
        for (gpu, family, precision), all_ in sorted(groups.items())
    ]


def _typed(line: dict[str, str]) -> StepTime:
    return msgspec.convert({name: text for name, text in line.items() if text}, StepTime, strict=False)
