"""Why printed numbers are what they are, as a table, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

from swatcost.planning.assumptions import MOST, PRICES, SECOND_SWITCH, Assumption, Kind
from swatcost.planning.audit import Audit
from swatcost.planning.readings import Candidate, Coincidence, Stated
from swatcost.report.estimate import title
from swatcost.report.numbers import percent
from swatcost.report.sheet import Caveat, Sheet, Table

_SHOWN = 8
"""Explanations in a table; JSON and CSV have all."""

_MORE_DIGITS = 2
"""Digits of a value before rounding beyond those that are printed."""

_ALMOST = 10.0
"""Last printed digits: what misses by less would fit with one digit less."""

_NO_EVIDENCE, _WEAK = 0.5, 0.05
"""Probabilities from which a coincidence is called so: a coin's toss, and one in twenty, as statistical tests do."""

_ORDER: tuple[Kind, ...] = (
    "convention", "switch", "deviation", "default sparsity", "setting", "quantity", "rounding",
)  # fmt: skip


def sheet(found: Audit, layers: bool = False) -> Sheet:
    return Sheet(
        opening=[title(found.network), *map(_question, found.stated), headline(found)],
        tables=[_table(found), *([_values(found)] if len(found.stated) > 1 else [])],
        notes=notes(found),
    )


def _question(stated: Stated) -> str:
    """A number, and what is stated about it."""
    setting = stated.setting
    more = {name: value for name, value in setting.asked.items() if name not in ("method", "distribution")}
    quantity = [f"{stated.quantity.name}"] if stated.quantity else []
    words = [setting.method.name, setting.distribution.name, *quantity, *(_word(*each) for each in more.items())]
    return f"{stated.printed.text}: {', '.join(words)}"


def _word(name: str, value: Any) -> str:
    shown = " ".join(map(str, value)) if isinstance(value, tuple | list) else getattr(value, "name", value)
    return f"{name.replace('_', ' ')} {shown}"


def headline(found: Audit) -> str:
    """What gives the numbers while assuming least, or that nothing does."""
    printed = _listed([each.printed.text for each in found.stated])
    come, all_of = ("come", "all of ") if len(found.stated) > 1 else ("comes", "")
    if not found.explanations:
        last = found.coincidences[MOST]
        return (
            f"Nothing fits: none of {last.tried:,} candidates gives {all_of}{printed}. {_missing(found)}"
            f"Of {_random(found, last)}, {_share(last)} would have been fitted."
        )
    groups = grouped(found.explanations)
    first = groups[0]
    others = sum(each[0].price == first[0].price for each in groups) - 1
    also = f" {others} other{'s' * (others > 1)} assume{'s' * (others == 1)} no more." if others else ""
    assumed = f"Least to assume: {assumptions_in_words(first)}" if first[0].assumptions else "Nothing has to be assumed"
    return f"{printed} {come} out. {assumed}.{also} {_verdict(found, found.coincidences[first[0].price])}".rstrip()


def _missing(found: Audit) -> str:
    nearest = found.nearest[0]
    plain = [each.printed.text for each in found.stated if each.printed.notation == "factor"]
    read = next((f"{text} was read as a factor, not {text} %. " for text in plain if text[-1:].isdigit()), "")
    return f"{read}The nearest misses by {_missed(found, nearest)}: {assumptions_in_words([nearest]) or 'as stated'}. "


def _missed(found: Audit, candidate: Candidate) -> str:
    """By how much the worst value misses the interval that is rounded to the printed digits."""
    if len({(each.printed.scale, each.printed.notation) for each in found.stated}) > 1:
        return f"{candidate.gap:.1f} units of the last printed digit"
    printed = found.stated[0].printed
    unit = " points" if printed.notation == "percentage" else ""
    size = candidate.gap / 10**printed.decimals
    return f"{size:.{printed.decimals + _MORE_DIGITS}f}{unit}"


def _verdict(found: Audit, of: Coincidence) -> str:
    if len(found.explanations[0].assumptions) == 0:
        return ""
    so = ""
    if of.probability >= _NO_EVIDENCE:
        so = " So this is no evidence for it."
    elif of.probability >= _WEAK:
        so = " So this is weak evidence for it."
    return f"Of {_random(found, of)}, {_share(of)} would have been fitted as well by what assumes no more.{so}"


