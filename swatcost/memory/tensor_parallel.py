"""Which layers of a step several GPUs split between them, and what they send for it.

The rule, after Megatron-LM (Shoeybi et al., 2019): linear layers of a module that read the same tensor are divided by
their outputs (column-parallel), the linear layer of the same module that follows them by its inputs (row-parallel), and
what is computed between the two is divided, with the heads of attention. The last linear layer, if it is not one of
these, is divided by its outputs, the vocabulary, as are embeddings of as many rows. All else is whole on every GPU,
convolutions included. Linear layers that stay whole, such as those that do not divide by the number of GPUs, are named.

In the forward pass the tensors between are those allocated after the first layers began and before the row-parallel
layer's output, in the backward pass those from its gradient until the first gradient of the other layers' weights, and
after this those that are as large as one of these layers' outputs and not as their input. What else is allocated then
counts as whole: an upper bound. The copies that autocast makes of divided parameters are divided. A tensor with fewer
numbers per row than GPUs (such as a normalisation's mean), or that does not grow with the batch (a mask), is never
divided.

Each GPU sends one all-reduce of the row-parallel layer's output in the forward pass, and one of the gradient of the
column-parallel layers' input in the backward pass; the same for the embedding's output and the logits' input. The
all-reduces of a cross-entropy over a divided vocabulary (a few numbers per row) are not counted.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from swatcost.memory.collectives import ceil, sent_share
from swatcost.memory.gradients import gradient_of_parameters
from swatcost.memory.module_schedule import released
from swatcost.memory.precisions import FULL, Precision
from swatcost.network import Layer, Network
from swatcost.network.layer import parameter_of


@dataclass(frozen=True, kw_only=True)
class Split:
    """The storages and parameters that each of `gpus` has a part of, and the network's layers, by number.

    `reduced` are the elements and traced bytes per element of each tensor that is all-reduced in a step of the traced
    batch, `batch_size`. `whole` names linear layers that are not split, with the reason.
    """

    gpus: int
    batch_size: int
    storages: frozenset[int] = frozenset()
    parameters: frozenset[int] = frozenset()
    layers: frozenset[int] = frozenset()
    reduced: tuple[tuple[int, int], ...] = ()
    whole: tuple[str, ...] = ()

    def sent(self, batch_size: int, precision: Precision) -> dict[str, int]:
        """What each GPU sends for it in a step of batch_size samples [bytes], by collective."""
        sizes = (
            elements * batch_size // self.batch_size * (precision.activation if traced == FULL else traced)
            for elements, traced in self.reduced
        )
        whole = sum(sizes)
        return {"all-reduce of activations": ceil(sent_share("all-reduce", self.gpus) * whole)} if whole else {}


@dataclass(frozen=True)
class _Pair:
    """Column-parallel layers, the row-parallel layer that follows them, and all layers in between, by number."""

    columns: tuple[int, ...]
    between: tuple[int, ...]
    row: int


def split_of(network: Network, gpus: int) -> Split:
    """How `gpus` split the layers of a network; nothing if it is one."""
    if gpus == 1:
        return Split(gpus=1, batch_size=network.batch_size)
    found = _Splitting(network, gpus)
    return Split(
        gpus=gpus,
        batch_size=network.batch_size,
        storages=frozenset(found.storages),
        parameters=frozenset(found.parameters),
        layers=frozenset(found.layers),
        reduced=tuple(found.reduced),
        whole=tuple(f"{name}: {reason}" for name, reason in found.whole.items()),
    )


def _module(layer: Layer) -> str:
    """The module in which a linear layer is: that which holds the module of its weight, or its weight itself.

    `blocks.0.attn.q.weight` and `blocks.0.attn.in_proj_weight` are both in `blocks.0.attn`.
    """
    parts = parameter_of(layer.weight)[0].split(".")
    return ".".join(parts[: -2 if parts[-1] == "weight" else -1])


class _Splitting:
    """Collects what is split, pair by pair."""

    def __init__(self, network: Network, gpus: int) -> None:
        self.network, self.gpus = network, gpus
        self.made = network.timeline.allocations
        self.number = {each.name: number for number, each in enumerate(network.parameters)}
        self.gradient = gradient_of_parameters(network)
        self.storages: set[int] = set()
        self.parameters: set[int] = set()
        self.layers: set[int] = set()
        self.reduced: list[tuple[int, int]] = []
        self.whole: dict[str, str] = {}
        self.copies = self._copies() if network.conditions.autocast else {}
        layers, paired = network.layers_of_step, set[int]()
        for pair in self._pairs():
            paired.update((*pair.columns, pair.row))
            if reason := self._obstacle(pair):
                self.whole.update(dict.fromkeys((layers[each].name for each in (*pair.columns, pair.row)), reason))
            else:
                self._split(pair)
        linear = [place for place, each in enumerate(layers) if each.kind == "linear"]
        rest = [place for place in linear if place not in paired]
        if rest and rest[-1] == linear[-1]:
            self._vocabulary(rest.pop())
        for place in rest:
            self.whole.setdefault(layers[place].name, "no linear layer of its module follows it or shares its input")
        for of_parameters in (self.gradient, self.copies):
            self.storages |= {of_parameters[each] for each in self.parameters if each in of_parameters}

    def _pairs(self) -> Iterator[_Pair]:
        """The pairs of every module, in execution order; a layer is in at most one."""
        layers, taken = self.network.layers_of_step, set[int]()
        modules: dict[str, list[int]] = defaultdict(list)
        for place, layer in enumerate(layers):
            if self._is_linear(layer):
                modules[_module(layer)].append(place)
        for inside in modules.values():
            for start, place in enumerate(inside):
                columns = [each for each in inside[start:] if self._reads_the_same(place, each)]
                row = next((each for each in inside[start:] if each > columns[-1]), None)
                if row is None or taken & {*columns, row}:
                    continue
                between = tuple(range(place + 1, row))
                if any(layers[each].is_weight_layer and each not in columns for each in between):
                    continue
                taken.update((*columns, row))
                yield _Pair(tuple(columns), between, row)

    def _reads_the_same(self, place: int, other: int) -> bool:
        """Whether two layers read one tensor, or copies of it that autocast makes for each of them.

        A copy is made just after that of the layer's weight. If a norm runs between, it is of something else.
        """
        layers = self.network.layers_of_step
        if layers[place].input_storage == layers[other].input_storage:
            return True
        norms = any(each.is_norm for each in layers[place:other])
        alike = layers[place].input_shape == layers[other].input_shape
        return alike and not norms and self._is_copied(layers[place]) and self._is_copied(layers[other])

    def _is_copied(self, layer: Layer) -> bool:
        """Whether autocast makes a copy of the layer's input, and for it alone."""
        weight = self.copies.get(self.number[parameter_of(layer.weight)[0]])
        made = self.made.get(layer.input_storage, 0)
        return weight is not None and made > 0 and self.network.timeline.events[made - 1] == weight + 1

    def _copies(self) -> dict[int, int]:
        """The copy that autocast makes of each linear layer's parameters, in the order in which they are used."""
        timeline, storages = self.network.timeline, self.network.storages
        wanted: dict[int, list[int]] = defaultdict(list)
        names = dict.fromkeys(name for each in self.network.layers if self._is_linear(each) for name in each.parameters)
        for number in map(self.number.__getitem__, names):
            wanted[self.network.parameters[number].elements].append(number)
        found: dict[int, int] = {}
        for event in timeline.events[: timeline.backward]:
            kept = storages[event - 1] if event > 0 else None
            if kept and not kept.scales_with_batch and kept.float_bytes == 2 and wanted[kept.bytes // 2]:
                found[wanted[kept.bytes // 2].pop(0)] = event - 1
        return found

    def _is_linear(self, layer: Layer) -> bool:
        return layer.kind == "linear" and not layer.weight.startswith("(") and layer.groups == 1

    def _obstacle(self, pair: _Pair) -> str:
        """Why a pair cannot be divided; empty if it can."""
        layers, gpus = self.network.layers_of_step, self.gpus
        for place in pair.columns:
            if (features := layers[place].weight_shape[0]) % gpus:
                return f"{features} output features do not divide by {gpus}"
        if (features := layers[pair.row].weight_shape[1]) % gpus:
            return f"{features} input features do not divide by {gpus}"
        least = min(layers[place].weight_shape[0] for place in pair.columns)
        for layer in (layers[each] for each in pair.between):
            if layer.is_product:
                for shape in (layer.input_shape, layer.weight_shape):
                    heads = prod(shape[:-2]) // self.network.batch_size if len(shape) > 1 else 1
                    if heads % gpus:
                        return f"{heads} heads do not divide by {gpus}"
            elif layer.is_norm and prod(layer.weight_shape or layer.input_shape[-1:]) >= least:
                return f"{layer.name} normalises all of its features"
        return ""

    def _split(self, pair: _Pair) -> None:
        layers = self.network.layers_of_step
        first, row = layers[pair.columns[0]], layers[pair.row]
        for place in pair.columns:
            self.parameters.update(self.number[each] for each in layers[place].parameters)
        self.parameters.add(self.number[parameter_of(row.weight)[0]])
        self.layers.update((*pair.columns, *pair.between, pair.row))
        rows = row.images
        self._divide(self._forward(pair), rows)
        self.storages.difference_update(layers[each].input_storage for each in pair.columns)  # copies of the whole
        places = [self._backward(layers[each]) for each in pair.columns]
        made, of_row = [each for each in places if each is not None], self._backward(row)
        if of_row is not None and len(made) == len(places):  # none of them is frozen
            begin, end = min(made), max(made)
            self._divide(range(of_row, begin), rows)
            outputs = {layers[place].weight_shape[0] for place in pair.columns} - {first.weight_shape[1]}
            self._divide(range(begin, end), rows, outputs)
        self.reduced.append((prod(row.output_shape), row.element_bytes))
        if first.input_needs_grad:
            self.reduced.append((prod(first.input_shape), first.element_bytes))

    def _forward(self, pair: _Pair) -> range:
        """Events in which the tensors between are allocated; a fused operation allocates more after its result."""
        row, events = self.network.layers_of_step[pair.row], self.network.timeline.events
        start = self._begins(pair.columns[0])
        end = self.made.get(row.input_storage, start - 1) + 1
        for place in range(end, self.network.timeline.backward):
            storage = self.network.storages[abs(events[place]) - 1]
            if events[place] > 0 and storage.bytes >= prod(row.output_shape) * max(1, storage.float_bytes):
                return range(start, place)
        return range(start, end)

    def _begins(self, place: int) -> int:
        """The event at which a layer begins: its input is allocated, and so is the result of the layer before."""
        layers, events = self.network.layers_of_step, self.network.timeline.events
        own = self.made.get(layers[place].input_storage, -1)
        before = max((self.made.get(each.input_storage, -1) for each in layers[:place]), default=-1)
        if before <= own:
            return own + 1
        following = (later for later in range(before + 1, len(events)) if events[later] > 0)
        return next(following, before) + 1

    def _gradient_event(self, layer: Layer) -> int | None:
        storage = self.gradient.get(self.number[parameter_of(layer.weight)[0]])
        return None if storage is None else self.made.get(storage)

    def _backward(self, layer: Layer) -> int | None:
        """The event at which a layer's backward pass begins, which makes the input's gradient before the weight's.

        Without a bias it is made after; None if the weight has no gradient.
        """
        made, events = self._gradient_event(layer), self.network.timeline.events
        if made is None:
            return None
        following = events[made + 1 : released(self.network, made + 1)]
        sizes = {self.network.storages[each - 1].bytes for each in following if each > 0}
        return made if prod(layer.input_shape) * layer.element_bytes in sizes else max(0, made - 1)

    def _divide(self, events: Sequence[int], rows: int, sizes: Collection[int] | None = None) -> None:
        """Divides the storages allocated in these events with a number per row and GPU, or of these `sizes`."""
        for place in events:
            number = self.network.timeline.events[place] - 1
            if number < 0:
                continue
            storage = self.network.storages[number]
            per_row, rest = divmod(storage.bytes, rows * max(1, storage.float_bytes))
            divides = not rest and per_row >= self.gpus and per_row % self.gpus == 0
            if storage.scales_with_batch and divides and (sizes is None or per_row in sizes):
                self.storages.add(number)

    def _vocabulary(self, place: int) -> None:
        """Divides the logits, and embeddings of as many rows."""
        layer = self.network.layers_of_step[place]
        entries = layer.weight_shape[0]
        if entries % self.gpus or not self._is_linear(layer):
            self.whole[layer.name] = f"{entries} output features do not divide by {self.gpus}"
            return
        used = {name for each in self.network.layers for name in each.parameters}
        self.parameters.update(self.number[each] for each in layer.parameters)
        embeddings = [
            number
            for number, each in enumerate(self.network.parameters)
            if len(each.shape) == 2 and each.shape[0] == entries and each.name not in used
        ]
        self.parameters.update(embeddings)
        self.layers.add(place)
        size, storages = prod(layer.output_shape), self.network.storages
        over = self._gradient_event(layer) or self.network.timeline.backward
        for event in self.network.timeline.events[self._begins(place) : over]:
            kept = storages[abs(event) - 1]
            if event > 0 and kept.scales_with_batch and kept.bytes == size * max(1, kept.float_bytes):
                self.storages.add(event - 1)
        if layer.input_needs_grad:
            self.reduced.append((prod(layer.input_shape), layer.element_bytes))
        if self.network.embeds_input:
            self.reduced.append((prod(layer.input_shape), layer.element_bytes))
