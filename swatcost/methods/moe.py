"""Mixture of experts: each feed-forward layer becomes E experts, of which k run for each token."""

from swatcost.common.bound import bound
from swatcost.common.errors import SwatcostError
from swatcost.methods.added_work import Added
from swatcost.methods.feed_forward import FEED_FORWARD, is_feed_forward
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.network.layer import Layer

_MIXTRAL = "the number in Mixtral 8x7B (Jiang et al. 2024)"


def instead_of(layer: Layer, *, experts: int, active: int, copies: int) -> Added:
    """What E experts as large as `copies` of the layer, of which k run, add to it: less than nothing where few run.

    Each pass takes copies · k / E times the layer's MACs.
    """
    macs = (copies * active - experts) * layer.forward_macs / experts
    return Added(
        forward=macs,
        grad_input=macs * layer.input_needs_grad,
        grad_weight=macs * layer.weight_trains,
        weights=(layer.weight_shape,) * (copies - 1),
    )


def moe(*, experts: int, active: int, copies: int) -> Method:
    """A mixture of `experts` experts, of which `active` run, as large as `copies` of the layer together."""
    if active > experts:
        raise SwatcostError(f"method 'moe': active={active} of experts={experts} experts, give active up to experts")
    return Method(
        name="moe",
        title="Mixture of experts",
        citation="Shazeer et al., ICLR 2017; Fedus et al., JMLR 2022",
        sparse=sparse_in(),
        unstructured=False,
        added=bound(instead_of, experts=experts, active=active, copies=copies),
        adds_to=is_feed_forward,
        added_layers=FEED_FORWARD,
        departures="Dense is the given network. Its feed-forward layers are split into experts, or with copies=E "
        "become E of them. The router's product (width × E per token), the experts' biases, uneven loads and tokens "
        "sent between devices are not counted, nor are the activations of more than one expert in memory. "
        "Feed-forward layers are found by the names of their modules.",
    )


METHOD = with_parameters(
    moe,
    Parameter(name="experts", default=8, least=1, most=10_000, meaning="E, experts in each feed-forward layer",
              source=_MIXTRAL),
    Parameter(name="active", default=2, least=1, most=10_000, meaning="k, experts that run for each token",
              source=_MIXTRAL),
    Parameter(name="copies", default=1, least=1, most=10_000, meaning="1 splits the given layer into the "
              "experts; E makes each expert as large as the given layer, as in Mixtral",
              source="as many weights as the dense network"),
)  # fmt: skip
