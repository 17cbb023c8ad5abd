"""The shapes of a network's inputs, with sizes for the dimensions that a file leaves open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swatcost.importing.onnx_file import OnnxFile, checked_shape
from swatcost.importing.values import Value, dtype_name
from swatcost.network.batches import identifiable_batch_size


@dataclass(frozen=True)
class Inputs:
    """A network's inputs, the sizes of named dimensions, the batch, and what was assumed of it, in a sentence."""

    values: tuple[Value, ...]
    symbols: dict[str, int]
    batch_size: int
    batch_dim: int | None
    assumed: str


def inputs_of(file: OnnxFile, input_shape: Sequence[int] | None, batch_size: int | None = None) -> Inputs:
    """The inputs for samples of this shape, in a batch of this size where the file leaves it open; by default one that
    shows which tensors grow with it.

    Raises ValueError if a dimension stays open, and for an input_shape that does not fit the file.
    """
    stated = {each.name: _dims(each.name, each.type) for each in file.inputs}
    if not stated:
        raise ValueError("it has no input")
    if len(stated) < len(file.inputs):
        raise ValueError("two inputs have the same name")
    first = next(iter(stated.values()))
    symbols = _given(first[1:], input_shape)
    weights = [size for each in file.initializers.values() for size in each.shape]
    fixed = [size for dims in stated.values() for size in dims[1:] if isinstance(size, int)]
    batch, batch_dim, assumed = 1, None if not first else 0, "Its input has no dimension that could count samples."
    if first and isinstance(first[0], int):
        batch = first[0]
        size = "×".join(
            map(str, [*first[:1], *(each if isinstance(each, int) else symbols.get(each) for each in first[1:])])
        )
        assumed = f"Dimension 0 of its first input, {size}, is assumed to count the samples."
    elif first:
        batch = batch_size or identifiable_batch_size([*weights, *fixed, *symbols.values()])
        batch = symbols.setdefault(str(first[0]), batch)
        assumed = f"The first dimension of its first input, which the file leaves open, counts the samples: {batch}."
    if batch < 1:
        raise ValueError("its first input holds no sample")
    values = []
    for info in file.inputs:
        dims = stated[info.name]
        missing = [each for each in dims if isinstance(each, str) and each not in symbols]
        if missing and dims is first:
            raise ValueError(f"it leaves {_listed(missing)} of its input {info.name!r} open: give input_shape")
        if missing:
            raise ValueError(f"it leaves {_listed(missing)} of its input {info.name!r} open: fix it at export")
        shape = checked_shape((each if isinstance(each, int) else symbols[each] for each in dims), info.name)
        dtype = info.type.tensor_type.elem_type
        dtype_name(dtype)
        values.append(Value(info.name, shape, dtype, grows=True, origin=info.name))
    return Inputs(tuple(values), symbols, batch, batch_dim, assumed)


def _listed(dims: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(dims))


def _dims(name: str, type: object) -> list[int | str]:
    """An input's dimensions: a size, or the name of one that the file leaves open."""
    if not type.HasField("tensor_type") or not type.tensor_type.HasField("shape"):  # type: ignore[attr-defined]
        raise ValueError(f"its input {name!r} has no shape: export it with one")
    dims = type.tensor_type.shape.dim  # type: ignore[attr-defined]
    return [
        each.dim_value if each.HasField("dim_value") else each.dim_param or f"dimension {place}"
        for place, each in enumerate(dims)
    ]


def _given(dims: Sequence[int | str], input_shape: Sequence[int] | None) -> dict[str, int]:
    """The sizes that a sample's shape gives to its open dimensions."""
    if input_shape is None:
        return {}
    words = ",".join(map(str, input_shape))
    sizes: dict[str, int] = {}
    if len(dims) != len(input_shape):
        raise ValueError(f"input_shape {words} has {len(input_shape)} dimensions, and a sample of it {len(dims)}")
    for dim, size in zip(dims, input_shape, strict=True):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"input_shape {words}: give positive whole numbers")
        if size != (dim if isinstance(dim, int) else sizes.setdefault(dim, size)):
            raise ValueError(f"input_shape {words}: the file fixes {'×'.join(map(str, dims))}")
    return sizes
