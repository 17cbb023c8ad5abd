"""What an estimate predicts of executed steps: as a whole, and for each part that is measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from swatcost.estimate import Estimate
from swatcost.methods import LayerSparsity
from swatcost.network import Layer
from swatcost.reference.chosen_kernels import OWN_KERNELS, step_on_own_kernels
from swatcost.reference.step_observer import MASKING, InPass, PartKey
from swatcost.timing.attainable import AttainableStep, masking_seconds
from swatcost.timing.shapes import shape_of


@dataclass(frozen=True)
class Predictions:
    """The predictions of an estimate, in seconds; None for what the device's profile does not give."""

    estimate: Estimate

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kind of product of each counted layer."""
        network, batch_size = self.estimate.network, self.estimate.batch_size
        shapes = [shape_of(layer, network, batch_size) for layer in network.counted_layers]
        return tuple(shape.kind if shape else "custom" for shape in shapes)

    @property
    def has_update(self) -> bool:
        """Whether a predicted step includes the optimizer's update."""
        return any(each.in_pass == "update" for each in self.estimate.dense_step.parts)

    @property
    def update(self) -> float | None:
        """The optimizer's update."""
        updates = [each.seconds for each in self.estimate.dense_step.parts if each.in_pass == "update"]
        return sum(updates) if self.has_update else None

    @property
    def dense(self) -> float:
        """A dense step."""
        return self.estimate.dense_step.seconds

    @cached_property
    def masked(self) -> float | None:
        """A step on masked dense tensors that reuses thresholds: the attainable one without sparse kernels."""
        step = self.estimate.masked_step
        return float(step.seconds) if step.masking_known else None

    def refreshing(self, step: float | None) -> float | None:
        """Such a step in which thresholds are found."""
        return None if step is None else step + self.estimate.topk_seconds

    @cached_property
    def sparse_step(self) -> AttainableStep:
        """A step on the program's own sparse kernels where they are faster, that reuses thresholds."""
        return step_on_own_kernels(self.estimate)

    @property
    def has_sparse(self) -> bool:
        """Whether any pass is to run on the program's own kernels."""
        return any(each.kernel in OWN_KERNELS for each in self.sparse_step.choices)

    @cached_property
    def sparse_parts(self) -> Mapping[PartKey, float]:
        """The parts of such a step but for the update; masking is part of the passes that read what is masked."""
        chosen = self.sparse_step.choices
        layers = {each.layer for each in chosen}
        found = {key: seconds for key, seconds in self.dense_parts.items() if key.layer not in layers}
        for each in chosen:
            in_pass: InPass = "forward" if each.passes == ("forward",) else "backward"
            key = PartKey(each.layer, self.kinds[each.layer], in_pass)
            found[key] = found.get(key, 0.0) + float(each.seconds)
        return found

    @cached_property
    def dense_parts(self) -> Mapping[PartKey, float]:
        """The parts of a dense step but for the update; none if the profile does not give them."""
        found: dict[PartKey, float] = defaultdict(float)
        for each in self.estimate.dense_step.parts:
            if each.in_pass != "update":
                kind = each.kind if each.layer is None else self.kinds[each.layer]
                found[PartKey(each.layer, kind, "forward" if each.in_pass == "forward" else "backward")] += each.seconds
        return dict(found)

    @cached_property
    def masking(self) -> Mapping[PartKey, float]:
        """The masking of each layer's operands; none if the profile does not give it."""
        found = self.estimate
        if self.masked is None:
            return {}
        seen: set[str] = set()
        seconds: dict[PartKey, float] = {}
        for place, (layer, sparsity) in enumerate(found.plan.by_layer(found.network)):
            sizes = self._masked_sizes(layer, sparsity, first=layer.weight not in seen)
            seen.add(layer.weight)
            if sizes:
                each_bytes = found.dense_step.numbers.product_bytes
                taken = sum(masking_seconds(found.device, each, each_bytes) for each in sizes)
                seconds[PartKey(place, MASKING, "forward")] = taken
        return seconds

    def _masked_sizes(self, layer: Layer, sparsity: LayerSparsity, *, first: bool) -> list[float]:
        """The sizes [elements] of the arrays that are masked for a layer, as `timing.selection.selected` has them."""
        found, selects = self.estimate, self.estimate.plan.method.selects
        sizes: list[float] = []
        if not layer.is_weight_layer:
            return sizes
        if "weight" in selects and sparsity.weight > 0 and first:
            sizes.append(layer.weight_elements)
        if "activation" in selects and sparsity.activation > 0 and layer.weight_trains:
            sizes.append(found.batch_size * found.network.input_elements(layer, found.batch_size))
        return sizes
