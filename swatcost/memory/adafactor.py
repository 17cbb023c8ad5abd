"""State and temporaries of torch's Adafactor [bytes]."""

from collections.abc import Iterable, Sequence
from math import prod

from swatcost.memory.trained_parameters import Line, Trained, peak_of, total


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

    def lines() -> Iterable[Line]:
        for each in trained:
            yield Line("norm", 0, each.element_bytes)
            if _is_factored(each):
                yield Line("row means", _rows(each))
                yield Line("column means", _columns(each))
                yield Line("variance", each.bytes)
                yield Line("mean of rows", 0, _matrices(each))
            else:
                yield Line("squares", each.bytes)
                yield Line("variance", each.bytes)
            yield Line("variance", 0)
            yield Line("update", each.bytes)
            yield Line("norm", 0, each.element_bytes)

    return peak_of(lines())


def adafactor_foreach(trained: Sequence[Trained]) -> int:
    """Temporaries of torch's Adafactor [bytes] with foreach=True: matrices together, and vectors.

    Source: `_multi_tensor_adafactor` of torch 2.13. Equal to what torch's memory tracker sees.

    >>> adafactor_foreach([Trained((10, 20), 4), Trained((7,), 4)])  # the matrix's 200 until the vector's 7 are ready
    828
    """

    def lines() -> Iterable[Line]:
        for factored in dict.fromkeys(map(_is_factored, trained)):
            group = [each for each in trained if _is_factored(each) == factored]
            scalar = max(each.element_bytes for each in group)
            yield Line("norm", 0, scalar)
            if factored:
                yield Line("row means", 0, sum(map(_rows, group)))
                yield Line("column means", 0, sum(map(_columns, group)))
                yield Line("variances", total(group))
                yield Line("means of rows", 0, sum(map(_matrices, group)))
            else:
                yield Line("squares", 0, total(group))
                yield Line("variances", total(group))
            yield Line("variances", 0)
            yield Line("updates", total(group))
            yield Line("norm", 0, scalar)

    return peak_of(lines())
