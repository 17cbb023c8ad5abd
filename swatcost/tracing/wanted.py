"""What is asked of a trace, beside the network and its input: loss, autocast, checkpointed modules, offloading."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from swatcost.network.conditions import AUTOCASTS, Conditions, checked_autocast, checked_flag, patterns_of
from swatcost.tracing.autocast import Autocast
from swatcost.tracing.loss import Loss, OwnLoss


@dataclass(frozen=True)
class Wanted:
    """The loss of the step, the kind of autocast, patterns of modules to checkpoint, and whether to offload.

    `under_amp`: the tensors of the step under autocast are wanted, too, beside its own.
    """

    loss: Loss
    autocast: str = ""
    checkpoint: tuple[str, ...] = ()
    offload: bool = False
    hold_outputs: bool = False
    under_amp: bool = True

    @staticmethod
    def of(
        loss: str | OwnLoss | None = None,
        autocast: str | None = None,
        checkpoint: str | Iterable[str] | None = None,
        offload: bool | None = None,
        hold_outputs: bool | None = None,
        under_amp: bool | None = True,
    ) -> "Wanted":
        """The same from what a user gives. Raises SwatcostError for what is none of them."""
        given = {"offload": offload, "hold_outputs": hold_outputs, "under_amp": under_amp}
        flags = {name: bool(checked_flag(name, each)) for name, each in given.items()}
        return Wanted(Loss(loss), checked_autocast(autocast), patterns_of(checkpoint), **flags)

    def casting(self) -> Autocast | None:
        """The autocast under which the step runs; None for the network's own precisions."""
        if not self.autocast:
            return None
        dtype, device = AUTOCASTS[self.autocast]
        return Autocast(getattr(torch, dtype), device)

    def met(self, loss: str, checkpointed: Iterable[str]) -> Conditions:
        """The conditions of a step that was traced so, with this loss in the end."""
        return Conditions(
            loss=loss,
            loss_is_assumed=self.loss.is_assumed,
            autocast=self.autocast,
            checkpoint=self.checkpoint,
            checkpointed=tuple(checkpointed),
            offload=self.offload,
            holds_outputs=self.hold_outputs,
        )


@contextlib.contextmanager
def region_of(casting: Autocast | None) -> Any:
    """The region in which the forward pass and the loss run."""
    with casting.on() if casting else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def installed(casting: Autocast | None) -> Any:
    """Where that region may be entered."""
    with casting.installed() if casting else contextlib.nullcontext():
        yield
