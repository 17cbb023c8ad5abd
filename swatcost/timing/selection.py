"""How long a Top-K over a network takes on a machine, the paper's way and by A.4's ideas."""

from dataclasses import dataclass

from swatcost.common.errors import SwatcostError
from swatcost.devices import Device
from swatcost.methods import Method
from swatcost.network import Network
from swatcost.sparsity import Sparsity, SparsityPlan
from swatcost.timing import topk


@dataclass(frozen=True)
class Selecting:
    """How thresholds are found: A.4's ideas.

    `algorithm` is one that the device has a time for, None what its profile did; `one_sample` finds activations'
    thresholds on a single sample and uses them for the batch; `hidden` has selections run beside training.
    """

    algorithm: str | None = None
    one_sample: bool = False
    hidden: bool = False

    def check(self, method: Method) -> None:
        """SwatcostError if something is asked of the selections of a method that has none."""
        asked = {"selection": self.algorithm, "one_sample": self.one_sample, "hidden": self.hidden}
        given = [name for name, value in asked.items() if value]
        if given and not method.selects:
            raise SwatcostError(f"{given[0]}: method {method.name!r} selects nothing by Top-K, leave it out")


def topk_seconds(
    network: Network, plan: SparsityPlan, device: Device, batch_size: int, selecting: Selecting = Selecting()
) -> float:
    """The time [s] of one Top-K over what the method selects and the plan makes sparse: dense layers need none.

    Raises SwatcostError where the device has no time for the algorithm.
    """
    weights, activations = selected(network, plan)
    samples = 1 if selecting.one_sample else batch_size
    if selecting.algorithm is None:
        return topk.selection_seconds(
            weight_elements=sum(elements * sparse for elements, sparse in weights),
            activation_elements=samples * sum(elements * sparse for elements, sparse in activations),
            seconds_per_weight=device.topk.weights.per_element,
            seconds_per_activation=device.topk.activations.per_element,
        )
    timed = device.selection(selecting.algorithm)
    arrays = [*weights, *((samples * elements, sparse) for elements, sparse in activations)]
    seconds: float = sum(timed.seconds(elements) * sparse for elements, sparse in arrays)
    return seconds


def selected(network: Network, plan: SparsityPlan) -> tuple[list[tuple[float, Sparsity]], list[tuple[float, Sparsity]]]:
    """The arrays that a Top-K runs over: each weight, and each layer's input of one sample.

    By the number of elements, with whether the plan makes it sparse (1 or 0, or an array of those).
    """
    selects = plan.method.selects
    weights = plan.by_weight(network) if "weight" in selects else []
    inputs = zip(network.weight_layers, plan.layers, strict=True) if "activation" in selects else []
    return (
        [(layer.weight_elements, sparsity.weight > 0) for layer, sparsity in weights],
        [(network.input_elements(layer), sparsity.activation > 0) for layer, sparsity in inputs if layer.weight_trains],
    )


def masked_sizes(network: Network, plan: SparsityPlan, batch_size: int) -> list[float]:
    """The elements of every array that is masked in a step."""
    weights, activations = selected(network, plan)
    return [elements for elements, sparse in weights if sparse] + [
        batch_size * elements for elements, sparse in activations if sparse
    ]
