"""The layers of a step as the backward pass trains them, once it is over."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from swatcost.network.layer import Layer
from swatcost.tracing.complex_convolutions import ComplexConvolutions


def as_trained(
    layers: Sequence[Layer], recomputed: Iterable[Layer], reached: Collection[int], complex: ComplexConvolutions
) -> Iterator[Layer]:
    """The layers, with only the gradients that the backward pass computes, and with their recomputations.

    `reached` holds the places of the layers that a loss reaches, and `recomputed` what checkpointing ran again.
    """
    times = _recomputations(layers, recomputed)
    for place, layer in enumerate(layers):
        if place not in reached and has_gradients(layer):
            forward, _ = layer.custom_macs
            layer = replace(layer, input_needs_grad=False, weight_trains=False, custom_macs=(forward, 0))
        if place not in complex.dropped:
            again = replace(layer, recomputed=times[place]) if times[place] else layer
            yield complex.counted(place, again)


def has_gradients(layer: Layer) -> bool:
    """Whether a backward pass that reaches the layer does work for it."""
    return layer.input_needs_grad or layer.weight_trains or layer.custom_macs[1] > 0


def _recomputations(layers: Sequence[Layer], recomputed: Iterable[Layer]) -> Counter[int]:
    """How often each layer, by its place, was recomputed; equal work is recomputed in the order in which it ran."""
    places: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for place, layer in enumerate(layers):
        places[_work(layer)].append(place)
    found: Counter[int] = Counter()
    for work, times in Counter(map(_work, recomputed)).items():
        for time in range(times if work in places else 0):
            found[places[work][time % len(places[work])]] += 1
    return found


def _work(layer: Layer) -> tuple[Any, ...]:
    """A key that is equal for two executions of the same work; a computed weight has another storage in each."""
    weight = layer.weight.rpartition(", ")[0] if layer.weight.startswith("(computed in ") else layer.weight
    return (layer.name, layer.kind, weight, layer.input_shape, layer.weight_shape, layer.output_shape)
