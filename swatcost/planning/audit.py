"""Why a printed number is what it is: the conventions, switches, slips and unstated choices that give its digits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.counting import Convention
from swatcost.estimate import plan_of
from swatcost.loading import counted_network
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.planning.assumptions import MOST
from swatcost.planning.printed_number import QUANTITIES, printed_number
from swatcost.planning.printed_table import read_printed
from swatcost.planning.readings import Candidate, Coincidence, Stated, quantities_to_try
from swatcost.setting import NOT_TIMED, Scope, Settings


@dataclass(frozen=True, kw_only=True, repr=False)
class Audit(Result):
    """The explanations of one or several printed numbers. Its repr is the report.

    `explanations` give every number to its printed digits, those that assume least first; none assumes all that another
    one does and more. `coincidences` say, by price, how often random numbers would be fitted by what was tried up to
    there; the last is of everything that was tried. `nearest` are the candidates that cost less than any explanation
    and come nearest, each nearer than all cheaper ones.
    """

    report = "audit"

    network: Network
    stated: tuple[Stated, ...]
    convention: Convention | None
    explanations: tuple[Candidate, ...]
    coincidences: Mapping[int, Coincidence]
    nearest: tuple[Candidate, ...]


SHARED = ("convention", "default_act_sparsity", "steps")
"""Settings that the numbers of one table share."""

AUDITING = Scope(
    without={
        **dict.fromkeys(
            ("period", "device", "batch_size", "selection", "one_sample", "hidden"),
            "FLOPs per sample do not depend on it, leave it out",
        ),
        **NOT_TIMED,
    },
    default_is={"convention": "each is tried", "default_act_sparsity": "0.5, or solved for"},
)
"""Settings as an audit takes them: what is given is stated, everything else may be assumed."""

Printed = str | Mapping[str, Mapping[str, Any]] | Sequence[tuple[str, Mapping[str, Any]]]


def audit(
    network: Network | str | Path,
    printed: Printed | Path,
    *,
    quantity: str | None = None,
    **settings: Unpack[Settings],
) -> Audit:
    """Finds the assumptions under which printed numbers come out to their printed digits. Its repr is the report.

    printed is a number as it is printed, in quotes, "76.1%"; or, for several of one table, a mapping of each to its own
    settings, or pairs of the two; or a CSV file (`read_printed`). A number's settings may hold a quantity beside those
    of `estimate`. quantity (training-reduction, inference-ratio, … as in `QUANTITIES`) and settings are what the
    numbers share. What is given is taken as stated; the convention, its switches, known deviations, layers kept dense,
    activation targets, the default activation sparsity, the quantity and the rounding are tried where it is not.

    Raises SwatcostError for text that is not a printed number, for a number that is given twice, for a setting that
    `estimate` refuses, and if nothing is sparse.

    >>> import swatcost
    >>> found = swatcost.audit("resnet50", {
    ...     "76.1%": {"weights": 0.8}, "67.2%": {"weights": 0.8, "method": "rigl"},
    ...     "58.1%": {"weights": 0.8, "method": "set"},
    ... })
    >>> sorted(each.words for each in found.explanations[0].assumptions)
    ['activations as sparse as weights', 'convention swat', 'default activation sparsity']
    >>> [round(end, 3) for end in found.explanations[0].default_act_sparsity]
    [0.457, 0.458]
    """
    network = counted_network(network)
    given = AUDITING.given(settings)
    convention = AUDITING.setting(given).convention if "convention" in given else None
    stated = tuple(_stated(text, own, quantity, given) for text, own in _pairs(printed))
    if not stated:
        raise SwatcostError("no printed number: give one such as 76.1%")
    for place, each in enumerate(stated):
        if each in stated[:place]:
            raise SwatcostError(f"{each.printed.text} is given twice with the same settings: give it once")
        if not plan_of(network, each.setting).asks_for_sparsity:
            raise SwatcostError(f"{each.printed.text}: nothing is sparse, state how sparse it was: give weights")
    return _audited(network, stated, convention)


def _audited(network: Network, stated: tuple[Stated, ...], convention: Convention | None) -> Audit:
    """Tries everything, and ranks what fits."""
    from swatcost.planning.candidates import Space  # these import numpy
    from swatcost.planning.coincidence import coincidence
    from swatcost.planning.fitting_candidates import blocks, minimal

    space = Space(network=network, settings=[each.setting for each in stated], convention=convention)
    solving = all("default_act_sparsity" not in each.setting.asked for each in stated)
    bases = dict.fromkeys(tuple(each.base for each in quantities) for _, quantities in quantities_to_try(stated))
    tried = [block for each in space.candidates([*bases]) for block in blocks(stated, each, solving)]
    explanations = minimal([each for block in tried for each in block.fitting()])
    least = min((each.price for each in explanations), default=MOST + 1)
    reaches = [block.reach() for block in tried]
    if not any(each.prices.size for each in reaches):
        raise SwatcostError("with these settings training costs as much as dense training under every convention")
    return Audit(
        network=network,
        stated=stated,
        convention=convention,
        explanations=tuple(explanations),
        coincidences={
            price: coincidence(reaches, price) for price in sorted({MOST, *(each.price for each in explanations)})
        },
        nearest=tuple(_nearer(each for block in tried for each in block.nearest() if each.price < least)),
    )


def _nearer(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """The nearest of each price that is nearer than all cheaper ones, the nearest first."""
    best: list[Candidate] = []
    for each in sorted(candidates, key=lambda each: (each.price, each.gap)):
        if not best or each.gap < best[-1].gap:
            best.append(each)
    return reversed(best)


def _pairs(printed: Printed | Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Each printed number with the settings of its own."""
    if isinstance(printed, Path) or (isinstance(printed, str) and printed.endswith(".csv")):
        return read_printed(printed)
    if isinstance(printed, Mapping):
        return [*printed.items()]
    if isinstance(printed, Sequence) and not isinstance(printed, str):
        return [(text, own) for text, own in printed]
    return [(printed, {})]


def _stated(text: str, own: Mapping[str, Any], quantity: str | None, shared: Mapping[str, Any]) -> Stated:
    """A printed number with its own settings and those of the shared ones that its method can use."""
    own = dict(own)
    if mixed := [name for name in SHARED if own.get(name) is not None]:
        raise SwatcostError(f"{text}: the numbers of a table share {mixed[0]}, give it for all of them")
    number = printed_number(text)
    name = own.pop("quantity", None) or quantity
    chosen = None if name is None else QUANTITIES.choose(name)
    if chosen and number.notation not in chosen.notations:
        raise SwatcostError(f"{text}: {chosen.name} is no {number.notation}, give a {' or a '.join(chosen.notations)}")
    own = AUDITING.given(own)
    method = AUDITING.setting({name: each for name, each in {**shared, **own}.items() if name == "method"}).method
    usable = {name: each for name, each in shared.items() if name not in OPERANDS or method.uses(OPERANDS[name])}
    return Stated(printed=number, quantity=chosen, setting=AUDITING.setting({**usable, **own}))
