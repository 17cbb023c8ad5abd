"""Default activation sparsity, the zeros that ReLU leaves, as recorded in a training run."""

from collections.abc import Mapping
from pathlib import Path

from swatcost.common.errors import SwatcostError
from swatcost.common.record import read_record
from swatcost.network import Network


def default_act_sparsity(network: Network, zeros: Mapping[str, float]) -> float:
    """The fraction of zeros [-] among layers' inputs, weighted by each layer's grad_weight MACs at output resolution.

    That is the fraction of the dense grad_weight pass that hardware saves by skipping those zeros, as in A.3.
    zeros is the fraction of zeros among the inputs of each weight [-].
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
    """The default activation sparsity [-] of a network, from the record of a run.

    Raises SwatcostError if the run trained another network.
    """
    rows = read_record(source).by_layer()
    names = {layer.weight for layer in network.weight_layers}
    if names != rows.keys():
        raise SwatcostError(f"{source} is a run of another network than {network.name}: its layer names differ")
    return default_act_sparsity(network, {weight: columns["zeros"] for weight, columns in rows.items()})
