"""Formulas from outside, for operations that swatcost does not know."""

from collections.abc import Callable, Sequence
from typing import Any

from swatcost.common.errors import SwatcostError, first_line

Macs = int | Sequence[int]
Formula = Callable[..., Macs]

ENTRY_POINTS = "swatcost.formulas"
_FORMULAS: dict[str, Formula] = {}
_HERE: set[str] = set()
_admitted = False


def formula(operation: str) -> Callable[[Formula], Formula]:
    """Registers a formula for an operation, by the name under which traces list it as uncounted.

    That name is `library.operation` for a torch.library of one's own, and the bare name for torch's operations.
    The formula is called as the operation was, with the shape (a tuple of ints) in place of each tensor, and with
    out_shape, the result's shape or shapes. It returns the MACs of the forward pass over the whole batch, if the
    operation multiplies its first two tensors: each one's gradient then costs as much again. Otherwise it returns
    them in a sequence: forward, and the gradient of each tensor argument in order.

    Other packages offer theirs through the entry point group `swatcost.formulas`, named by the operation.

    Raises ValueError when the operation has a formula already.

    >>> @formula("mylib.scaled_mm")
    ... def scaled_mm(a, b, scale, *, out_shape):
    ...     return a[0] * a[1] * b[1]
    """

    def register(function: Formula) -> Formula:
        _add(operation, function)
        _HERE.add(_listed(operation))
        return function

    return register


def registered_here() -> bool:
    """Whether this process registered a formula itself, rather than found one through an entry point."""
    return bool(_HERE)


def forget(operation: str) -> None:
    """Takes a formula back."""
    _FORMULAS.pop(operation, None)
    _HERE.discard(operation)


def formula_of(operation: str) -> Formula | None:
    """The formula registered for the operation, by whoever.

    Raises SwatcostError when one that another package offers cannot be used.
    """
    global _admitted
    if not _admitted:
        from importlib.metadata import entry_points

        for entry in entry_points(group=ENTRY_POINTS):
            if entry.name not in _FORMULAS:
                try:
                    _add(entry.name, entry.load())
                except Exception as error:
                    message = f"the formula {entry.name!r} ({entry.value}) cannot be used: {first_line(error)}"
                    raise SwatcostError(message) from error
        _admitted = True
    return _FORMULAS.get(operation)


def _listed(operation: str) -> str:
    """An operation's name as traces list it, if it was given as torch writes it: library::operation."""
    return operation.replace("::", ".").removeprefix("aten.")


def _add(operation: str, function: Formula) -> None:
    operation = _listed(operation)
    if operation in _FORMULAS:
        raise ValueError(f"{operation} has a formula already")
    if not callable(function):
        raise ValueError("it is no function")
    _FORMULAS[operation] = function


def counted(
    operation: str, function: Formula, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: int
) -> list[int]:
    """What a formula gives for a call with so many tensors, as forward MACs and those of each tensor's gradient.

    Raises SwatcostError when it fails or gives something else.
    """
    try:
        given = function(*args, **kwargs)
        macs = [given] * min(3, 1 + tensors) if isinstance(given, int) else list(given)
        if not all(isinstance(each, int) and each >= 0 for each in macs) or not 1 <= len(macs) <= 1 + tensors:
            raise ValueError(f"it gave {given!r:.60}, not whole numbers of MACs")
    except Exception as error:
        raise SwatcostError(
            f"the formula of {operation} failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    return macs + [0] * (1 + tensors - len(macs))
