"""What small networks really compute, against arithmetic and against torch's own counter."""

from __future__ import annotations

import pytest
from torch.utils.flop_counter import FlopCounterMode

import swatcost
from benchmarks.peers import total
from swatcost.network import Network

from .cases import CASES, Case, macs


def traced(case: Case, device: str) -> Network:
    module = case.build().to(device)
    inputs = tuple(each.to(device) for each in case.inputs())
    return swatcost.trace(module, inputs, batch_size=case.batch_size)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_macs_by_hand(case: Case, device: str) -> None:
    network = traced(case, device)
    assert macs(network) == (pytest.approx(case.forward, rel=1e-12), pytest.approx(case.backward, rel=1e-12))
    assert not any(each.products for each in network.uncounted)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_torchs_counter_agrees_with_the_arithmetic(case: Case) -> None:
    """Where it does not, it is known to miss or overcount something: then it has to differ."""
    module = case.build()
    with FlopCounterMode(display=False) as counter:
        output = module(*case.inputs())
        forward = counter.get_total_flops()
        total(output).backward()
    agrees = (forward, counter.get_total_flops() - forward) == (2 * case.forward, 2 * case.backward)
    assert agrees == case.torch_counts
