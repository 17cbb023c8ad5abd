"""ONNX file → Network: layers, shapes and parameters, and what is assumed where ONNX is silent.

ONNX describes a network that is run, not trained. Which parameters train, what is saved for the backward pass and the
loss are not in it: the first is assumed, the second follows from the nodes as if autograd executed them one by one, and
there is no timeline of a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from swatcost.common.errors import LONGEST_MESSAGE, SwatcostError, first_line
from swatcost.common.printing import listed, printable
from swatcost.importing.onnx_file import REASONS, OnnxFile, open_onnx
from swatcost.importing.onnx_inputs import Inputs, inputs_of
from swatcost.importing.onnx_layers import Layers
from swatcost.importing.onnx_walk import Walk
from swatcost.importing.values import Value
from swatcost.network import Buffer, Embedding, Network, Parameter, Timeline, batch_is_identifiable

_MOST_NAMED = 5


def read_onnx(path: str | Path, input_shape: Sequence[int] | None = None) -> Network:
    """Reads a network from an ONNX file, for samples of `input_shape` where the file leaves their shape open.

    The file is data: nothing in it is executed, and neither other files nor the values of weights are read. Raises
    SwatcostError if it is damaged, leaves shapes open, or holds a graph that cannot be followed; MissingPackageError
    without the package onnx.
    """
    file = open_onnx(path)
    try:
        inputs = inputs_of(file, input_shape)
        try:
            return _network(file, inputs)
        except REASONS:
            if inputs.batch_size == 1 or inputs.symbols == {}:
                raise
            return _network(file, inputs_of(file, input_shape, batch_size=1))  # a graph that is made for one sample
    except (*REASONS, RecursionError, MemoryError) as error:
        raise SwatcostError(f"cannot follow {path}: {printable(first_line(error))[:LONGEST_MESSAGE]}") from None


def _network(file: OnnxFile, inputs: Inputs) -> Network:
    name = printable(Path(file.path).stem) or "network"
    dims = [size for each in file.initializers.values() for size in each.shape]
    dims += [size for each in inputs.values for size in (each.shape or ())[1:]]
    walk = Walk(file, inputs.batch_size, batch_is_identifiable(inputs.batch_size, dims), inputs.symbols)
    walk.follow(inputs.values)
    layers = Layers(walk, inputs, name)
    layers.read()
    outputs = [walk.values[each.name] for each in file.graph.output if each.name in walk.values]
    return Network(
        name=name,
        input_shapes=tuple(each.known_shape for each in inputs.values),
        batch_size=inputs.batch_size,
        layers=tuple(layers.trained(outputs)),
        parameters=tuple(_parameters(walk, layers)),
        buffers=tuple(
            Buffer(name=printable(each), shape=value.known_shape, element_bytes=value.element_bytes)
            for each in walk.statistics
            if (value := walk.values[each]) and each not in walk.trained
        ),
        output_shapes=tuple(each.shape for each in outputs if each.shape is not None),
        storages=tuple(layers.storages),
        saved=tuple(layers.saved),
        timeline=Timeline(inputs=len(inputs.values)),
        uncounted=tuple(layers.uncounted()),
        embeds_input=layers.embeds_input,
        batch_dim=inputs.batch_dim,
        batch_told_by="the file",
        embeddings=tuple(
            Embedding(parameter=printable(table), lookups=lookups, reads_input=reads_input)
            for (table, reads_input), lookups in layers.embeddings.items()
        ),
        assumed=tuple(_assumed(walk, layers, inputs)),
    )


def _parameters(walk: Walk, layers: Layers) -> Iterator[Parameter]:
    held = _held(layers)
    for name, each in walk.initializers.items():
        if printable(name) in held or name in walk.trained - layers.stand_ins:
            value = Value(name, each.shape, each.dtype)
            yield Parameter(
                name=printable(name),
                shape=each.shape,
                element_bytes=value.element_bytes,
                trains=name in walk.trained and value.is_float,
            )


def _held(layers: Layers) -> set[str]:
    """The parameters that layers and embeddings hold."""
    held = {name for layer in layers.layers for name in layer.parameters}
    return held | {printable(table) for table, _ in layers.embeddings}


def _assumed(walk: Walk, layers: Layers, inputs: Inputs) -> Iterator[str]:
    """What ONNX does not say, in sentences."""
    held, assumed = _held(layers), walk.trained - layers.stand_ins
    others = [printable(each) for each in walk.initializers if each in assumed and printable(each) not in held]
    elsewhere = f"; no layer holds {listed(others, _MOST_NAMED)}" * bool(others)
    yield (
        "Read from an ONNX file, which does not say what trains: every floating-point initializer is assumed to train, "
        f"except scalars and running statistics{elsewhere}. {inputs.assumed}"
    )
    unknown = f" What these operations save is left out: {', '.join(layers.unknown_saves)}." * bool(
        layers.unknown_saves
    )
    yield (
        "Saved activations are those of autograd executing the file's nodes one by one, without a loss; the peak of a "
        f"step is unknown.{unknown} Times leave out operations that only move tensors, so they are too low on devices "
        "whose profile times them."
    )
