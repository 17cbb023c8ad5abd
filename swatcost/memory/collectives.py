"""What collective operations send, and how what GPUs share is divided."""

from collections.abc import Mapping
from fractions import Fraction

_SENT = {"all-reduce": 2, "reduce-scatter": 1, "all-gather": 1}


def sent_share(collective: str, gpus: int) -> Fraction:
    """What each GPU sends in a ring, as a share of the bytes of the whole tensor.

    (G − 1) / G for a reduce-scatter and an all-gather, and both of them for an all-reduce (Patarasuk and Yuan, 2009).

    >>> sent_share("all-reduce", 8), sent_share("all-gather", 4)
    (Fraction(7, 4), Fraction(3, 4))
    """
    return Fraction(_SENT[collective] * (gpus - 1), gpus)


def sent_by(gpus: int, wholes: Mapping[str, int]) -> dict[str, int]:
    """The bytes that each GPU sends, rounded up, from the bytes of the whole tensors of each collective."""
    return {name: ceil(sent_share(name, gpus) * size) for name, size in wholes.items() if size}


def ceil(number: Fraction) -> int:
    """The number rounded up."""
    return -(-number.numerator // number.denominator)


def shard(whole: int, gpus: int) -> int:
    """The part of `whole` that each GPU holds, rounded up.

    >>> shard(10, 4)
    3
    """
    return -(-whole // gpus)
