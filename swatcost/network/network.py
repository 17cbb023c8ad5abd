"""A traced network as plain data, without torch: written once and read often.

Shapes are those that torch saw, batch dimension included; `Network.batch_size` is the number of samples they hold.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

import msgspec

from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_atomically
from swatcost.common.reading import LARGEST_JSON, json_of, read, typed
from swatcost.common.result import Result
from swatcost.network.attention import Embedding
from swatcost.network.batches import batch_is_identifiable, per_sample, without_dim
from swatcost.network.conditions import IN_LOSS, OF_ONE_SIZE, Conditions
from swatcost.network.fields import LARGEST, Name, Natural, Positive
from swatcost.network.layer import Layer, first_uses, parameter_of
from swatcost.network.tensors import Movement, SavedTensor, StepTensors, Storage, Timeline

SCHEMA: Literal["swatcost.trace/3"] = "swatcost.trace/3"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of the network, listed once even if several modules share it.

    `mask_zeros` is the number of zeros in its pruning mask, None if it has no mask.
    """

    name: Name
    shape: tuple[Natural, ...]
    element_bytes: Positive
    trains: bool
    mask_zeros: Natural | None = None

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """A buffer of the network, such as a running mean."""

    name: Name
    shape: tuple[Natural, ...]
    element_bytes: Positive


@dataclass(frozen=True, kw_only=True)
class Uncounted:
    """Calls of an operation that does arithmetic but for which no layer was recorded.

    `products` says that it multiplies tensors, or may: its MACs are then comparable to a layer's.
    """

    operation: Name
    products: bool
    calls: Positive
    places: tuple[Name, ...]


@dataclass(frozen=True, kw_only=True)
class Variation:
    """The executed MACs of the traced batch in `runs` forward passes, the fewest and the most, and of their training.

    `draws` says that the network draws random numbers whose values may decide what it does, `reads` that it reads
    values of tensors: the runs differ in these, and the trace is the first of them.
    """

    runs: Positive
    draws: bool
    reads: bool
    forward_macs: tuple[Natural, Natural]
    training_macs: tuple[Natural, Natural]

    @property
    def differs(self) -> bool:
        """Whether two runs had different counts."""
        return len({*self.forward_macs}) > 1 or len({*self.training_macs}) > 1


