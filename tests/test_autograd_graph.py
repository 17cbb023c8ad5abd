"""Which gradients a trace reads off autograd's graph where a view's base is changed in place.

Autograd then gives the view a new node, which comes after that of the layer that reads it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import swatcost

from .cases import Applied


def changed_view(module: Applied, x: Tensor) -> Tensor:
    base = module.first(x) * 2
    view: Tensor = base.view(2, 4)
    with torch.no_grad():
        base.add_(1)
    return view


def gradients(module: nn.Module) -> list[tuple[str, bool, bool]]:
    network = swatcost.trace(module, torch.randn(2, 4))
    return [(each.name, each.input_needs_grad, each.weight_trains) for each in network.layers]


def parts() -> dict[str, nn.Module | nn.Parameter]:
    return {"first": nn.Linear(4, 4), "second": nn.Linear(4, 4)}


def test_a_layer_that_reads_the_view_has_its_own_gradients() -> None:
    module = Applied(lambda self, x: self.second(changed_view(self, x)), parts())
    # no work of unknown nodes, which would be a third layer; the first layer's input needs no gradient
    assert gradients(module) == [("first", False, True), ("second", True, True)]


def test_a_layer_that_reads_the_view_and_is_not_used_has_none() -> None:
    def forward(self: Applied, x: Tensor) -> Tensor:
        view = changed_view(self, x)
        self.second(view)
        return view.relu()

    assert gradients(Applied(forward, parts())) == [("first", False, True), ("second", False, False)]
