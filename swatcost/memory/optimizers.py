"""Optimizers: the state that they keep, and the temporaries that they hold while they update.

Both depend on the shapes of the parameters, and are those of the library's own defaults: no weight decay in SGD, say,
which would need one more copy of the parameters. The state is there from the first update on.

An optimizer updates in one of three ways. "loop": one parameter after another. "foreach": each operation runs for all
parameters at once, so that its temporaries are as large as all of them. "fused": in one kernel, without temporaries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from swatcost.common.errors import SwatcostError
from swatcost.common.frozen_mapping import FrozenMapping
from swatcost.common.registry import Registry
from swatcost.memory.adafactor import adafactor_foreach, adafactor_loop, adafactor_state
from swatcost.memory.adam import adam8bit_state, adam_loop
from swatcost.memory.muon import muon_counters, muon_foreach, muon_fused, muon_loop, muon_state
from swatcost.memory.trained_parameters import Bytes, Trained, counters, none, total, twice

UPDATES = {
    "foreach": "each operation for all parameters at once",
    "fused": "one kernel, without temporaries",
    "loop": "one parameter after another",
}
"""The ways to update."""


class Way(NamedTuple):
    """A way to update: the temporaries at their peak, and what step counters take on the GPU."""

    temporaries: Bytes
    counters: Bytes = none


@dataclass(frozen=True)
class Optimizer:
    """An optimizer: the state that it keeps, and the ways in which it can update.

    The first way is the library's default on a GPU. A step counter for each parameter is on the GPU only where a fused
    update reads it there; elsewhere torch keeps it on the host, and it is not counted.
    """

    name: str
    title: str
    state: Bytes
    updates: Mapping[str, Way]

    def way(self, asked: str | None) -> str:
        """The way to update that was asked for, or the default one. Raises SwatcostError if there is no such way."""
        if asked is None:
            return next(iter(self.updates))
        if not isinstance(asked, str) or asked not in UPDATES:
            raise SwatcostError(f"unknown update {asked!r:.60}: choose from {', '.join(UPDATES)}")
        if asked not in self.updates:
            raise SwatcostError(f"{self.name} has no {asked} update: choose {' or '.join(self.updates)}")
        return asked


def lion_loop(trained: Sequence[Trained]) -> int:
    """Temporaries of Lion [bytes], one parameter after another: a copy of its momentum, and the update.

    Source: `update_fn` of lion-pytorch 0.2.3. Equal to what torch's memory tracker sees.

    >>> lion_loop([Trained((10,), 4), Trained((3,), 4)])
    80
    """
    return max((2 * each.bytes for each in trained), default=0)


_IN_PLACE = FrozenMapping({"foreach": Way(none), "fused": Way(none), "loop": Way(none)})
_ADAM = FrozenMapping({"foreach": Way(total), "fused": Way(none, counters), "loop": Way(adam_loop)})

OPTIMIZERS = Registry[Optimizer](
    "optimizer",
    Optimizer,
    Optimizer("sgd", "stochastic gradient descent", none, _IN_PLACE),
    Optimizer("momentum", "SGD with momentum", total, _IN_PLACE),
    Optimizer("adam", "Adam: two moments", twice, _ADAM),
    Optimizer("adamw", "AdamW, same memory as Adam", twice, _ADAM),
    Optimizer(
        "adafactor",
        "torch's Adafactor: one number per row and column of a matrix",
        adafactor_state,
        FrozenMapping({"loop": Way(adafactor_loop), "foreach": Way(adafactor_foreach)}),
    ),
    Optimizer("adam8bit", "bitsandbytes' block-wise 8-bit Adam", adam8bit_state, FrozenMapping({"fused": Way(none)})),
    Optimizer("lion", "Lion: one moment", total, FrozenMapping({"loop": Way(lion_loop), "foreach": Way(total)})),
    Optimizer(
        "muon",
        "Muon for parameters with two dimensions, AdamW for the others",
        muon_state,
        FrozenMapping({"foreach": Way(muon_foreach), "fused": Way(muon_fused, muon_counters), "loop": Way(muon_loop)}),
    ),
)
