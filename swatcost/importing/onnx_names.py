"""Names of layers: those of the modules that an exporter made nodes of, or else those of their weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from swatcost.common.printing import printable

if TYPE_CHECKING:
    import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"
_QUOTED = re.compile(r"'([^']*)'")


def layer_name(node: onnx.NodeProto, weight: str, network: str) -> str:
    """The layer that a node is, which may read a weight of this name.

    torch.onnx says in the node's metadata in which modules it runs; its older exporter names nodes by them. Where
    neither does, it is the weight's name without ".weight", or else the node's own.
    """
    owner = weight.removesuffix(".weight") if weight.endswith(".weight") else ""
    if owner and node.op_type in ("Conv", "ConvTranspose"):
        return printable(owner)  # the scope of one with a folded normalisation is the latter's
    module = _module_of(node)
    if module is not None:
        return printable(module or network)
    return printable(owner or node.name or next(filter(None, node.output), node.op_type))


def _module_of(node: onnx.NodeProto) -> str | None:
    """The module in which a node runs, empty for the network itself; None if nothing says it."""
    for each in node.metadata_props:
        if each.key == _SCOPES:
            scopes: list[str] = _QUOTED.findall(each.value)
            return next((scope for scope in reversed(scopes[:-1]) if scope), "")
    return module_path(node.name) if node.name.startswith("/") else None


def module_path(name: str) -> str:
    """The module of a node that torch's older exporter named by the modules that call each other.

    >>> module_path("/layer1/layer1.0/conv1/Conv"), module_path("/encoder/layers.0/self_attn/MatMul_1")
    ('layer1.0.conv1', 'encoder.layers.0.self_attn')
    """
    path = ""
    for called in name.strip("/").split("/")[:-1]:
        path = called if not path or called.startswith(f"{path}.") else _joined(path, called)
    return path


def _joined(path: str, called: str) -> str:
    """A module within another; of one in a list or sequence, the exporter repeats that one's name."""
    *outer, last = path.split(".")
    return ".".join([*outer, called]) if called.startswith(f"{last}.") else f"{path}.{called}"
