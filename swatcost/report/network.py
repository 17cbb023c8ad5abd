"""A traced network as a report: its layers, and the operations without a formula."""

from functools import partial
from typing import Any

import msgspec

from swatcost.counting import EXACT, Counting
from swatcost.network import Network
from swatcost.report.estimate import title
from swatcost.report.numbers import scaled, shape
from swatcost.report.sheet import Sheet, Table
from swatcost.report.traced import assumed, unlisted_saves, variation
from swatcost.sparsity import SparsityPlan

_MOST_ROWS = 60
"""Layers that are shown without a word; of more, the first and the last ones are."""

_LAST_ROWS = 10
_SHAPES = ("input", "weight", "output")


def sheet(network: Network, layers: bool = False) -> Sheet:
    tensors = [f"{len(network.parameters)} parameter tensors", f"{len(network.buffers)} buffers"]
    missed = [
        f"{each.operation} ×{each.calls} in {', '.join(each.places)}" for each in network.uncounted if each.products
    ]
    others = [f"{each.operation} ×{each.calls}" for each in network.uncounted if not each.products]
    return Sheet(
        opening=[
            f"{title(network)}, {scaled(_forward_macs(network), 'MAC')} forward",
            f"{len(network.counted_layers)} counted layers, {', '.join(tensors)}",
            *(f"Operation without a formula that may multiply tensors: {each}" for each in missed),
        ],
        tables=[],
        notes=[
            f"Seen but not counted: {', '.join(others) or 'nothing'}.",
            *assumed(network),
            *variation(network),
            *unlisted_saves(network),
        ],
        layers=partial(_layers, network, None if layers else _MOST_ROWS),
        shows_layers=True,
        details=[_SHAPES[start:] for start in range(len(_SHAPES) + 1)],
        left_out=lambda shapes: " and ".join(f"{each} shapes" for each in _SHAPES if each not in shapes),
    )


def _forward_macs(network: Network) -> float:
    """MACs of a forward pass, on which all conventions but those that skip padding agree."""
    return Counting(convention=EXACT).total(network, SparsityPlan.dense(network)).forward.dense


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


def _layers(network: Network, most: int | None, shapes: tuple[str, ...]) -> Table:
    """One row per layer, or of more than `most` the first and the last ones, and the network's parameters."""
    blank = [""] * len(shapes)
    found = rows(network)
    lines = [
        [row["name"], row["kind"], *(shape(row[f"{each}_shape"]) for each in shapes), scaled(row["params"])]
        for row in found
    ]
    if most is not None and len(lines) > most:
        gap = [f"… {len(lines) - most} more, in to_frame()", "", *blank, ""]
        lines = [*lines[: most - _LAST_ROWS], gap, *lines[-_LAST_ROWS:]]
    if others := network.parameter_elements - sum(row["params"] for row in found):
        lines.append(["(other)", "", *blank, scaled(others)])
    total = ["total", "", *blank, scaled(network.parameter_elements)]
    return Table(["layer", "kind", *shapes, "parameters"], [*lines, total], text_columns=2 + len(shapes))
