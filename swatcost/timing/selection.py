"""The time of a Top-K refresh on a device, as in the paper and with the improvements that A.4 suggests."""

from dataclasses import dataclass

from swatcost.common.errors import SwatcostError
from swatcost.devices import Device
from swatcost.methods import Method
from swatcost.network import Network
from swatcost.sparsity import Sparsity, SparsityPlan
from swatcost.timing import topk


@dataclass(frozen=True)
class Selecting:
    """How thresholds are found: the options suggested in A.4.

    `algorithm` is one that the device has a time for; None is that of its profile's `topk`. With `one_sample`,
    activation thresholds are found on one sample and used for the batch. With `hidden`, selections overlap with
    training.
    """

    algorithm: str | None = None
    one_sample: bool = False
    hidden: bool = False

    def check(self, method: Method) -> None:
        """Raises SwatcostError if an option is set for a method without Top-K selection."""
        asked = {"selection": self.algorithm, "one_sample": self.one_sample, "hidden": self.hidden}
        given = [name for name, value in asked.items() if value]
        if given and not method.selects:
            raise SwatcostError(f"{given[0]}: method {method.name!r} has no Top-K selection, leave it out")


def topk_seconds(
    network: Network, plan: SparsityPlan, device: Device, batch_size: int, selecting: Selecting = Selecting()
) -> float:
    """The time [s] of one Top-K refresh, over the operands that the method selects and the plan makes sparse.

    Raises SwatcostError if the device has no time for the algorithm.
    """
    samples = 1 if selecting.one_sample else batch_size
    weights, activations = selected(network, plan, samples)
    if selecting.algorithm is None or device.is_topk(selecting.algorithm):
        return topk.selection_seconds(
            weight_elements=sum(elements * sparse for elements, sparse in weights),
            activation_elements=sum(elements * sparse for elements, sparse in activations),
            seconds_per_weight=device.topk.weights.per_element,
            seconds_per_activation=device.topk.activations.per_element,
        )
    timed = device.selection(selecting.algorithm)
    seconds: float = sum(timed.seconds(elements) * sparse for elements, sparse in (*weights, *activations))
    return seconds


def selected(
    network: Network, plan: SparsityPlan, samples: int = 1
) -> tuple[list[tuple[float, Sparsity]], list[tuple[float, Sparsity]]]:
    """The weights, and the layer inputs for so many samples, that Top-K selects in.

    Each is a number of elements, and whether the plan makes it sparse (true or false, or an array of these). A weight
    of which passes read different sets is there once for each.
    """
    selects = plan.method.selects
    weights = plan.method.selections * plan.by_weight(network) if "weight" in selects else []
    inputs = zip(network.weight_layers, plan.layers, strict=True) if "activation" in selects else []
    return (
        [(layer.weight_elements, sparsity.weight > 0) for layer, sparsity in weights],
        [
            (samples * network.input_elements(layer, samples), sparsity.activation > 0)
            for layer, sparsity in inputs
            if layer.weight_trains
        ],
    )


def masked_sizes(network: Network, plan: SparsityPlan, batch_size: int) -> list[float]:
    """The size [elements] of every array that is masked in a step."""
    weights, activations = selected(network, plan, batch_size)
    return [elements for elements, sparse in (*weights, *activations) if sparse]
