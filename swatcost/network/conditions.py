"""The conditions under which a training step was traced, beside the network and its input."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from swatcost.network.layer import Name

AUTOCASTS: Mapping[str, tuple[str, Literal["cuda", "cpu"]]] = {
    "amp": ("bfloat16", "cuda"),
    "amp-fp16": ("float16", "cuda"),
    "amp-cpu": ("bfloat16", "cpu"),
    "amp-cpu-fp16": ("float16", "cpu"),
}
"""The kinds of torch.autocast, by name: the lower precision, and the device whose lists of operations hold."""

OF_ONE_SIZE = ("amp", "amp-fp16")
"""The kinds whose tensors have the same sizes: both lower precisions have 2 bytes, and the lists are the same."""

IN_LOSS = "(loss)"
"""The place of what the loss computes and saves, as that of a module."""


class StepAsked(TypedDict, total=False):
    """The keywords, as of `swatcost.trace`, of every function whose result depends on the step that is traced."""

    loss: Any
    checkpoint: str | Iterable[str] | None
    offload: bool | None
    hold_outputs: bool | None


class ConditionsAsked(StepAsked, total=False):
    """The keywords of a function that is told the kind of autocast, too, not the precision that needs it."""

    autocast: str | None


STEP_ASKED = tuple(StepAsked.__optional_keys__)
"""The names of the former."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The loss of a traced step, its autocast, and the modules that are checkpointed although the network does not.

    `loss` is "none", "mse", "cross-entropy", "its own" for one that the network computes, or the name of a user's;
    `loss_is_assumed` says that nobody named it. `autocast` is a name in AUTOCASTS, or empty. `checkpoint` holds the
    patterns that were asked for and `checkpointed` the modules that match. With `offload`, saved tensors other than
    parameters are on the host from when they are saved until the backward pass needs them. Whoever runs the step
    `holds_outputs` until it is over, or gives them to the loss and lets them go.
    """

    loss: Name = "none"
    loss_is_assumed: bool = True
    autocast: Name = ""
    checkpoint: tuple[Name, ...] = ()
    checkpointed: tuple[Name, ...] = ()
    offload: bool = False
    holds_outputs: bool = False
