"""One network and method under every convention: as tables, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Iterator
from typing import Any

from swatcost.counting.convention import Convention
from swatcost.counting.costs import Cost
from swatcost.counting.switches import SWITCHES
from swatcost.planning.conventions import Conventions, Turn
from swatcost.report.assumptions import not_told
from swatcost.report.estimate import asked, title
from swatcost.report.numbers import column_unit, percent, scaled, signed, times
from swatcost.report.sheet import Sheet, Table

SCHEMA = "swatcost.conventions/1"


def sheet(found: Conventions, layers: bool = False) -> Sheet:
    return Sheet(
        opening=[title(found.base.network), asked(found.base), headline(found)],
        tables=[_counts(found), *_included(found), *_worth(found)],
        notes=notes(found),
    )


def headline(found: Conventions) -> str:
    """The least and the most that any convention counts, in one sentence."""
    least, *_, most = sorted(found.counts, key=lambda each: each.flops.dense)
    return (
        f"{'Dense training' if _is_sparse(found) else 'Training'} takes {scaled(least.flops.dense, 'FLOP')} per "
        f"{found.unit} under {least.convention.name} and {scaled(most.flops.dense, 'FLOP')} under "
        f"{most.convention.name}, {times(most.flops.dense / least.flops.dense)} as many."
    )


def _is_sparse(found: Conventions) -> bool:
    return found.base.plan.asks_for_sparsity


def _unit(found: Conventions) -> tuple[str, float]:
    return column_unit(max(each.flops.dense for each in found.counts))


def _cells(found: Conventions, flops: Cost) -> list[str]:
    _, unit = _unit(found)
    dense = f"{flops.dense / unit:,.3f}"
    if not _is_sparse(found):
        return [dense]
    return [dense, f"{flops.sparse / unit:,.3f}", percent(flops.reduction)]


def _header(found: Conventions, first: str) -> list[str]:
    prefix, _ = _unit(found)
    sparse = [f"sparse\n[{prefix}FLOP]", "reduction"] if _is_sparse(found) else []
    return [first, f"dense\n[{prefix}FLOP]", *sparse]


def _counts(found: Conventions) -> Table:
    base = found.base.convention.name
    rows = [
        [each.convention.name, *_cells(found, each.flops), times(each.flops.dense / found.flops.dense)]
        for each in found.counts
    ]
    return Table([*_header(found, f"training, per {found.unit}"), f"dense, of\n{base}"], rows)


def _included(found: Conventions) -> Iterator[Table]:
    """What each convention includes: a column for each switch in which they differ and that changes a count here."""
    names = found.shown_switches
    if names:
        rows = [[each.convention.name, *_shorts(each.convention, names)] for each in found.counts]
        yield Table(["what it counts", *(SWITCHES[name].column for name in names)], rows, divisible=True)


def _shorts(convention: Convention, names: list[str]) -> list[str]:
    return [SWITCHES[name].short(getattr(convention, name)) for name in names]


def _worth(found: Conventions) -> Iterator[Table]:
    """What each switch is worth: the count when it alone is turned."""
    rows = [
        [
            f"{SWITCHES[each.switch].title}: {each.before} → {each.after}", *_cells(found, each.flops),
            f"{signed(100 * change(found, each))} %",
        ]
        for each in found.changing
    ]  # fmt: skip
    if rows:
        base = found.base.convention.name
        header = [*_header(found, f"one switch of {base} turned"), "change"]
        yield Table(header, [[base, *_cells(found, found.flops), ""], *rows])


def change(found: Conventions, turn: Turn) -> float:
    """What a turn adds to the dense count, as a share of it [-]."""
    return turn.flops.dense / found.flops.dense - 1


def notes(found: Conventions) -> list[str]:
    """How to read the tables, what makes no difference, and which conventions cannot count the network."""
    tokens = found.base.tokens_per_sample
    sample = "one sample" if tokens is None else f"a sample of {tokens:,.6g} tokens"
    sentences = [
        f"1 MAC = 2 FLOPs, of a training step on {sample}, on average over the run.",
        "Sparsity acts on products of weights; products of two activations, embeddings, norms and biases stay dense.",
        "Each switch is turned alone; several together are not worth the sum.",
    ]
    idle = [each for each in SWITCHES if each not in {turn.switch for turn in found.changing}]
    if idle:
        sentences.append(f"Without effect here: {', '.join(SWITCHES[each].title for each in idle)}.")
    sentences += not_told(found.base.network)
    by_reason: dict[str, list[str]] = {}
    for name, why in found.refused.items():
        by_reason.setdefault(why, []).append(name)
    sentences += [f"Not counted under {', '.join(names)}: {why}." for why, names in by_reason.items()]
    return sentences + [
        f"Convention {each.convention.name}: {each.convention.title} ({each.convention.source})."
        for each in found.counts
    ]


def rows(found: Conventions) -> list[dict[str, Any]]:
    """One row per convention, with the values of all its switches."""
    return [
        {
            "convention": each.convention.name,
            "per": found.unit,
            **_plain(each.flops),
            **{name: getattr(each.convention, name) for name in SWITCHES},
        }
        for each in found.counts
    ]


def _plain(flops: Cost) -> dict[str, float]:
    return {
        "training_dense_flops": flops.dense,
        "training_sparse_flops": flops.sparse,
        "training_reduction": flops.reduction,
    }


def to_dict(found: Conventions) -> dict[str, Any]:
    """Plain data: the count under every convention, and with every switch of the base turned."""
    base = found.base
    return {
        "schema": SCHEMA,
        "model": base.network.name,
        "method": base.plan.method.name,
        "distribution": base.plan.distribution.name,
        "base_convention": base.convention.name,
        "setting": base.setting.record(),
        "per": found.unit,
        "tokens_per_sample": base.tokens_per_sample,
        "conventions": rows(found),
        "switches": [
            {
                "switch": each.switch, "from": each.before, "to": each.after, **_plain(each.flops),
                "dense_change": change(found, each),
            }
            for each in found.turns
        ],
        "refused": found.refused,
        "notes": [*map(str, notes(found))],
    }  # fmt: skip
