"""A traced network as a report: its layers, and the operations without a formula."""

from typing import Any

import msgspec

from swatcost.network import Network
from swatcost.report.estimate import title
from swatcost.report.numbers import scaled, shape
from swatcost.report.sheet import Sheet, Table


def sheet(network: Network, layers: bool = True) -> Sheet:
    tensors = [f"{len(network.parameters)} parameter tensors", f"{len(network.buffers)} buffers"]
    missed = [
        f"{each.operation} ×{each.calls} in {', '.join(each.places)}" for each in network.uncounted if each.products
    ]
    others = [f"{each.operation} ×{each.calls}" for each in network.uncounted if not each.products]
    return Sheet(
        opening=[
            title(network),
            f"{len(network.counted_layers)} counted layers, {', '.join(tensors)}",
            *(f"Operation without a formula that may multiply tensors: {each}" for each in missed),
        ],
        tables=[],
        notes=[f"Seen but not counted: {', '.join(others) or 'nothing'}."],
        layers=lambda detail: _layers(network),
        shows_layers=True,
    )


def to_dict(network: Network) -> dict[str, Any]:
    """The trace as plain data."""
    data: dict[str, Any] = msgspec.to_builtins(network)
    return data


def rows(network: Network) -> list[dict[str, Any]]:
    """One row per layer, with the shapes of one sample."""
    sizes = {each.name: each.elements for each in network.parameters}
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "input_shape": network.sample_shape(layer.input_shape),
            "weight_shape": layer.weight_shape,
            "output_shape": network.sample_shape(layer.output_shape),
            "params": sum(sizes.pop(name, 0) for name in layer.parameters),  # shared ones count once
        }
        for layer in network.layers
    ]


def _layers(network: Network) -> Table:
    lines = [
        [row["name"], row["kind"], *(shape(row[f"{each}_shape"]) for each in ("input", "weight", "output")),
         scaled(row["params"])]
        for row in rows(network)
    ]  # fmt: skip
    total = ["total", "", "", "", "", scaled(sum(each.elements for each in network.parameters))]
    return Table(["layer", "kind", "input", "weight", "output", "parameters"], [*lines, total], text_columns=5)
