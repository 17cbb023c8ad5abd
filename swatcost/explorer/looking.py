"""What the page says for the values of its controls: an estimate, or in one line why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.estimate import Estimate, estimate
from swatcost.explorer.choices import Choices
from swatcost.network import Network


@dataclass(frozen=True)
class Look:
    """An estimate and the settings that it was asked for, or the reason why these values give none."""

    estimate: Estimate | None
    settings: dict[str, Any]
    reason: str = ""


def look(network: Network, choices: Choices, values: Sequence[Any]) -> Look:
    """What the controls' values, in ORDER, come to."""
    try:
        settings = choices.settings(values)
        return Look(estimate(network, **settings), settings)
    except SwatcostError as error:
        return Look(None, {}, " ".join(str(error).split()))
