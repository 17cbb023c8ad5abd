"""The module and the data of a training run, and its length in epochs."""

from dataclasses import replace
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.reference.data import Samples, samples
from swatcost.reference.run_settings import Settings
from swatcost.reference.runnable import Runnable, runnable
from swatcost.reference.scores import classes_of

_MAX_EPOCHS = 10**6
_EPOCHS = 5  # default length of a run


def matched(settings: Settings) -> tuple[Runnable, Samples]:
    """The network, with as many classes as the data has, and the data."""
    classes = settings.classes
    for _ in range(2):
        built = runnable(settings.model, classes=classes, input_shape=settings.input_shape, seed=settings.seed)
        outputs = classes_of(built)
        data = samples(settings.data, input_shape=built.input_shape, classes=outputs, seed=settings.seed)
        if data.classes <= outputs:
            break
        if settings.classes is not None:
            raise SwatcostError(f"classes {settings.classes}: {data.title} has {data.classes}")
        classes = data.classes
    else:
        raise SwatcostError(f"{settings.model} gives {outputs} classes, {data.title} has {data.classes}")
    if len(data.images) < settings.batch_size:
        raise SwatcostError(
            f"batch_size {settings.batch_size}: {data.title} has {len(data.images)} samples to train on"
        )
    return built, data


def settings_of_length(epochs: float | None = None, *, steps: int | None = None, **settings: Any) -> Settings:
    """The settings of a run of `epochs` epochs, 5 by default, or of `steps` steps; None means not given.

    Raises SwatcostError if both are given, and for invalid settings.
    """
    if steps is not None and epochs is not None:
        raise SwatcostError("give --steps or --epochs, not both")
    given = {name: value for name, value in settings.items() if value is not None}
    if steps is not None:
        return Settings(steps=steps, **given)
    return epochs_to_steps(Settings(steps=1, **given), _EPOCHS if epochs is None else epochs)


def epochs_to_steps(settings: Settings, epochs: float) -> Settings:
    """The same run with a length of `epochs` epochs, at least one step.

    Raises SwatcostError if epochs is not positive or the data cannot be read.
    """
    if not 0 < epochs <= _MAX_EPOCHS:
        raise SwatcostError(f"epochs {epochs:g}: give a positive number")
    _, data = matched(settings)
    return replace(settings, steps=max(1, round(epochs * (len(data.images) // settings.batch_size))))
