"""Optimizers: the state that they keep, and the temporaries that they hold while they update.

Both depend on the shapes of the parameters, and are those of the library's own defaults: no weight decay in SGD, say,
which would need one more copy of the parameters. The state is there from the first update on.

An optimizer updates in one of three ways. "loop": one parameter after another. "foreach": each operation runs for all
parameters at once, so that its temporaries are as large as all of them. "fused": in one kernel, without temporaries.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from swatcost.common.errors import SwatcostError
from swatcost.common.frozen_mapping import FrozenMapping
from swatcost.common.registry import Registry
from swatcost.memory.precisions import FULL

UPDATES = {
    "foreach": "each operation for all parameters at once",
    "fused": "one kernel, without temporaries",
    "loop": "one parameter after another",
}
"""The ways to update."""


class Trained(NamedTuple):
    """A parameter as its optimizer sees it: the master copy if there is one."""

    shape: tuple[int, ...]
    element_bytes: int

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.element_bytes


Bytes = Callable[[Sequence[Trained]], int]
"""The bytes of something for these parameters, in the optimizer's order."""


def _none(trained: Sequence[Trained]) -> int:
    return 0


def _total(trained: Iterable[Trained]) -> int:
    return sum(each.bytes for each in trained)


def _two(trained: Sequence[Trained]) -> int:
    return 2 * _total(trained)


def _counters(trained: Sequence[Trained]) -> int:
    return FULL * len(trained)


class Way(NamedTuple):
    """A way to update: the temporaries at their peak, and what step counters take on the GPU."""

    temporaries: Bytes
    counters: Bytes = _none


@dataclass(frozen=True)
class Optimizer:
    """An optimizer: the state that it keeps, and the ways in which it can update.

    The first way is the library's default on a GPU. A step counter for each parameter is on the GPU only where a fused
    update reads it there; elsewhere torch keeps it on the host, and it is not counted.
    """

    name: str
    title: str
    state: Bytes
    updates: Mapping[str, Way]

    def way(self, asked: str | None) -> str:
        """The way to update that was asked for, or the default one. Raises SwatcostError if there is no such way."""
        if asked is None:
            return next(iter(self.updates))
        if not isinstance(asked, str) or asked not in UPDATES:
            raise SwatcostError(f"unknown update {asked!r:.60}: choose from {', '.join(UPDATES)}")
        if asked not in self.updates:
            raise SwatcostError(f"{self.name} has no {asked} update: choose {' or '.join(self.updates)}")
        return asked


class _Line(NamedTuple):
    """A statement that computes `result` bytes for a variable, which frees what that held before.

    While it runs, there are `temporaries` besides.
    """

    variable: str
    result: int
    temporaries: int = 0


def _peak(lines: Iterable[_Line]) -> int:
    """The most bytes that the variables and temporaries of these statements take together."""
    held: dict[str, int] = {}
    most = 0
    for line in lines:
        most = max(most, sum(held.values()) + line.result + line.temporaries)
        held[line.variable] = line.result
    return most


def adam_loop(trained: Sequence[Trained]) -> int:
    """Temporaries of torch's Adam [bytes], one parameter after another: a square root, and its quotient.

    The last parameter's quotient is freed only when the next replaces it.

    Source: `_single_tensor_adam` of torch 2.13. Equal to what torch's memory tracker sees.

    >>> adam_loop([Trained((10,), 4), Trained((3,), 4)])  # while the second is updated: 10 + 3 + 3 numbers, less than
    80
    """
    return _peak(_Line("denominator", each.bytes, each.bytes) for each in trained)


def lion_loop(trained: Sequence[Trained]) -> int:
    """Temporaries of Lion [bytes], one parameter after another: a copy of its momentum, and the update.

    Source: `update_fn` of lion-pytorch 0.2.3. Equal to what torch's memory tracker sees.

    >>> lion_loop([Trained((10,), 4), Trained((3,), 4)])
    80
    """
    return max((2 * each.bytes for each in trained), default=0)


_BLOCK, _LEAST_IN_8_BITS, _MAP = 256, 4096, 256  # elements


