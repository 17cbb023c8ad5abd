"""What is stated about printed numbers, how they may be read, and what an audit says of each reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swatcost.planning.assumptions import Assumptions, price_of, taken_for
from swatcost.planning.printed_number import QUANTITIES, USUAL, PrintedNumber, Quantity
from swatcost.setting import Setting


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A printed number and what is stated about it; `quantity` is None if that does not say what it is a number of."""

    printed: PrintedNumber
    quantity: Quantity | None
    setting: Setting


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Assumptions and what they give for each number, before rounding [-].

    `quantities` are what the numbers are taken for. `default_act_sparsity` is the interval of it that gives the printed
    digits [-], where it was solved for; the values are then those at its middle. `gap` is by how many of its last
    printed digits the worst of the values misses; 0 if none does.
    """

    assumptions: Assumptions
    quantities: tuple[Quantity, ...]
    values: tuple[float, ...]
    default_act_sparsity: tuple[float, float] | None = None
    gap: float = 0.0

    @property
    def price(self) -> int:
        """What the assumptions cost together."""
        return price_of(self.assumptions)


def quantities_to_try(stated: Sequence[Stated]) -> list[tuple[Assumptions, tuple[Quantity, ...]]]:
    """What the numbers may be, and what that assumes: the usual for each, then every other one for all.

    A stated quantity stays.
    """
    unstated = [each.printed.notation for each in stated if each.quantity is None]
    found: list[tuple[Assumptions, tuple[Quantity, ...]]] = [
        (frozenset(), tuple(each.quantity or QUANTITIES[USUAL[each.printed.notation]] for each in stated))
    ]
    for other in QUANTITIES:
        if unstated and all(notation in other.notations for notation in unstated):
            taken = tuple(each.quantity or other for each in stated)
            if taken != found[0][1]:
                found.append((frozenset({taken_for(other.name, other.title)}), taken))
    return found


@dataclass(frozen=True, kw_only=True)
class Coincidence:
    """What candidates up to a price give: `tried` of them, `distinct` printed results, each all numbers together.

    `lowest` and `highest` are the least and the largest digits for each number. `probability` is the share of the
    results in that range that are given by some candidate: how often random digits, uniform in the range, are fitted.
    For several numbers and candidates with a free parameter `distinct` and `probability` are upper bounds
    (`at_most`), since results that two such candidates share count twice.
    """

    price: int
    tried: int
    distinct: int
    lowest: tuple[int, ...]
    highest: tuple[int, ...]
    probability: float
    at_most: bool
