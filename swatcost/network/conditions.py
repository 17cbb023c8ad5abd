"""The conditions under which a training step was traced, beside the network and its input."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.network.fields import Name

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

    @property
    def title(self) -> str:
        """The conditions in words, for reports."""
        words = [f"loss: {self.loss}"]
        words += [f"{', '.join(self.checkpoint)} checkpointed"] if self.checkpoint else []
        words += ["saved tensors offloaded"] * self.offload + ["outputs held"] * self.holds_outputs
        return ", ".join(words)


def patterns_of(checkpoint: Any) -> tuple[str, ...]:
    """The patterns of modules to checkpoint, from one, several or None. Raises SwatcostError for anything else."""
    several = isinstance(checkpoint, Iterable) and not isinstance(checkpoint, str)
    patterns = () if checkpoint is None else tuple(checkpoint) if several else (checkpoint,)
    if not all(isinstance(each, str) for each in patterns):
        raise SwatcostError(
            f"checkpoint {checkpoint!r:.60}: give a pattern of module names, such as 'layer1.*', or several"
        )
    return patterns


def checked_autocast(autocast: Any) -> str:
    """The name in AUTOCASTS, or empty for None. Raises SwatcostError for anything else."""
    if autocast is not None and autocast not in ("", *AUTOCASTS):
        raise SwatcostError(f"autocast {autocast!r:.40}: {nearest(str(autocast), list(AUTOCASTS))}")
    return autocast or ""


def checked_flag(name: str, value: Any) -> bool | None:
    """The value of a condition that is one or not. Raises SwatcostError unless it is True, False or None."""
    if value is not None and not isinstance(value, bool):
        raise SwatcostError(f"{name} {value!r:.60}: give True or False")
    return value
