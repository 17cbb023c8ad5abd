"""Random networks: swatcost's MACs under `exact` against torch's counter, whose known faults are mended here.

Run as `python -m benchmarks.fuzz_networks --seconds 60 --seed 0`, or `--case 17` for one network.
"""

from __future__ import annotations

import sys
import warnings
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

import swatcost
from benchmarks.fuzz import fuzz
from benchmarks.random_networks import Case, random_case

aten = torch.ops.aten
_ON_CPU = 10  # one network in so many is really run, with the CPU's own kernels


def _convolution_backward(
    grad_shape: Any, x_shape: Any, w_shape: Any, _bias: Any, _stride: Any, _padding: Any, _dilation: Any,
    transposed: bool, _output_padding: Any, _groups: int, output_mask: Any, **_: Any,
) -> int:  # fmt: skip
    """Each gradient multiplies what the forward pass does; torch's own forgets the groups in the weight's."""
    return 2 * prod((x_shape if transposed else grad_shape)[2:]) * x_shape[0] * prod(w_shape) * sum(output_mask[:2])


def _not_counted(*_: Any, **__: Any) -> int:
    raise NotImplementedError("torch counts neither products with vectors nor their gradients")


_MENDED = {
    aten.convolution_backward: _convolution_backward,
    **dict.fromkeys((aten.dot, aten.mv, aten.addmv, aten.vdot), _not_counted),
}


def counted_by_torch(case: Case) -> tuple[int, int]:
    """Forward and backward MACs; attention is written out, because its fused forms count 0 on some devices."""
    with FlopCounterMode(display=False, custom_mapping=_MENDED) as counter, sdpa_kernel(SDPBackend.MATH):
        result = case.call()
        forward = counter.get_total_flops()
        outputs = [each for each in tree_flatten(result)[0] if isinstance(each, Tensor) and each.requires_grad]
        if outputs:
            torch.autograd.backward(outputs, [torch.empty_like(each) for each in outputs])
    return forward // 2, (counter.get_total_flops() - forward) // 2


def counted(case: Case) -> tuple[tuple[int, int], list[str]]:
    """swatcost's forward and backward MACs, and what it announces as products that it did not count."""
    network = swatcost.trace(case.network, case.example_inputs, batch_size=case.batch_size)
    costs = swatcost.estimate(network, convention="exact", batch_size=case.batch_size).costs
    backward = costs.grad_input + costs.grad_weight + costs.recompute
    macs = round(costs.forward.dense * case.batch_size), round(backward.dense * case.batch_size)
    return macs, [each.operation for each in network.uncounted if each.products]


def wrong(traced: Case, counted_again: Case | None = None) -> str | None:
    """What is wrong with a network's count; None if nothing is, or if torch cannot train or count the network.

    A network that is really run has the same network on the meta device as its second; otherwise the same is used
    again, which a trace must leave as it was.
    """
    device = next((each.device for each in traced.inputs), "")
    try:
        found, refusal = counted(traced), ""
    except swatcost.SwatcostError as error:
        found, refusal = None, f"refused on {device}: {error}"
    try:
        expected = counted_by_torch(counted_again or traced)
    except Exception:  # the draw asks for what autograd refuses, such as a leaf that is changed in place
        return None
    if found is None:
        return None if expected == (0, 0) and "nothing to count" in refusal else refusal
    macs, alarms = found
    if macs != expected:
        return f"forward and backward {macs} on {device}, by torch's counter {expected}"
    return f"TOO LOW said of {', '.join(alarms)} on {device}, but the count is right" if alarms else None


def check(seed: int) -> str | None:
    """A failure's text, with the shortest part of the network that shows it; None if the network is counted right."""
    on_cpu = seed % _ON_CPU == 0

    def tried(steps: int | None) -> str | None:
        cases = [random_case(seed, device) for device in (("cpu", "meta") if on_cpu else ("meta",))]
        return wrong(*(each.cut(steps) if steps else each for each in cases))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about the networks
        found = tried(None)
        if found is None:
            return None
        whole = random_case(seed)
        for steps in range(1, len(whole.network.steps) + 1):
            if short := tried(steps):
                return f"{short}\n{whole.cut(steps)}"
    return f"{found}\n{whole}"


if __name__ == "__main__":
    sys.exit(fuzz("networks", check))