def adam8bit_state(trained: Sequence[Trained]) -> int:
    """State of bitsandbytes' block-wise 8-bit Adam [bytes].

    Two moments of one byte, each with a maximum in 32 bits per block of 256 elements; parameters with fewer than 4,096
    elements have two moments in 32 bits, whatever their own precision is. Two maps from bytes to numbers are shared.

    Source: `Optimizer2State.init_state` of bitsandbytes 0.50. Not checked on a GPU.

    >>> adam8bit_state([Trained((4097,), 4), Trained((10,), 2)])  # 2 · (4097 + 17 · 4) + 2 · 256 · 4, and 2 · 10 · 4
    10458
    """
    large = [each.elements for each in trained if each.elements >= _LEAST_IN_8_BITS]
    small = [each.elements for each in trained if each.elements < _LEAST_IN_8_BITS]
    moments = sum(each + FULL * -(-each // _BLOCK) for each in large) + FULL * sum(small)
    return 2 * moments + (2 * FULL * _MAP if large else 0)


def _rows(each: Trained) -> int:
    """Bytes of one number per row of a matrix, or of each matrix of a larger tensor."""
    return prod(each.shape[:-1]) * each.element_bytes


def _columns(each: Trained) -> int:
    return prod(each.shape[:-2]) * each.shape[-1] * each.element_bytes


def _matrices(each: Trained) -> int:
    return prod(each.shape[:-2]) * each.element_bytes


def _is_factored(each: Trained) -> bool:
    return len(each.shape) > 1


def adafactor_state(trained: Sequence[Trained]) -> int:
    """State of torch's Adafactor [bytes]: one number per row and per column, or per element of a vector.

    The last two dimensions are the matrix: a kernel of 3 × 3 has six numbers for nine.

    Source: `Adafactor._init_group` of torch 2.13.

    >>> adafactor_state([Trained((10, 20), 4), Trained((8, 4, 3, 3), 4), Trained((7,), 4)])  # 30, 32 · 6 and 7 numbers
    916
    """
    return sum(_rows(each) + _columns(each) if _is_factored(each) else each.bytes for each in trained)


def adafactor_loop(trained: Sequence[Trained]) -> int:
    """Temporaries of torch's Adafactor [bytes], one parameter after another, which is its default on a GPU, too.

    The variance is estimated in a tensor as large as the parameter. The last parameter's becomes the update and is
    freed when this one's does; the means of rows and columns and a vector's squares live until others replace them.

    Source: `_single_tensor_adafactor` of torch 2.13. Equal to what torch's memory tracker sees.

    >>> adafactor_loop([Trained((10, 20), 4)])  # 10 rows, 20 columns, 200 elements, and a norm
    924
    """

    def lines() -> Iterable[_Line]:
        for each in trained:
            yield _Line("norm", 0, each.element_bytes)
            if _is_factored(each):
                yield _Line("row means", _rows(each))
                yield _Line("column means", _columns(each))
                yield _Line("variance", each.bytes)
                yield _Line("mean of rows", 0, _matrices(each))
            else:
                yield _Line("squares", each.bytes)
                yield _Line("variance", each.bytes)
            yield _Line("variance", 0)
            yield _Line("update", each.bytes)
            yield _Line("norm", 0, each.element_bytes)

    return _peak(lines())


def adafactor_foreach(trained: Sequence[Trained]) -> int:
    """Temporaries of torch's Adafactor [bytes] with foreach=True: matrices together, and vectors.

    Source: `_multi_tensor_adafactor` of torch 2.13. Equal to what torch's memory tracker sees.

    >>> adafactor_foreach([Trained((10, 20), 4), Trained((7,), 4)])  # the matrix's 200 until the vector's 7 are ready
    828
    """

    def lines() -> Iterable[_Line]:
        for factored in dict.fromkeys(map(_is_factored, trained)):
            group = [each for each in trained if _is_factored(each) == factored]
            scalar = max(each.element_bytes for each in group)
            yield _Line("norm", 0, scalar)
            if factored:
                yield _Line("row means", 0, sum(map(_rows, group)))
                yield _Line("column means", 0, sum(map(_columns, group)))
                yield _Line("variances", _total(group))
                yield _Line("means of rows", 0, sum(map(_matrices, group)))
            else:
                yield _Line("squares", 0, _total(group))
                yield _Line("variances", _total(group))
            yield _Line("variances", 0)
            yield _Line("updates", _total(group))
            yield _Line("norm", 0, scalar)

    return _peak(lines())


_BF16 = 2  # bytes
_NEWTON_SCHULZ_STEPS = 5


def _is_matrix(each: Trained) -> bool:
    """Whether Muon updates the parameter: it takes those with two dimensions, embeddings and heads among them."""
    return len(each.shape) == 2


def _matrices_and_others(trained: Sequence[Trained]) -> tuple[list[Trained], list[Trained]]:
    return [each for each in trained if _is_matrix(each)], [each for each in trained if not _is_matrix(each)]


def muon_state(trained: Sequence[Trained]) -> int:
    """State of torch's Muon for all parameters with two dimensions, and of AdamW for the others [bytes].

    So torch's documentation divides them; embeddings and heads, which many leave to AdamW, then have one moment more.
    Kernels of convolutions, which torch's Muon refuses, are AdamW's.

    Source: `Muon._init_group` and the example in its documentation, torch 2.13.

    >>> muon_state([Trained((10, 20), 4), Trained((8, 4, 3, 3), 4), Trained((7,), 4)])  # 200, 2 · 288 and 2 · 7 numbers
    3160
    """
    matrices, others = _matrices_and_others(trained)
    return _total(matrices) + _two(others)


def muon_matrices(trained: Sequence[Trained]) -> int:
    """Temporaries of torch's Muon for matrices [bytes], which it always updates one after another.

    The update in the parameter's precision, then in bfloat16 a copy of it, five times orthogonalised: two products of
    its smaller side squared, and the next copy. The last matrix's update is freed when the next replaces it.

    Source: `_single_tensor_muon` and `_zeropower_via_newtonschulz` of torch 2.13. Equal to what torch's memory tracker
    sees. Parameters of 2 bytes are taken to be in bfloat16, which needs no first copy.

    >>> muon_matrices([Trained((10, 20), 4)])  # 200 · 4, and in 2 bytes twice 200 and twice 10 · 10
    2000
    """

    def lines() -> Iterable[_Line]:
        for each in trained:
            copy, product = each.elements * _BF16, min(each.shape) ** 2 * _BF16
            yield _Line("update", each.bytes)
            yield _Line("copy", 0 if each.element_bytes == _BF16 else copy)
            yield _Line("norm", 0, 2 * _BF16)
            for _ in range(_NEWTON_SCHULZ_STEPS):
                yield _Line("square", product)
                yield _Line("polynomial", product)
                yield _Line("copy", copy)
            yield _Line("square", 0)
            yield _Line("polynomial", 0)
            yield _Line("copy", 0)
            yield _Line("update", copy)

    return _peak(lines())


def muon_foreach(trained: Sequence[Trained]) -> int:
    """Temporaries of Muon for matrices, and then of AdamW for the others with foreach=True [bytes]."""
    matrices, others = _matrices_and_others(trained)
    return max(muon_matrices(matrices), _total(others))


def muon_fused(trained: Sequence[Trained]) -> int:
    """The same with a fused AdamW."""
    return muon_matrices(_matrices_and_others(trained)[0])


def muon_loop(trained: Sequence[Trained]) -> int:
    """The same with AdamW for one parameter after another."""
    matrices, others = _matrices_and_others(trained)
    return max(muon_matrices(matrices), adam_loop(others))


def _muon_counters(trained: Sequence[Trained]) -> int:
    return _counters(_matrices_and_others(trained)[1])


_IN_PLACE = FrozenMapping({"foreach": Way(_none), "fused": Way(_none), "loop": Way(_none)})
_ADAM = FrozenMapping({"foreach": Way(_total), "fused": Way(_none, _counters), "loop": Way(adam_loop)})

OPTIMIZERS = Registry[Optimizer](
    "optimizer",
    Optimizer,
    Optimizer("sgd", "stochastic gradient descent", _none, _IN_PLACE),
    Optimizer("momentum", "SGD with momentum", _total, _IN_PLACE),
    Optimizer("adam", "Adam: two moments", _two, _ADAM),
    Optimizer("adamw", "AdamW, same memory as Adam", _two, _ADAM),
    Optimizer(
        "adafactor",
        "torch's Adafactor: one number per row and column of a matrix",
        adafactor_state,
        FrozenMapping({"loop": Way(adafactor_loop), "foreach": Way(adafactor_foreach)}),
    ),
    Optimizer("adam8bit", "bitsandbytes' block-wise 8-bit Adam", adam8bit_state, FrozenMapping({"fused": Way(_none)})),
    Optimizer("lion", "Lion: one moment", _total, FrozenMapping({"loop": Way(lion_loop), "foreach": Way(_total)})),
    Optimizer(
        "muon",
        "Muon for parameters with two dimensions, AdamW for the others",
        muon_state,
        FrozenMapping({"foreach": Way(muon_foreach), "fused": Way(muon_fused, _muon_counters), "loop": Way(muon_loop)}),
    ),
)
