"""An ONNX file as a checked graph without the values of its weights. Other files are neither read nor written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import LONGEST_MESSAGE, MissingPackageError, SwatcostError, first_line
from swatcost.common.printing import printable
from swatcost.common.reading import read_bytes
from swatcost.network.fields import LARGEST

if TYPE_CHECKING:
    import onnx

LARGEST_ONNX = 2**31  # bytes: protobuf takes no more, and larger models keep their weights in files of their own
MOST_NODES = 200_000
MOST_KNOWN = 1024
"""Elements of the largest tensor whose values are kept: shapes, axes, indices."""

REASONS = (ValueError, ArithmeticError, LookupError)
"""What following a graph raises for numbers and names that ONNX's own checks let pass."""

_MOST_DIMS = 32


@dataclass(frozen=True)
class Initializer:
    """A constant tensor of a file: a weight, or numbers that shapes are made of. `data` has its values if it is small.

    `is_named` says that the graph holds it under its name, as weights are, not a Constant node.
    """

    name: str
    shape: tuple[int, ...]
    dtype: int
    data: Any = None
    is_named: bool = True


@dataclass(frozen=True)
class OnnxFile:
    """A checked graph: its nodes call no local functions, and its initializers are held apart, without their values."""

    path: str
    graph: onnx.GraphProto
    initializers: Mapping[str, Initializer]
    opsets: Mapping[str, int]
    ir_version: int

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """What a run of the network is given."""
        return [each for each in self.graph.input if each.name not in self.initializers]


def open_onnx(path: str | Path) -> OnnxFile:
    """Reads a file. Raises SwatcostError, in one line, unless it is a valid ONNX model; the values of its weights, in
    it or in other files, are not needed.
    """
    model = _parsed(path)
    try:
        _check_size(model)
        initializers = {each.name: each for each in _initializers(model.graph)}
        _without_values(model.graph, initializers)
        model = _checked(model)
    except RecursionError:
        raise _unusable(path, "it is nested too deeply") from None
    except Exception as error:  # each of the library's modules has its own
        raise _unusable(path, first_line(error)) from None
    return OnnxFile(
        path=str(path),
        graph=model.graph,
        initializers=initializers,
        opsets={each.domain: each.version for each in model.opset_import},
        ir_version=model.ir_version,
    )


def _unusable(path: str | Path, reason: str) -> SwatcostError:
    return SwatcostError(f"{path} is not a usable ONNX file: {printable(reason)[:LONGEST_MESSAGE]}")


def _parsed(path: str | Path) -> onnx.ModelProto:
    content = read_bytes(path, LARGEST_ONNX)
    try:
        import onnx
    except ImportError:
        raise MissingPackageError(f"reading {path} needs onnx: pip install 'swatcost[onnx]'") from None
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
        return model
    except Exception:  # of protobuf, whose modules differ by installation; it says no more
        raise _unusable(path, "it does not hold an ONNX model") from None


