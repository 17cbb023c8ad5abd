"""Departures of published counting code from its own convention: known slips, and batch normalisation counted too."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from swatcost.common.registry import Registry
from swatcost.counting.convention import Convention
from swatcost.counting.costs import Cost, PassCosts
from swatcost.methods import Method, Phase
from swatcost.network import Network


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A change to the costs that a convention gives for a network.

    `title` says what is counted, as the rest of a sentence that names the counter. `kind` is "slip" if its authors'
    own formula says otherwise. `applies` says for which convention, method and network it exists. `counted` gives the
    costs [MACs per sample] with it from those without; it must be linear in them, but for a constant.
    """

    name: str
    title: str
    source: str
    kind: Literal["slip", "addition"]
    applies: Callable[[Convention, Method, Network], bool]
    counted: Callable[[PassCosts, Method, Network], PassCosts]


def batch_norm_elements(network: Network) -> float:
    """Elements entering batch normalisation, per sample."""
    norms = (layer for layer in network.layers if layer.kind == "batch_norm")
    return sum(prod(layer.input_shape) for layer in norms) / network.batch_size


def _with_batch_norm(costs: PassCosts, method: Method, network: Network) -> PassCosts:
    """2 FLOPs, hence one MAC, per element in each pass, dense whatever the sparsity."""
    elements = batch_norm_elements(network)
    norms = Cost(elements, elements)
    return PassCosts(
        forward=costs.forward + norms,
        grad_input=costs.grad_input + norms,
        grad_weight=costs.grad_weight + norms,
        recompute=costs.recompute,
        inference=costs.inference + norms,
    )


def _update_phases(method: Method) -> list[Phase]:
    """The phases of the authors' closed form in which a method updates its connections."""
    closed_form = method.published_schedule
    return [phase for phase in closed_form(1) if phase.dense_weight_gradient] if closed_form else []


def _updates_in_closed_form(convention: Convention, method: Method, network: Network) -> bool:
    return convention.average == "closed form" and bool(_update_phases(method))


def _two_forwards_more(costs: PassCosts, method: Method, network: Network) -> PassCosts:
    """Two more sparse forward passes in every step that updates connections."""
    updates = sum(phase.share for phase in _update_phases(method))
    return replace(costs, grad_input=costs.grad_input + Cost(0, 2 * updates * costs.forward.sparse))


DEVIATIONS = Registry[Deviation](
    "deviation",
    Deviation,
    Deviation(
        name="srigl-update",
        title="has 4·f_S where RigL's closed form, (3·f_S·ΔT + 2·f_S + f_D) / (ΔT + 1), has 2·f_S",
        source="the public notebook of Lasby et al., SRigL (arXiv 2305.02299)",
        kind="slip",
        applies=_updates_in_closed_form,
        counted=_two_forwards_more,
    ),
    Deviation(
        name="batch-norm",
        title="counts batch normalisation too, one MAC per element in each pass",
        source="AC/DC's counter and fvcore: 2 FLOPs per element forward; a step as three times that",
        kind="addition",
        applies=lambda convention, method, network: batch_norm_elements(network) > 0,
        counted=_with_batch_norm,
    ),
)
"""Every deviation. `swatcost audit` tries each with every convention for which it exists."""
