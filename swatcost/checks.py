"""Settings as they are given to an estimate, a sweep or a run, checked: what cannot be used is refused by its name."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path

from swatcost.common.errors import SwatcostError
from swatcost.common.units import fraction_from
from swatcost.loading.load import load
from swatcost.methods import checked_sparsity
from swatcost.network import Network

_LARGEST_COUNT = 10**12  # samples, steps or iterations: more than any run has


def checked_network(network: Network | str | Path) -> Network:
    """The network, loaded if it was named; SwatcostError if it has nothing to count."""
    if not isinstance(network, Network):
        network = load(network)
    if not network.counted_layers:
        raise SwatcostError(
            f"{network.name} has no convolution, linear layer or product of activations: there is nothing to count"
        )
    return network


def checked_default(given: float | str | Path, network: Network) -> float:
    """The default activation sparsity [-]: the number that was given, or what a record of a run measured."""
    if isinstance(given, str | Path):
        from swatcost.common.record import measured_default

        try:
            given = fraction_from(str(given))
        except SwatcostError:
            if not str(given).endswith(".jsonl"):
                raise SwatcostError(
                    f"default_act_sparsity {str(given)!r:.80}: give a fraction of zeros, or a run's record (.jsonl)"
                ) from None
            return checked_sparsity(measured_default(str(given), network), "default_act_sparsity")
    return checked_sparsity(given, "default_act_sparsity")


def checked_count(value: int, name: str) -> int:
    """The value as an int, or SwatcostError unless it is a whole number that a run may have."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= value <= _LARGEST_COUNT:
        raise SwatcostError(f"{name} {value!r:.40}: give a whole number from 1 to 10^12")
    return int(value)
