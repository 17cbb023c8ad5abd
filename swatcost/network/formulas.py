"""User-supplied formulas for operations that swatcost does not know."""

from collections.abc import Callable, Sequence
from typing import Any

from swatcost.common.errors import SwatcostError, first_line

Macs = int | Sequence[int]
Formula = Callable[..., Macs]

ENTRY_POINTS = "swatcost.formulas"
_FORMULAS: dict[str, Formula] = {}
_REGISTERED_HERE: set[str] = set()
_entry_points_loaded = False


def formula(operation: str) -> Callable[[Formula], Formula]:
    """Registers a formula for an operation, under the name by which traces list it as uncounted.

    That name is `library.operation` for a custom torch.library, and the bare name for torch's own operations.
    The formula is called with the operation's arguments, each tensor replaced by its shape (a tuple of ints), and with
    out_shape, the shape or shapes of the result. If the operation multiplies its first two tensors, it returns the
    MACs of the forward pass over the whole batch; the gradient of each of the two then costs the same again. Otherwise
    it returns a sequence: the forward MACs, then those of the gradient of each tensor argument, in order.

    Other packages register formulas through the entry point group `swatcost.formulas`, one entry per operation.

    Raises ValueError if the operation already has a formula.

    >>> @formula("mylib.scaled_mm")
    ... def scaled_mm(a, b, scale, *, out_shape):
    ...     return a[0] * a[1] * b[1]
    """

    def register(function: Formula) -> Formula:
        _add(operation, function)
        _REGISTERED_HERE.add(_listed(operation))
        return function

    return register


def registered_here() -> bool:
    """Whether this process registered a formula itself, rather than through an entry point."""
    return bool(_REGISTERED_HERE)


def forget(operation: str) -> None:
    """Unregisters a formula."""
    _FORMULAS.pop(operation, None)
    _REGISTERED_HERE.discard(operation)


def formula_of(operation: str) -> Formula | None:
    """The formula registered for the operation, in this process or through an entry point; None if there is none.

    Raises SwatcostError if an entry point of another package cannot be loaded.
    """
    global _entry_points_loaded
    if not _entry_points_loaded:
        from importlib.metadata import entry_points

        for entry in entry_points(group=ENTRY_POINTS):
            if entry.name not in _FORMULAS:
                try:
                    _add(entry.name, entry.load())
                except Exception as error:
                    message = f"the formula {entry.name!r} ({entry.value}) cannot be used: {first_line(error)}"
                    raise SwatcostError(message) from error
        _entry_points_loaded = True
    return _FORMULAS.get(operation)


def _listed(operation: str) -> str:
    """An operation's name as traces list it, also when given in torch's form, library::operation."""
    return operation.replace("::", ".").removeprefix("aten.")


def _add(operation: str, function: Formula) -> None:
    operation = _listed(operation)
    if operation in _FORMULAS:
        raise ValueError(f"{operation} already has a formula")
    if not callable(function):
        raise ValueError("it is not a function")
    _FORMULAS[operation] = function


def counted(
    operation: str, function: Formula, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: int
) -> list[int]:
    """A formula's result for a call with `tensors` tensors: the forward MACs and those of each tensor's gradient.

    Raises SwatcostError if the formula fails or returns anything else.
    """
    try:
        given = function(*args, **kwargs)
        macs = [given] * min(3, 1 + tensors) if isinstance(given, int) else list(given)
        if not all(isinstance(each, int) and each >= 0 for each in macs) or not 1 <= len(macs) <= 1 + tensors:
            raise ValueError(f"it returned {given!r:.60}, not whole numbers of MACs")
    except Exception as error:
        raise SwatcostError(
            f"the formula for {operation} failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    return macs + [0] * (1 + tensors - len(macs))
