"""An estimate by module: the tree of modules that a trace's names spell out, and what each module's share is.

A trace knows modules by the qualified names of its layers and parameters. MACs are with the module that executes them,
parameters with the module that owns them, each once, and so are MACs that a convention counts of parameters: every
level of the tree adds up to the network.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import groupby
from typing import Any

from swatcost.counting import Cost, PassCosts
from swatcost.estimate import Estimate
from swatcost.memory import saved_by_module
from swatcost.network import Layer, Network
from swatcost.network.layer import parameter_of

OWN = "(own)"
"""The label of what a module with parts of its own has or executes itself."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What adds up over modules. MACs are per sample, saved activations [bytes] for the batch.

    `calls` are executions of layers, normalisations included. `weights` are those of conv and linear layers, counted
    with the module that owns them, and `non_zero_weights` what is expected of them at the end of training;
    `non_zero_params` are those and all other parameters. `input_elements` enter conv and linear layers for one sample,
    and `masked_elements` of them are masked. `saved` is counted with the module that saves a storage first.
    """

    calls: int = 0
    params: int = 0
    non_zero_params: float = 0
    weights: int = 0
    non_zero_weights: float = 0
    input_elements: float = 0
    masked_elements: float = 0
    costs: PassCosts = field(default_factory=PassCosts)
    saved: Cost = field(default_factory=Cost)

    def __add__(self, other: Totals) -> Totals:
        return Totals(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Totals)})

    @property
    def weight_sparsity(self) -> float | None:
        """The fraction of zeros among conv and linear weights [-]; None without any."""
        return 1 - self.non_zero_weights / self.weights if self.weights else None

    @property
    def act_sparsity(self) -> float | None:
        """The fraction of elements entering conv and linear layers that is masked [-]; None without any."""
        return self.masked_elements / self.input_elements if self.input_elements else None


@dataclass(frozen=True, kw_only=True)
class ModuleTotals:
    """A module, its totals with those of its parts, and the parts.

    The totals of a module with parts are the sum of theirs: what it has or executes itself is a part of its own,
    labelled `(own)`. `kinds` are those of the layers that it executes itself, or else the operations that are not
    counted. `output_shape` is that of one sample behind the last layer in it, None if there is none. `copies` says how
    many equal modules were folded into this one.
    """

    name: str
    label: str
    kinds: tuple[str, ...]
    output_shape: tuple[int, ...] | None
    totals: Totals
    parts: tuple[ModuleTotals, ...] = ()
    copies: int = 1

    @property
    def depth(self) -> int:
        """Levels of modules in it."""
        return 1 + max((each.depth for each in self.parts), default=-1)

    def walk(self, depth: int | None = None, level: int = 1) -> Iterator[tuple[int, ModuleTotals]]:
        """The modules in it to a depth, or all, each before its parts, with its level: 1 for its own parts."""
        for each in self.parts:
            yield level, each
            if depth is None or level < depth:
                yield from each.walk(depth, level + 1)


def module_tree(estimate: Estimate) -> ModuleTotals:
    """The modules of an estimate's network, in the order in which their parameters are registered, others behind."""
    network = estimate.network
    places, own = _Places(network), _Shares()
    for parameter in network.parameters:
        elements = parameter.elements
        own.add(places.owner(parameter.name), params=elements, non_zero_params=elements)
    for layer, non_zeros in estimate.plan.non_zeros_by_weight(network):
        path, zeros = places.of_weight(layer), layer.weight_elements - non_zeros
        own.add(path, weights=layer.weight_elements, non_zero_weights=non_zeros)
        if not layer.weight.startswith("("):  # zeros of a computed weight are none of the parameters'
            own.add(path, non_zero_params=-zeros)
    for layer in network.layers:
        own.add(places.of(layer.name), calls=1)
    for each in estimate.layers:
        entering = network.input_elements(each.layer, estimate.batch_size) if each.layer.is_weight_layer else 0.0
        masked = entering * each.sparsity.activation
        own.add(places.of(each.layer.name), input_elements=entering, masked_elements=masked, costs=each.costs)
    for name, costs in estimate.counting.beside_by_parameter(network).items():
        own.add(places.owner(name), costs=costs)
    for name, saved in saved_by_module(network, estimate.plan, estimate.batch_size).items():
        own.add(places.of(name), saved=saved)
    return _Growing(network, own.totals(), places).module("", network.name)


class _Shares:
    """What each module has itself, added up amount by amount."""

    def __init__(self) -> None:
        self._amounts: dict[str, dict[str, Any]] = defaultdict(dict)

    def add(self, path: str, **amounts: Any) -> None:
        mine = self._amounts[path]
        for name, amount in amounts.items():
            mine[name] = mine[name] + amount if name in mine else amount

    def totals(self) -> dict[str, Totals]:
        return {path: Totals(**amounts) for path, amounts in self._amounts.items()}


