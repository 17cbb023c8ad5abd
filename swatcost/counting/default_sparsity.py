"""The zeros that ReLU leaves among activations, as a training run had them."""

from collections.abc import Mapping
from pathlib import Path

from swatcost.common.errors import SwatcostError
from swatcost.common.record import read_record
from swatcost.network import Network


def default_act_sparsity(network: Network, zeros: Mapping[str, float]) -> float:
    """The zeros [-] among layers' inputs, weighted by what each costs in grad_weight, at the output resolution.

    That is the fraction of the dense grad_weight that a machine which skips those zeros is spared, as A.3 has it.
    zeros is the fraction of each weight's inputs [-].
    """
    found = total = 0.0
    for layer in network.weight_layers:
        if layer.weight_trains and layer.weight in zeros:
            d = layer.symbols
            work = d.N * d.F * d.C * d.R * d.S * d.H * d.W
            total += work
            found += work * zeros[layer.weight]
    return found / total if total else 0.0


def measured_default(source: str | Path, network: Network) -> float:
    """The default activation sparsity [-] of a network as a record of its run has it.

    Raises SwatcostError when it is of another network.
    """
    rows = read_record(source).by_layer()
    names = {layer.weight for layer in network.weight_layers}
    if names != rows.keys():
        raise SwatcostError(f"{source} is a run of another network than {network.name}: its layers have other names")
    return default_act_sparsity(network, {weight: columns["zeros"] for weight, columns in rows.items()})
