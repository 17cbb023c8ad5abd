"""Products with a sparse operand: each of its stored numbers is multiplied, and no other.

A blocked format stores whole blocks. A gradient of the sparse operand is needed at its stored numbers only.
"""

from collections.abc import Iterable

from swatcost.tracing.operands import Call, Operand, Reading
from swatcost.tracing.product_readers import custom
from swatcost.tracing.reader_registry import NotReadError, Reader

SPARSE_READERS: dict[str, Reader] = {}
"""Readers of operations that have a sparse argument, by the operation's name."""


def _multiplied(call: Call) -> Iterable[Reading]:
    left, right = call.args[:2]
    yield _product(left, right, call.result)


def _multiplied_and_added(call: Call) -> Iterable[Reading]:
    left, right = call.args[1:3]
    yield _product(left, right, call.result)


def _product(left: Operand, right: Operand, result: Operand) -> Reading:
    """A sparse matrix by a dense one, or the other way round; two sparse ones meet where it is not known."""
    if left.stored is not None and right.stored is None:
        columns = right.shape[-1] if len(right.shape) > 1 else 1
        return custom(left.stored * columns, (right, left), result.shape)
    if right.stored is not None and left.stored is None:
        rows = left.shape[-2] if len(left.shape) > 1 else 1
        return custom(right.stored * rows, (left, right), result.shape)
    raise NotReadError


def _sampled(call: Call) -> Iterable[Reading]:
    """A product of dense matrices at the stored numbers of a sparse one."""
    pattern, left, right = call.args[:3]
    if pattern.stored is None or left.stored is not None or right.stored is not None:
        raise NotReadError
    yield custom(pattern.stored * left.shape[-1], (left, right), left.shape[:-1] + right.shape[-1:])


SPARSE_READERS |= dict.fromkeys(("mm", "bmm", "mv", "hspmm", "_sparse_mm_reduce_impl"), _multiplied)
SPARSE_READERS |= dict.fromkeys(("addmm", "addmv", "baddbmm", "_sparse_addmm", "sspaddmm"), _multiplied_and_added)
SPARSE_READERS |= {"sparse_sampled_addmm": _sampled}
