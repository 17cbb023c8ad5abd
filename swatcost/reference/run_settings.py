"""The settings of a training run."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import torch

from swatcost.common.errors import SwatcostError
from swatcost.common.record import Header
from swatcost.common.units import checked_count, checked_seed
from swatcost.reference.chosen_kernels import KernelChoice
from swatcost.reference.scopes import RUNNING

LARGEST_RATE = 1e6  # larger ones overflow float32 within a few steps
_MEASURED = 20  # default number of steps of a run in which layers are measured
_FAR = 100  # steps between measured ones, at least, where others run on sparse kernels


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings that a run depends on. Names are those of `estimate`, `convert` and `samples`.

    `steps` is the length of the run in training steps; layers are measured every `record_every` steps. The optimizer is
    SGD with momentum; the learning rate is divided by ten at one and two thirds of the run (Table 12). `on` is cpu or
    cuda. `distribution` momentum without a source is uniform in the first epoch and then follows the run's own momentum
    from epoch to epoch (SWAT-M). `kernels` is that of `convert`; `device` is the profile that "auto" goes by.
    """

    model: str
    steps: int
    method: str = "swat"
    distribution: str = "uniform"
    weights: float | None = None
    acts: float | None = None
    grads: float | None = None
    period: int = RUNNING.defaults["period"]
    source: str | None = None
    first_layer: Any = None
    last_layer: Any = None
    keep_dense: tuple[str, ...] | None = None
    dense_budget: Any = None
    over: Any = None
    selection: str = RUNNING.defaults["selection"]
    one_sample: bool = False
    ahead: int = 0
    data: str = "digits"
    input_shape: tuple[int, ...] | None = None
    classes: int | None = None
    batch_size: int = RUNNING.defaults["batch_size"]
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0
    on: str = "cpu"
    kernels: KernelChoice = "dense"
    device: str | None = RUNNING.defaults["device"]
    record_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "period", "batch_size"):
            checked_count(getattr(self, name), name)
        if self.record_every is not None:
            checked_count(self.record_every, "record_every")
        for name in ("learning_rate", "momentum", "weight_decay"):
            if not 0 <= getattr(self, name) <= LARGEST_RATE:
                raise SwatcostError(f"{name} {getattr(self, name)!r}: give a number from 0 to {LARGEST_RATE:g}")
        checked_seed(self.seed)
        if self.on == "cuda" and self.kernels != "dense":
            raise SwatcostError(
                f"kernels {self.kernels!r}: sparse kernels run on a CPU only, leave it out with on 'cuda'"
            )
        if self.kernels != "dense" and not (
            self.weights or self.acts or self.grads or self.follows_momentum or self.source
        ):
            raise SwatcostError(f"kernels {self.kernels!r}: nothing is sparse, give weights or acts, or leave it out")
        if self.on == "cuda" and not torch.cuda.is_available():
            raise SwatcostError("on 'cuda': torch finds no usable GPU")
        if self.on not in ("cpu", "cuda"):
            raise SwatcostError(f"on {self.on!r}: give cpu or cuda")

    @property
    def measures_every(self) -> int:
        """The interval at which layers are measured [steps]: on masked tensors, whatever the kernels are."""
        return self.record_every or max(1 if self.kernels == "dense" else _FAR, self.steps // _MEASURED)

    @property
    def follows_momentum(self) -> bool:
        """Whether sparsity follows the run's own momentum (SWAT-M)."""
        return self.distribution == "momentum" and self.source is None


def settings_of(header: Header, path: Path) -> Settings:
    """The settings of the run that a record's header describes.

    Raises SwatcostError if another version wrote them, or they are damaged.
    """
    if unknown := header.settings.keys() - {each.name for each in fields(Settings)}:
        raise SwatcostError(f"{path} was written by version {header.version}, with a setting {sorted(unknown)[0]!r}")
    try:
        return msgspec.convert(header.settings, Settings)
    except SwatcostError:
        raise
    except ValueError as error:
        raise SwatcostError(f"{path} is not a usable record of a run: {error}") from None
