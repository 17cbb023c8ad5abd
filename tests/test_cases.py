"""What small networks really compute, against arithmetic and against torch's own counter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import swatcost
from swatcost.network import Network

from .cases import CASES, Case


def macs(network: Network) -> tuple[float, float]:
    """Forward and backward MACs of the whole traced batch, as autograd executes them."""
    costs = swatcost.estimate(network, convention="exact").costs
    backward = costs.grad_input + costs.grad_weight + costs.recompute
    return costs.forward.dense * network.batch_size, backward.dense * network.batch_size


def traced(case: Case, device: str) -> Network:
    module = case.build().to(device)
    inputs = tuple(each.to(device) for each in case.inputs())
    return swatcost.trace(module, inputs, batch_size=inputs[0].shape[1] if case.title.startswith("GRU") else None)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_macs_by_hand(case: Case, device: str) -> None:
    network = traced(case, device)
    assert macs(network) == (pytest.approx(case.forward, rel=1e-12), pytest.approx(case.backward, rel=1e-12))
    assert not any(each.products for each in network.uncounted)


def leaves(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    else:
        for each in output:
            yield from leaves(each)


@pytest.mark.parametrize("case", [case for case in CASES if case.torch_counts], ids=lambda case: case.title)
def test_torchs_counter_agrees_with_the_arithmetic(case: Case) -> None:
    module: nn.Module = case.build()
    with FlopCounterMode(display=False) as counter:
        output = module(*case.inputs())
        forward = counter.get_total_flops()
        torch.stack([each.sum() for each in leaves(output)]).sum().backward()
    assert (forward, counter.get_total_flops() - forward) == (2 * case.forward, 2 * case.backward)
