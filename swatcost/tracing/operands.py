"""A reader's arguments and results: calls, operands and readings, as plain data without tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from typing import Any, Literal, NamedTuple

from swatcost.network.attention import Attention
from swatcost.network.layer import LayerKind
from swatcost.tracing.running_modules import Frame


class Operand(NamedTuple):
    """A tensor that an operation reads or returns.

    `place` is its position among all tensors of the call, arguments first. `is_weight` says that it is a parameter or
    computed from parameters alone; `matrices` is the number of distinct matrices in a batch of matrices. `numbers` says
    what its elements are: "packed" ones hold several numbers each. `stored` is how many numbers a sparse tensor stores,
    `copies` how often the network repeated each number of it, as for query heads that share keys. `chosen_of` is the
    number of a parameter's matrices of which it holds one for each row, 0 for any other tensor.
    """

    place: int
    shape: tuple[int, ...]
    needs_grad: bool = False
    is_weight: bool = False
    matrices: int = 1
    numbers: Literal["real", "complex", "packed"] = "real"
    stored: int | None = None
    copies: int = 1
    chosen_of: int = 0

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def transposed(self) -> Operand:
        """The same matrices, each transposed."""
        *batch, rows, columns = self.shape
        return self.reshaped(*batch, columns, rows)

    def reshaped(self, *shape: int) -> Operand:
        return self._replace(shape=shape)


@dataclass(frozen=True)
class Mask:
    """What an attention mask leaves: a fraction of all pairs of a query and a key.

    `left` and `right` are how far before and behind its own place a query reads, at most, and `causal` says that it
    reads no key behind. `is_band` says that every query reads all keys within that reach, as in a sliding window.
    """

    fraction: Fraction
    left: int
    right: int
    causal: bool
    is_band: bool


@dataclass(frozen=True)
class Call:
    """One call of an operation, with operands in place of tensors; `frame` is the module that was running.

    `values` has the numbers in a list of whole numbers among the operands, and `mask` what an attention mask among them
    leaves; None where they are unknown.
    """

    args: tuple[Any, ...]
    result: Any
    frame: Frame
    kwargs: dict[str, Any] = field(default_factory=dict)
    values: Callable[[Operand], list[int] | None] = lambda operand: None
    mask: Callable[[Operand], Mask | None] = lambda operand: None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One layer, product or normalisation that an operation executed; fields of the same name are as in Layer.

    `weight` is the right operand of a product and the scale of a normalisation. `others` are the remaining parameters.
    The shapes of input and weight are the layer's, which may differ from those of the tensors that hold them.
    """

    kind: LayerKind
    input: Operand
    weight: Operand | None = None
    others: tuple[Operand | None, ...] = ()
    output_shape: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    routed: bool = False
    custom_macs: tuple[int, int] = (0, 0)
    attention: Attention | None = None

    @property
    def real_products(self) -> int:
        """How many real numbers' products make one of this layer's; custom work is given in them."""
        if self.weight is None:
            return 1
        return real_products(self.input, self.weight)

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to compute."""
        return 0 in self.input.shape or 0 in self.output_shape


def real_products(*operands: Operand) -> int:
    """Products of real numbers in a product of one number of each: (a + ib)(c + id) are four, a (c + id) are two."""
    return 1 << sum(each.numbers == "complex" for each in operands)


def operands_of(value: Any) -> Iterator[Operand]:
    """The operands among an operation's arguments or results."""
    if isinstance(value, Operand):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from operands_of(each)
