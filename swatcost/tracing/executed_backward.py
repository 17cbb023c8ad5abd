"""What the backward pass executes besides the gradients of recorded operations, such as custom functions' backward.

The gradients of a recorded layer follow from its shapes. A custom autograd function may do anything in its backward
pass; so may a gradient of a gradient. The trace runs the backward pass, and what it multiplies there is counted here.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from swatcost.network.layer import Layer


def backward_of(node: Any) -> str:
    """How a node's work is listed: by the custom function's name, or by that of torch's own node."""
    name = type(node).__name__
    return f"backward of {re.sub(r'Backward[0-9]*$', '', node.name() if name == 'CppFunction' else name)}"


@dataclass
class ExecutedBackward:
    """The products that nodes of unknown work executed, and the nodes whose work could not be read, by their module."""

    products: dict[tuple[str, str, bool], list[Layer]] = field(default_factory=lambda: defaultdict(list))
    unread: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, node: Any, place: str, layers: Iterable[Layer], *, per_step: bool) -> None:
        """Records layers that a node executed, once per step or for every sample."""
        self.products[place, backward_of(node), per_step] += [each for each in layers if not each.is_norm]

    def all_unread(self, functions: Iterable[tuple[str, str]]) -> None:
        """Forgets what was executed, because the backward pass failed: the work of custom functions is unknown."""
        self.products.clear()
        self.unread.clear()
        for name, place in functions:
            self.unread[name].append(place)

    def layers(self) -> Iterable[Layer]:
        """One custom layer per node's module, whose work is in the backward pass."""
        for (place, _, per_step), executed in self.products.items():
            if executed:
                first, macs = executed[0], sum(each.forward_macs for each in executed)
                yield Layer(
                    name=place,
                    kind="custom",
                    input_shape=first.input_shape,
                    output_shape=first.output_shape,
                    weight_shape=(),
                    weight="",
                    element_bytes=first.element_bytes,
                    input_needs_grad=True,
                    weight_trains=False,
                    input_storage=first.input_storage,
                    per_step=per_step,
                    custom_macs=(0, macs),
                )