def _random(found: Audit, of: Coincidence) -> str:
    """Random numbers of the precision and the range in question."""
    if len(found.stated) > 1:
        return f"random tables of {len(found.stated)} such numbers"
    printed = found.stated[0].printed
    low, high = (printed.shown(end / printed.scale) for end in (of.lowest[0], of.highest[0]))
    return f"random numbers from {low} to {high}"


def _share(of: Coincidence) -> str:
    at_most = "at most " if of.at_most else ""
    return f"{at_most}{chance(of)}"


def chance(of: Coincidence) -> str:
    """How often a random number is fitted: in per cent, or one in so many."""
    if of.probability >= 1:
        return "all"
    return percent(of.probability) if of.probability >= 0.001 else f"1 in {float(f'{1 / of.probability:.2g}'):,.0f}"


def grouped(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """Candidates that differ in the convention's name alone, and give the same, together."""
    groups: dict[Any, list[Candidate]] = {}
    for each in candidates:
        rest = frozenset(one for one in each.assumptions if one.kind != "convention")
        values = tuple(round(value, 12) for value in (*each.values, *(each.default_act_sparsity or ())))
        groups.setdefault((rest, values, each.quantities), []).append(each)
    return list(groups.values())


def assumptions_in_words(group: Sequence[Candidate]) -> str:
    """What a candidate assumes; of several that differ in the convention's name, all names."""
    first = group[0]
    conventions = [one.value for each in group for one in each.assumptions if one.kind == "convention"]
    words = [f"convention {_listed(conventions, 'or')}"] if conventions else []
    words += [_in_words(each, first) for each in ordered(first) if each.kind != "convention"]
    return "; ".join(words)


def ordered(candidate: Candidate) -> list[Assumption]:
    """The assumptions of a candidate in the order in which they are read."""
    return sorted(candidate.assumptions, key=lambda each: (_ORDER.index(each.kind), each.name))


def _in_words(assumption: Assumption, candidate: Candidate) -> str:
    if assumption.kind != "default sparsity" or candidate.default_act_sparsity is None:
        return assumption.words
    low, high = candidate.default_act_sparsity
    return f"{assumption.words} {shortest(low, high)}"


def shortest(low: float, high: float) -> str:
    """The shortest decimal in an interval; the middle of one that is empty.

    >>> shortest(0.45706, 0.45767), shortest(0.4, 0.6)
    ('0.4574', '0.5')
    """
    middle = (low + high) / 2
    for decimals in range(1, 9):
        if low <= round(middle, decimals) <= high:
            return f"{middle:.{decimals}f}"
    return f"{middle:.4f}"


def _listed(words: Sequence[str], conjunction: str = "and") -> str:
    return f" {conjunction} ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def shown_nearest(found: Audit) -> list[Candidate]:
    """The nearest candidates, where nothing fits, or one that assumes less would with one digit less."""
    if not found.explanations:
        return list(found.nearest)
    return [each for each in found.nearest[:1] if each.gap < _ALMOST]


def _table(found: Audit) -> Table:
    rows = [_row(found, number, group) for number, group in enumerate(_shown(found), 1)]
    value = ["unrounded"] if len(found.stated) == 1 else []
    last = "random numbers\nfitted too" if found.explanations else "misses by"
    return Table(["", "assumed beyond what is stated", "price", *value, last], rows, text_columns=2)


def _shown(found: Audit) -> list[list[Candidate]]:
    """What the tables show: explanations, and the nearest."""
    return [*grouped(found.explanations)[:_SHOWN], *([each] for each in shown_nearest(found))]


def _row(found: Audit, number: int, group: Sequence[Candidate]) -> list[str]:
    first = group[0]
    last = chance(found.coincidences[first.price]) if not first.gap else _missed(found, first)
    if first.gap and found.explanations:
        last = f"misses by {last}"
    value = [_value(found.stated[0], first.values[0])] if len(found.stated) == 1 else []
    return [str(number), assumptions_in_words(group) or "nothing", str(first.price), *value, last]


def _values(found: Audit) -> Table:
    """What each of several numbers would be before rounding."""
    shown = _shown(found)
    rows = [
        [_question(stated), *(_value(stated, group[0].values[place]) for group in shown)]
        for place, stated in enumerate(found.stated)
    ]
    return Table(["unrounded", *(str(number) for number in range(1, len(shown) + 1))], rows, divisible=True)


def _value(stated: Stated, value: float) -> str:
    return stated.printed.shown(value, _MORE_DIGITS)


def notes(found: Audit) -> list[str]:
    """What was tried, how it is priced and ranked, and where what was found comes from."""
    last = found.coincidences[MOST]
    results = f"{'at most ' if last.at_most else ''}{last.distinct:,} different printed results"
    sentences: list[str] = [
        f"Tried: {last.tried:,} candidates, which give {results}: every convention"
        f"{'' if found.convention is None else f' (stated: {found.convention.name})'} with up to two switches turned, "
        "known slips, batch normalisation, unstated choices of dense layers and activation targets, quantities and "
        "rounding.",
        f"Price: {PRICES['convention']} for a convention's name, an unstated choice or another quantity; "
        f"{PRICES['switch']} for a switch, a deviation or digits cut off, and {SECOND_SWITCH} more for two switches; "
        f"{PRICES['default sparsity']} for a default activation sparsity that is solved for. At most {MOST} together.",
        "An explanation that assumes all that another one does and more is left out.",
        "Random numbers: uniform over the printed results between the least and the largest that candidates of that "
        "price and cheaper ones give.",
    ]
    if len(found.stated) == 1 and found.explanations:
        sentences.insert(0, Caveat("One number is weak evidence: add others of its table with --and."))
    by_default = {
        each.setting.method.name: each.setting.method for each in found.stated if each.setting.keep_dense is None
    }
    for method in by_default.values():
        if method.keeps_dense:
            layers, who = " and ".join(method.keeps_dense), method.kept_by or "SWAT"
            sentences.append(Caveat(f"{method.name} keeps {layers} dense, as {who} ran it: --keep-dense changes that."))
    groups = grouped(found.explanations)
    if len(groups) > _SHOWN:
        sentences.insert(0, Caveat(f"{len(groups) - _SHOWN} more explanations are in JSON and CSV."))
    for each in found.explanations[:1]:
        if each.default_act_sparsity is not None:
            low, high = each.default_act_sparsity
            sentences.append(f"Default activation sparsity from {low:.4f} to {high:.4f} gives the printed digits.")
    deviations = {
        one.name: one.words for each in (*found.explanations, *found.nearest) for one in each.assumptions
        if one.kind == "deviation"
    }  # fmt: skip
    return sentences + [f"Where {words}: {_source(name)}." for name, words in deviations.items()]


def _source(deviation: str) -> str:
    from swatcost.counting.deviations import DEVIATIONS

    return DEVIATIONS[deviation].source


def to_dict(found: Audit) -> dict[str, Any]:
    """Plain data: what is stated, every explanation, what was tried, and the nearest."""
    return {
        "schema": "swatcost.audit/1",
        "model": found.network.name,
        "convention": None if found.convention is None else found.convention.name,
        "stated": [
            {
                "printed": each.printed.text,
                "quantity": each.quantity.name if each.quantity else None,
                "setting": {name: each.setting.record()[name] for name in each.setting.asked},
            }
            for each in found.stated
        ],
        "explanations": [_candidate(found, each) for each in found.explanations],
        "nearest": [_candidate(found, each) for each in found.nearest],
        "coincidences": [vars(each) for each in found.coincidences.values()],
        "notes": [*map(str, notes(found))],
    }


def _candidate(found: Audit, candidate: Candidate) -> dict[str, Any]:
    return {
        "price": candidate.price,
        "assumptions": [
            {"kind": one.kind, "name": one.name, "value": one.value, "words": one.words, "price": one.price}
            for one in ordered(candidate)
        ],
        "default_act_sparsity": candidate.default_act_sparsity,
        "gap_in_last_digits": candidate.gap,
        "numbers": [
            {"printed": each.printed.text, "quantity": quantity.name, "value": value}
            for each, quantity, value in zip(found.stated, candidate.quantities, candidate.values, strict=True)
        ],
    }


def rows(found: Audit) -> list[dict[str, Any]]:
    """One row per explanation and printed number; where nothing fits, of the nearest."""
    return [
        {
            "rank": rank,
            "price": candidate.price,
            "assumptions": assumptions_in_words([candidate]),
            "printed": number["printed"],
            "quantity": number["quantity"],
            "value": number["value"],
            "fits": candidate.gap == 0,
            "gap_in_last_digits": candidate.gap,
            "probability_of_coincidence": getattr(found.coincidences.get(candidate.price), "probability", None),
        }
        for rank, candidate in enumerate(found.explanations or found.nearest, 1)
        for number in _candidate(found, candidate)["numbers"]
    ]
