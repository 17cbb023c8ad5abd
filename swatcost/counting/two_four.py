"""2:4 sparsity (Ampere): which layers and passes fit a sparse tensor core, and the most that this can gain.

A sparse tensor core multiplies a matrix that keeps 2 of every 4 elements along the reduction dimension by a dense one,
twice as fast as two dense ones. Of the three products of a layer,

- forward, Y = W · X, reduces over input channels and kernel: W is pruned along its rows;
- grad_input, dX = Wᵀ · dY, reduces over filters: W has to be pruned along its columns too, with a transposable mask;
- grad_weight, dW = dY · Xᵀ, reduces over images and positions and has no weight in it: dY (or X) has to be pruned.

Sources: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021; Hubara et al., "Accelerated Sparse Neural
Training", NeurIPS 2021 (transposable masks); Chmiel et al., "Minimum Variance Unbiased N:M Sparsity for the Neural
Gradients", ICLR 2023.
"""

from dataclasses import dataclass

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.common.result import Result
from swatcost.common.units import checked_count
from swatcost.counting.workload import Workload, workloads
from swatcost.devices.kernels import MULTIPLES
from swatcost.loading import counted_network
from swatcost.network import Network
from swatcost.network.passes import PASSES, Pass
from swatcost.sparsity import SparsityPlan

SPEEDUP = 2.0
"""Of a 2:4 product over a dense one, at most: half of the multiplications remain (Mishra et al. 2021, Section 3)."""

REGIMES: dict[str, tuple[Pass, ...]] = {
    "weights": ("forward",),
    "transposable weights": ("forward", "grad_input"),
    "and gradients": PASSES,
}
"""The passes that run sparsely, by which operands are pruned 2:4."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A layer's pass, and the reason why it does not fit a sparse tensor core; "" if it fits."""

    workload: Workload
    reason: str


@dataclass(frozen=True, kw_only=True, repr=False)
class TwoFour(Result):
    """The most that 2:4 sparsity can gain in a network's training step, for a batch size and a data type."""

    report = "two_four"

    network: Network
    element: str
    batch_size: int
    fits: tuple[Fit, ...]

    def macs(self, in_pass: Pass) -> int:
        """Dense MACs of a pass over the batch."""
        return sum(each.workload.macs for each in self.fits if each.workload.in_pass == in_pass)

    def fitting_macs(self, in_pass: Pass) -> int:
        """The MACs of the layers that fit."""
        return sum(each.workload.macs for each in self.fits if each.workload.in_pass == in_pass and not each.reason)

    def ceiling(self, regime: str) -> float:
        """The upper bound on the speedup of a training step's products for a regime of REGIMES."""
        dense = sum(map(self.macs, PASSES))
        saved = sum(map(self.fitting_macs, REGIMES[regime])) * (1 - 1 / SPEEDUP)
        return dense / (dense - saved)


def two_four(network: Network | str, *, element: str = "float16", batch_size: int = 32) -> TwoFour:
    """Which layers and passes of a network fit 2:4 sparsity.

    Convolutions are treated as products over unfolded windows (im2col), the sparse operand with its filters as rows.
    Raises SwatcostError for an unknown data type.
    """
    if element not in MULTIPLES:
        raise SwatcostError(f"element {element!r:.40}: {nearest(str(element), list(MULTIPLES))}")
    network = counted_network(network)
    batch_size = checked_count(batch_size, "batch_size")
    found, _ = workloads(network, SparsityPlan.dense(network), batch_size, PASSES, bits=None)
    products = {layer.name for layer in network.counted_layers if layer.is_product}
    fits = tuple(
        Fit(workload=each, reason=_reason(each.unfolded(), MULTIPLES[element], each.layer in products))
        for each in found
    )
    return TwoFour(network=network, element=element, batch_size=batch_size, fits=fits)


def _reason(product: Workload, multiple: int, of_activations: bool) -> str:
    """Why the K × C operand of a product (B, C) · (C, K) cannot be 2:4 sparse; "" if it can."""
    if of_activations:
        return "a product of activations, without a weight"
    for size, what in ((product.K, "rows"), (product.C, "columns")):
        if size % multiple:
            return f"{size} {what}, not a multiple of {multiple}"
    return ""