def _check_size(model: onnx.ModelProto) -> None:
    """Raises ValueError if the graph has too many nodes, functions inlined, or a function calls itself."""
    functions = {(each.domain, each.name, each.overload): each.node for each in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}
    running: set[tuple[str, str, str]] = set()

    def size(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            if not all(isinstance(each, str) for each in _names(node)):
                raise ValueError("a name in it is not UTF-8 text")
            called = (node.domain, node.op_type, node.overload)
            total += 1 + (size_of(called) if called in functions else 0)
            total += sum(size(graph.node) for graph in subgraphs(node))
            if total > MOST_NODES:
                raise ValueError(f"it has more than {MOST_NODES:,} nodes")
        return total

    def size_of(called: tuple[str, str, str]) -> int:
        if called in running:
            raise ValueError(f"the function {called[1]!r} calls itself")
        if called not in sizes:
            running.add(called)
            sizes[called] = size(functions[called])
            running.remove(called)
        return sizes[called]

    size(model.graph.node)
    for each in functions:
        size_of(each)


def _names(node: onnx.NodeProto) -> Iterator[object]:
    """All names in a node; protobuf gives one that is not UTF-8 as bytes."""
    yield from (node.name, node.op_type, node.domain, node.overload, *node.input, *node.output)
    yield from (each.name for each in node.attribute)
    yield from (text for each in node.metadata_props for text in (each.key, each.value))


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a node runs: branches, or the body of a loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _initializers(graph: onnx.GraphProto) -> Iterator[Initializer]:
    for tensor in graph.initializer:
        yield initializer_of(tensor, tensor.name)
    for sparse in graph.sparse_initializer:
        name = sparse.values.name
        yield Initializer(name, checked_shape(sparse.dims, name), sparse.values.data_type)


def initializer_of(tensor: onnx.TensorProto, name: str, *, is_named: bool = True) -> Initializer:
    """A tensor, with its values if they are few and in the file. Raises ValueError for impossible dimensions."""
    from onnx import numpy_helper

    shape = checked_shape(tensor.dims, name)
    inside = tensor.data_location != tensor.EXTERNAL and tensor.data_type != tensor.STRING
    try:
        data = numpy_helper.to_array(tensor) if inside and prod(shape) <= MOST_KNOWN else None
    except Exception as error:  # of numpy, or a KeyError for an unknown type
        raise ValueError(f"{name} cannot hold its {prod(shape)} numbers: {first_line(error)}") from None
    return Initializer(name, shape, tensor.data_type, data, is_named)


def checked_shape(dims: Iterable[int], name: str) -> tuple[int, ...]:
    """The dimensions of a tensor. Raises ValueError if one is negative or there are too many elements."""
    shape = tuple(dims)
    if len(shape) > _MOST_DIMS:
        raise ValueError(f"{name} has {len(shape):,} dimensions")
    if min(shape, default=0) < 0 or prod(shape) > LARGEST:
        raise ValueError(f"{name} cannot have the shape {'×'.join(map(str, shape))}")
    return shape


def is_onnx(each: onnx.NodeProto | onnx.OperatorSetIdProto) -> bool:
    """Whether a node's operation, or a set of operations, is one of ONNX's own, whose domain has two names."""
    return each.domain in ("", "ai.onnx")


def _without_values(graph: onnx.GraphProto, initializers: Mapping[str, Initializer]) -> None:
    """Makes inputs of the graph's initializers. Raises ValueError for other tensors that are in other files.

    Outputs of any rank, which runtimes accept and ONNX's checker does not, are given a dimension of unknown size.
    """
    from onnx import helper

    names = [each.name for each in graph.initializer] + [each.values.name for each in graph.sparse_initializer]
    if len({*names}) < len(names):
        raise ValueError("two initializers have the same name")
    del graph.initializer[:], graph.sparse_initializer[:]
    given = {each.name for each in graph.input}
    for each in initializers.values():
        if each.name not in given:
            graph.input.append(helper.make_tensor_value_info(each.name, each.dtype, each.shape))
    for result in graph.output:
        if result.type.HasField("tensor_type") and not result.type.tensor_type.HasField("shape"):
            result.type.tensor_type.shape.dim.add()
    _refuse_external(graph)


def _refuse_external(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if any(each.external_data for each in (attribute.t, *attribute.tensors)):
                raise ValueError(f"the node {node.name!r} has a tensor in another file, which is not read")
        for inner in subgraphs(node):
            if any(each.external_data for each in inner.initializer):
                raise ValueError(f"a graph in {node.name!r} has a tensor in another file, which is not read")
            _refuse_external(inner)


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with local functions inlined. Raises an exception of the library's if it is not valid."""
    from onnx import checker, defs, inliner

    for function in model.functions:
        for node in function.node:
            if any(attribute.t.external_data for attribute in node.attribute):
                raise ValueError(f"the function {function.name!r} has a tensor in another file, which is not read")
    newest = defs.onnx_opset_version()
    for each in model.opset_import:
        if is_onnx(each) and each.version > newest:
            raise ValueError(f"it has opset {each.version}, and the installed onnx knows {newest}: install a newer one")
    checker.check_model(model)
    return inliner.inline_local_functions(model) if model.functions else model
