"""Name, file, module or trace → Network, for functions that take any of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from swatcost.common.errors import SwatcostError
from swatcost.loading.load import load, with_conditions
from swatcost.network import Network
from swatcost.network.conditions import ConditionsAsked

if TYPE_CHECKING:
    from torch import nn


def counted_network(network: Network | str | Path) -> Network:
    """The network, loaded if given by name or path. Raises SwatcostError if it has nothing to count."""
    if not isinstance(network, Network):
        network = load(network)
    if not network.counted_layers:
        if network.variation is not None and network.variation.differs:
            raise SwatcostError(
                f"{network.name} did no work that is counted in the run that was traced, but other values or random "
                "numbers make it do some: trace it with example inputs that do"
            )
        if missing := [each.operation for each in network.uncounted if each.products]:
            raise SwatcostError(
                f"{network.name} does no work that is counted, only what may multiply tensors and is not: "
                f"{', '.join(missing)}"
            )
        raise SwatcostError(
            f"{network.name} has no convolution, linear layer or product of activations: there is nothing to count"
        )
    return network


def with_input(
    network: Network | str | Path | nn.Module,
    *,
    input_shape: Sequence[int] | None,
    example_inputs: Any,
    batch_dim: int | None = None,
    under_amp: bool = True,
    **conditions: Unpack[ConditionsAsked],
) -> Network | str | Path:
    """The trace of a module, whose input is given, or what `counted_network` makes a network of.

    Raises SwatcostError as `trace` and `load` do, for an input that the network has no use for, and for a trace that
    was made under other conditions.
    """
    torch_nn = sys.modules.get("torch.nn")  # if it is a module, torch is imported already
    if torch_nn is not None and isinstance(network, torch_nn.Module):
        if input_shape is None and example_inputs is None:
            raise SwatcostError(
                f"{type(network).__name__} is a module: give input_shape, the shape of one sample, or example_inputs, "
                "or trace it first, with swatcost.trace"
            )
        from swatcost.tracing import trace

        return trace(
            network, example_inputs, input_shape=input_shape, batch_dim=batch_dim, under_amp=under_amp, **conditions
        )
    if example_inputs is not None:
        raise SwatcostError("example_inputs are for a module, which this is not: leave them out")
    if batch_dim is not None:
        raise SwatcostError("batch_dim is for a module, which this is not: leave it out")
    given = cast("Network | str | Path", network)
    if isinstance(given, Network):
        if input_shape is not None:
            raise SwatcostError(f"{given.name} is traced already: its input is fixed, leave input_shape out")
        return with_conditions(given, **conditions)
    if input_shape is None and not any(conditions.values()):
        return given
    return load(given, input_shape=input_shape, **conditions)