_NO_EVENTS = Timeline()
_WITHOUT_LOSS = Conditions()
"""What traces were made under that do not say it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Network(Result):
    """A traced network: its layers in execution order, its tensors and the uncounted operations. Its repr is a table.

    `embeds_input` says that an embedding runs before the first conv or linear layer. `batch_dim` is the dimension of
    the inputs that counts the samples, None if none does (a packed sequence, a list of images, one sample without a
    batch), and `batch_told_by` is who says so: empty if it is assumed. `variation` compares runs of a network that
    draws random numbers or reads values. `unlisted_saves` names the modules in which function transforms, such as
    torch.func.grad, ran: what autograd saves meanwhile is not among `saved`. `conditions` are the loss of the traced
    step, its autocast and what was checkpointed. `amp` has the tensors of the same step under autocast, where it was
    traced too, and `layer_inputs`, if there are any, are the storages of the layers' inputs instead of their own.
    `movements` are the operations of the step that multiply no tensors, such as normalisations; older traces have none.
    `embeddings` are the tables of which the forward pass looks up rows; older traces, which do not say, have None.
    `assumed` says in sentences what was assumed where its source leaves something open.

    Raises ValueError if a layer names a parameter that the network does not have, or if two of its tensors contradict
    each other.
    """

    report = "network"

    name: Name
    input_shapes: tuple[tuple[Natural, ...], ...]
    batch_size: Positive
    layers: tuple[Layer, ...]
    parameters: tuple[Parameter, ...]
    buffers: tuple[Buffer, ...]
    output_shapes: tuple[tuple[Natural, ...], ...] = ()
    storages: tuple[Storage, ...] = ()
    saved: tuple[SavedTensor, ...] = ()
    timeline: Timeline = _NO_EVENTS
    uncounted: tuple[Uncounted, ...] = ()
    torch_version: Name = ""
    embeds_input: bool = False
    batch_dim: Natural | None = 0
    batch_told_by: Name = "the caller"
    variation: Variation | None = None
    unlisted_saves: tuple[Name, ...] = ()
    conditions: Conditions = _WITHOUT_LOSS
    amp: StepTensors | None = None
    layer_inputs: tuple[Natural, ...] = ()
    movements: tuple[Movement, ...] = ()
    embeddings: tuple[Embedding, ...] | None = None
    assumed: tuple[Name, ...] = ()
    schema: Literal["swatcost.trace/3"] = SCHEMA

    def __post_init__(self) -> None:
        if self.variation is not None and any(
            fewest > most for fewest, most in (self.variation.forward_macs, self.variation.training_macs)
        ):
            raise ValueError("its variation has more MACs at least than at most")
        if max((parameter.elements for parameter in self.parameters), default=0) > LARGEST:
            raise ValueError("a parameter has more than 2^53 elements")
        known = {parameter.name: parameter for parameter in self.parameters}
        if len(known) != len(self.parameters):
            raise ValueError("two parameters have the same name")
        for layer in self.layers:
            for name in layer.parameters:
                if name not in known:
                    raise ValueError(f"{layer.name}: no parameter is called {name!r}")
            if layer.is_weight_layer and not layer.weight.startswith("("):
                self._check_weight(layer, known)
        for table in self.embeddings or ():
            if table.parameter not in known:
                raise ValueError(f"no parameter is called {table.parameter!r}, of which rows are looked up")
        along = self.batch_size > 1 and self.batch_dim is not None
        if along and not any(self.batch_size in shape for shape in self.input_shapes):
            raise ValueError(f"no input of {self.input_shapes} holds a batch of {self.batch_size}")
        tensors = StepTensors(
            storages=self.storages, saved=self.saved, timeline=self.timeline, layer_inputs=self.layer_inputs
        )  # which checks itself
        if tensors.layer_inputs and len(tensors.layer_inputs) != len(self.layers):
            raise ValueError("its layers have another number of inputs")
        for each in filter(None, (tensors, self.amp)):
            if any(one.parameter >= len(self.parameters) for one in each.timeline.accumulations):
                raise ValueError("it accumulates a gradient that no parameter has")

    def under(self, autocast: str) -> "Network":
        """The network in a step under autocast of this kind: "amp" or "amp-fp16", which has the same sizes.

        Raises SwatcostError if its step was not traced so.
        """
        if autocast == self.conditions.autocast:
            return self
        if self.amp is None or self.conditions.autocast or autocast not in OF_ONE_SIZE:
            has = self.conditions.autocast or "its own precision"
            under = f"give autocast {autocast!r:.40}" if autocast else "leave autocast out"
            raise SwatcostError(f"{self.name} was traced in {has}: {under} when it is traced")
        return replace(self, **vars(self.amp), amp=None, conditions=replace(self.conditions, autocast=autocast))

    @cached_property
    def inputs_of_layers(self) -> tuple[int, ...]:
        """The storage of each layer's input."""
        return self.layer_inputs or tuple(layer.input_storage for layer in self.layers)

    @cached_property
    def layers_of_step(self) -> tuple[Layer, ...]:
        """The layers with the inputs that they read in this step: their storages, and the size of an element."""
        if not self.layer_inputs:
            return self.layers
        return tuple(
            replace(layer, input_storage=read, element_bytes=self.storages[read].float_bytes or layer.element_bytes)
            for layer, read in zip(self.layers, self.layer_inputs, strict=True)
        )

    @cached_property
    def _parameter_bytes(self) -> dict[str, int]:
        return {each.name: each.element_bytes for each in self.parameters}

    def weight_bytes(self, layer: Layer) -> int:
        """Bytes per number of the parameter that holds a layer's weight; under autocast the layer may read a copy."""
        return self._parameter_bytes.get(parameter_of(layer.weight)[0], layer.element_bytes)

    @staticmethod
    def _check_weight(layer: Layer, known: dict[str, Parameter]) -> None:
        name, part = parameter_of(layer.weight)
        if name not in layer.parameters:
            raise ValueError(f"{layer.name}: its weight {layer.weight!r} is not one of its parameters")
        elements = known[name].elements
        if elements < layer.weight_elements or (elements > layer.weight_elements and not part):
            raise ValueError(f"{layer.name}: {layer.weight} has {elements} elements, not {layer.weight_elements}")

    @cached_property
    def weight_layers(self) -> tuple[Layer, ...]:
        """The conv and linear layers, in execution order."""
        return tuple(layer for layer in self.layers if layer.is_weight_layer)

    @cached_property
    def counted_layers(self) -> tuple[Layer, ...]:
        """The conv and linear layers and the products of activations, in execution order."""
        return tuple(layer for layer in self.layers if not layer.is_norm)

    @cached_property
    def saved_before_loss(self) -> tuple[SavedTensor, ...]:
        """The saved tensors without those that only the loss saves."""
        return tuple(tensor for tensor in self.saved if tensor.held_by != IN_LOSS)

    @property
    def batch_is_identifiable(self) -> bool:
        """Whether the traced batch size shows unambiguously which tensors grow with the batch."""
        shapes = [each.shape for each in self.parameters] + [each.shape for each in self.buffers]
        shapes += [without_dim(shape, self.batch_dim) for shape in self.input_shapes]
        return batch_is_identifiable(self.batch_size, [size for shape in shapes for size in shape])

    @cached_property
    def tokens(self) -> int | None:
        """Tokens in the traced batch, if the inputs are tokens: whole numbers of shape (samples, positions), or so.

        They are the first of the inputs that is a matrix of whole numbers. None if there is none.
        """
        given = zip(self.input_shapes, self.storages[: self.timeline.inputs], strict=False)
        sizes = (prod(shape) for shape, held in given if len(shape) == 2 and not held.float_bytes)
        return next(sizes, None) if self.timeline.inputs == len(self.input_shapes) else None

    @property
    def tokens_per_sample(self) -> float | None:
        """Tokens in a sample, if the inputs are tokens."""
        return None if self.tokens is None else per_sample(self.tokens, self.batch_size)

    def looked_up(self, *, reads_input: bool) -> frozenset[str]:
        """The embeddings that the network's input decides on, or the others; none if the trace does not say."""
        return frozenset(each.parameter for each in self.embeddings or () if each.reads_input == reads_input)

    @property
    def output_layer(self) -> Layer | None:
        """A language model's: the last linear layer, if it has as many outputs as the tokens' embedding has rows."""
        tables = self.looked_up(reads_input=True)
        vocabularies = [each.shape[0] for each in self.parameters if each.name in tables]
        last = next((each for each in reversed(self.weight_layers) if each.kind == "linear"), None)
        return last if last is not None and last.weight_shape[0] in vocabularies else None

    def sample_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A traced shape for one sample: without the batch dimension, or divided by it where it was folded in.

        Where no dimension counts the samples it stays whole.
        """
        if not shape or self.batch_dim is None:
            return shape
        if shape[self.batch_dim : self.batch_dim + 1] == (self.batch_size,):
            return without_dim(shape, self.batch_dim)
        leading, *rest = shape
        if leading % self.batch_size:
            return shape
        return tuple(rest) if leading == self.batch_size else (leading // self.batch_size, *rest)

    @property
    def parameter_elements(self) -> int:
        return sum(parameter.elements for parameter in self.parameters)

    @property
    def weight_elements(self) -> int:
        """Weights of conv and linear layers, shared ones counted once, without biases."""
        return sum(layer.weight_elements for layer in first_uses(self.weight_layers))

    def samples_of(self, layer: Layer, batch_size: int | None = None) -> int:
        """The samples that share the layer's traced work in a step of `batch_size`, by default the traced batch.

        They are the traced samples or, for work that is done once per step, the whole step's.
        """
        return batch_size if layer.per_step and batch_size is not None else self.batch_size

    def divides_evenly(self, layer: Layer) -> bool:
        """Whether the layer's work over the traced batch is the same for every sample, or done once per step."""
        work = layer.product_macs()[0] if layer.is_product else layer.images
        return layer.per_step or work % self.batch_size == 0

    def input_elements(self, layer: Layer, batch_size: int | None = None) -> float:
        """Input elements of the layer per sample of a step of `batch_size`, on average; by default the traced batch."""
        return per_sample(prod(layer.input_shape), self.samples_of(layer, batch_size))

    def storage_bytes(self, storage: int, batch_size: int) -> int:
        """The bytes of a storage in a step of `batch_size` samples."""
        kept = self.storages[storage]
        return kept.bytes * batch_size // self.batch_size if kept.scales_with_batch else kept.bytes

    def traffic_bytes(self, batch_size: int) -> int:
        """Bytes that a step of `batch_size` samples moves: every tensor that it creates is written once and read once.

        Repeated reads and parameters are not counted.
        """
        made = (event - 1 for event in self.timeline.events if event > 0)
        return 2 * sum(self.storage_bytes(storage, batch_size) for storage in made)

    def moved_bytes(self, movement: Movement, batch_size: int) -> int:
        """The bytes that one call of an operation reads and writes in a step of `batch_size` samples."""
        return movement.fixed_bytes + movement.batch_bytes * batch_size // self.batch_size

    def save(self, path: str | Path) -> None:
        """Writes the trace as JSON; an interrupted write leaves nothing behind."""
        write_atomically(Path(path), self.to_json())

    def to_json(self) -> str:
        """The trace as JSON text."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"


_WRITTEN = {
    Network: ("output_shapes", "storages", "saved", "timeline", "uncounted", "torch_version"),
    Layer: ("stride", "padding", "dilation", "groups", "parameters", "recomputed", "custom_macs"),
    Timeline: ("events", "backward", "gradients", "inputs"),
}
"""The keys that every trace of this schema has; others with a default were added to it later."""


class _Header(msgspec.Struct):
    schema: str


def read_network(path: str | Path) -> Network:
    """Reads a saved trace. The file is data: nothing in it is executed.

    Raises SwatcostError if it cannot be read, is damaged, or has another schema.
    """
    return read(path, "trace", lambda text: network_of(json_of(text), str(path)), LARGEST_JSON)


def network_of(content: Any, path: str) -> Network:
    """A trace from the content of its JSON; `path` names it in errors. Raises ValueError if it is not one."""
    if (schema := msgspec.convert(content, _Header).schema) != SCHEMA:
        raise SwatcostError(f"{path} has schema {schema!r}, but this version reads {SCHEMA!r}: trace it again")
    network: Network = typed(content, Network, _WRITTEN)
    return network


def parse_network(text: bytes, path: str) -> Network:
    """A trace from JSON text that swatcost wrote itself; `path` names it in errors."""
    try:
        return msgspec.json.decode(text, type=Network)
    except (ValueError, RecursionError) as error:
        raise SwatcostError(f"{path} is not a usable trace: {error}") from None
