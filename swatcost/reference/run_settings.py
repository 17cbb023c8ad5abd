"""What a training run depends on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import torch

from swatcost.common.errors import SwatcostError
from swatcost.common.record import Header
from swatcost.common.units import checked_count
from swatcost.reference.scopes import RUNNING

_MEASURED = 20  # steps of a run in which layers are looked at, unless told
_LONGEST = 10**6  # epochs
_EPOCHS = 5  # of a run, unless told


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a run depends on. Names are those of `estimate`, `convert` and `samples`.

    `steps` is the length of the run in training steps; `record_every` the steps from one in which layers are measured
    to the next. The optimizer is SGD with momentum; the learning rate is divided by ten at one and two thirds of the
    run (Table 12). `on` is cpu or cuda. `distribution` momentum without a source is uniform in the first epoch, and
    follows the run's own momentum from each epoch to the next (SWAT-M).
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
    record_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "period", "batch_size"):
            checked_count(getattr(self, name), name)
        if self.record_every is not None:
            checked_count(self.record_every, "record_every")
        for name in ("learning_rate", "momentum", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SwatcostError(f"{name} {getattr(self, name)!r}: give a number that is not negative")
        if self.on == "cuda" and not torch.cuda.is_available():
            raise SwatcostError("on 'cuda': there is no GPU here that torch can use")
        if self.on not in ("cpu", "cuda"):
            raise SwatcostError(f"on {self.on!r}: give cpu or cuda")

    @staticmethod
    def of_length(epochs: float | None = None, *, steps: int | None = None, **settings: Any) -> Settings:
        """A run of this many epochs of its data, 5 by default, or of this many steps; None is as if it were not given.

        Raises SwatcostError for both, and for what cannot be used.
        """
        if steps is not None and epochs is not None:
            raise SwatcostError("give --steps or --epochs, not both")
        given = {name: value for name, value in settings.items() if value is not None}
        if steps is not None:
            return Settings(steps=steps, **given)
        return epochs_to_steps(Settings(steps=1, **given), _EPOCHS if epochs is None else epochs)

    @property
    def measures_every(self) -> int:
        """Steps from one in which layers are measured to the next."""
        return self.record_every or max(1, self.steps // _MEASURED)

    @property
    def follows_momentum(self) -> bool:
        """Whether sparsity follows the run's own momentum (SWAT-M)."""
        return self.distribution == "momentum" and self.source is None


def settings_of(header: Header, path: Path) -> Settings:
    """The settings of the run that a record's header is of.

    Raises SwatcostError when they are of another version, or damaged.
    """
    if unknown := header.settings.keys() - {each.name for each in fields(Settings)}:
        raise SwatcostError(f"{path} was written by version {header.version}, with a setting {sorted(unknown)[0]!r}")
    try:
        return msgspec.convert(header.settings, Settings)
    except SwatcostError:
        raise
    except ValueError as error:
        raise SwatcostError(f"{path} is no usable record of a run: {error}") from None


def epochs_to_steps(settings: Settings, epochs: float) -> Settings:
    """The same run with a length of so many epochs of its data, at least one step.

    Raises SwatcostError when that is no length, or the data cannot be read.
    """
    from swatcost.reference.training import matched

    if not 0 < epochs <= _LONGEST:
        raise SwatcostError(f"epochs {epochs:g}: give a positive number")
    _, data = matched(settings)
    return replace(settings, steps=max(1, round(epochs * (len(data.images) // settings.batch_size))))
