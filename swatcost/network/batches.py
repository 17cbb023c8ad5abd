"""Sizes and batches: what a batch is per sample, and which sizes show that a tensor grows with it."""

from collections.abc import Iterable

_LARGEST_PRIME = 1000
_TRACED_SIZES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)


def without_dim(shape: tuple[int, ...], dim: int | None) -> tuple[int, ...]:
    """A shape without one of its dimensions."""
    return shape if dim is None else shape[:dim] + shape[dim + 1 :]


def per_sample(total: float, batch_size: float) -> float:
    """A batch's total per sample: an exact integer where it divides evenly."""
    return total // batch_size if total % batch_size == 0 else total / batch_size


def batch_is_identifiable(batch_size: int, dims: Iterable[int]) -> bool:
    """Whether a tensor's size is a multiple of this batch size if and only if it grows with the batch.

    A prime that divides none of the network's dimensions `dims` has this property.
    """
    if not 1 < batch_size <= _LARGEST_PRIME:
        return False
    prime = all(batch_size % divisor for divisor in range(2, batch_size))
    return prime and all(size % batch_size for size in dims)


def identifiable_sizes(dims: Iterable[int]) -> tuple[int, ...]:
    """The batch sizes to trace a network of these dimensions with, the preferred one first; there may be none."""
    known = tuple(dims)
    return tuple(size for size in _TRACED_SIZES if batch_is_identifiable(size, known))


def identifiable_batch_size(dims: Iterable[int]) -> int:
    """The first of them, which shows which tensors grow with it; 2 if there is none."""
    return next(iter(identifiable_sizes(dims)), 2)