def weights_elsewhere(network: Network) -> list[tuple[str, str]]:
    """Layers that use a weight of a module outside of the one that executes them, with that weight, each once."""
    places = _Places(network)
    return list(
        dict.fromkeys(
            (layer.name, layer.weight)
            for layer in network.weight_layers
            if not f"{places.of_weight(layer)}.".startswith(f"{places.of(layer.name)}.".lstrip("."))
        )
    )


class _Places:
    """Where in the tree a trace's names belong: paths, "" for the network itself."""

    def __init__(self, network: Network) -> None:
        names = [each.name for each in network.parameters] + [each.name for each in network.buffers]
        owning = {each.partition(".")[0] for each in names if "." in each}
        # What runs outside of all parts bears the name of the network's class. A trace does not say which that is:
        # a module's bears the same name itself, and so do layers with a parameter of the network's own.
        bare = {layer.name for layer in network.layers if any("." not in each for each in layer.parameters)}
        self._roots = {network.name, *bare} - owning

    def of(self, module: str) -> str:
        """The path of a module by its name in layers and saved tensors."""
        parts = module.split(".")
        return _without_parametrizations(parts[1:] if parts[0] in self._roots else parts)

    def owner(self, parameter: str) -> str:
        """The path of the module that a parameter belongs to."""
        return _without_parametrizations(parameter.split(".")[:-1])

    def of_weight(self, layer: Layer) -> str:
        """The path of the module that a layer's weight belongs to: for a computed one, that of the layer itself."""
        computed = layer.weight.startswith("(")
        return self.of(layer.name) if computed else self.owner(parameter_of(layer.weight)[0])


def _without_parametrizations(parts: list[str]) -> str:
    """A path without what torch registers below a module to compute its weight."""
    return ".".join(parts[: parts.index("parametrizations")] if "parametrizations" in parts else parts)


class _Growing:
    """The tree in the making, from what each module has itself by its path."""

    def __init__(self, network: Network, own: dict[str, Totals], places: _Places) -> None:
        self._network = network
        self._own = own
        self._places = places
        self._parts: dict[str, dict[str, None]] = defaultdict(dict)
        for path in own:
            while path:
                parent = path.rpartition(".")[0]
                self._parts[parent].setdefault(path)
                path = parent
        self._layers: dict[str, list[str]] = defaultdict(list)
        self._last: dict[str, int] = {}  # the place of the last layer in each module
        for number, layer in enumerate(network.layers):
            path = places.of(layer.name)
            self._layers[path].append(layer.kind)
            self._last[path] = number
        self._uncounted: dict[str, list[str]] = defaultdict(list)
        for each in network.uncounted:
            for place in each.places:
                self._uncounted[places.of(place)].append(each.operation)

    def module(self, path: str, label: str) -> ModuleTotals:
        return self._grown(path, label)[0]

    def _grown(self, path: str, label: str) -> tuple[ModuleTotals, int]:
        """A module and the place of the last layer in it, −1 without one."""
        own, last = self._own.get(path, Totals()), self._last.get(path, -1)
        kinds = _counted(self._layers[path] or self._uncounted[path])
        alone = ModuleTotals(
            name=path or label, label=label, kinds=kinds, output_shape=self._shape_behind(last), totals=own
        )
        grown = [self._grown(each, each.rpartition(".")[2]) for each in self._parts[path]]
        if not grown:
            return alone, last
        parts = [part for part, _ in grown]
        if own != Totals():
            parts.insert(0, replace(alone, name=f"{path} {OWN}".lstrip(), label=OWN))
        last = max(last, *(place for _, place in grown))
        totals = sum((each.totals for each in parts), Totals())
        return replace(alone, output_shape=self._shape_behind(last), totals=totals, parts=tuple(parts)), last

    def _shape_behind(self, layer: int) -> tuple[int, ...] | None:
        return None if layer < 0 else self._network.sample_shape(self._network.layers[layer].output_shape)


def _counted(kinds: Sequence[str]) -> tuple[str, ...]:
    return tuple(kind if calls == 1 else f"{kind} ×{calls}" for kind, calls in Counter(kinds).items())


def folded(module: ModuleTotals) -> ModuleTotals:
    """The tree with neighbours that are equal in all but their names as one module, whose totals are those of all.

    Equal are layers, shapes, parameters, sparsities and MACs, in every part; what they save may differ.
    """
    parts = [folded(each) for each in module.parts]
    runs = [list(run) for _, run in groupby(parts, key=_structure)]
    return replace(module, parts=tuple(_folded(run) for run in runs))


def _structure(module: ModuleTotals) -> tuple[Any, ...]:
    parts = tuple((each.label, _structure(each)) for each in module.parts)
    return module.kinds, module.output_shape, module.copies, replace(module.totals, saved=Cost()), parts


def _folded(run: Sequence[ModuleTotals]) -> ModuleTotals:
    first, last = run[0], run[-1]
    if len(run) == 1:
        return first
    return replace(
        first,
        name=f"{first.name} … {last.name}",
        label=first.label if first.label == last.label else f"{first.label} … {last.label}",
        totals=sum((each.totals for each in run), Totals()),
        parts=tuple(_folded(each) for each in zip(*(each.parts for each in run), strict=True)),
        copies=first.copies * len(run),
    )
