"""A summary by module as a tree, Markdown, LaTeX, CSV, JSON or HTML."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from swatcost.common.printing import listed
from swatcost.planning.module_tree import OWN, ModuleTotals, Totals, folded, weights_elsewhere
from swatcost.planning.summary import COLUMNS, Summary
from swatcost.report.assumptions import counting
from swatcost.report.estimate import question
from swatcost.report.estimate import summary as figures
from swatcost.report.numbers import column_unit, percent, shape
from swatcost.report.samples import tree_per_token
from swatcost.report.sheet import Sheet, Table

SCHEMA = "swatcost.summary/1"

_WORDS = ("kind", "output_shape")
_PASSES = ("forward", "grad_input", "grad_weight", "recompute", "training", "inference")
_SPARSE_ONLY = ("non_zero_params", "reduction", "weight_sparsity", "act_sparsity")
_BY_DEFAULT = (
    "kind", "output_shape", "params", "non_zero_params", "forward", "grad_input", "grad_weight", "recompute",
    "training", "reduction", "weight_sparsity", "act_sparsity",
)  # fmt: skip
_LEFT_OUT_FIRST = (
    "act_sparsity", "recompute", "grad_weight", "grad_input", "forward", "weight_sparsity", "non_zero_params",
    "output_shape", "kind",
)  # fmt: skip
"""Where not all columns of the default fit, those without which it is still a summary, the least needed first."""

_LONGEST_NAMES = (40, 32, 24, 16)
"""Columns that names may take, the indentation included, before they are cut."""


class _Detail(NamedTuple):
    """The columns of the tree and the most that its names may take."""

    columns: tuple[str, ...]
    longest: int


def sheet(summary: Summary, layers: bool = False) -> Sheet:
    details = _details(summary)

    def left_out(detail: _Detail) -> str:
        return ", ".join(name for name in details[0].columns if name not in detail.columns)

    return Sheet(
        opening=[question(summary.estimate)],
        summary=[each for each in figures(summary.estimate) if not each.label.endswith((" step", " speedup"))],
        tables=[],
        notes=notes(summary),
        layers=partial(_tree, summary),
        shows_layers=True,
        details=details,
        left_out=left_out,
    )


def sheet_per_token(summary: Summary, layers: bool = False) -> Sheet:
    """The same with MACs per token in the tree."""
    tree = tree_per_token(summary.tree, summary.estimate)
    return replace(sheet(summary, layers), layers=partial(_tree, replace(summary, tree=tree), work="MAC/token"))


def notes(summary: Summary) -> list[str]:
    """What was counted where, and what is not shown."""
    found, network = summary.estimate, summary.estimate.network
    sentences = [
        *counting(found),
        "Parameters are counted once, with the module that owns them, and MACs per sample with the module that "
        "executes them.",
    ]
    if any(module.label == OWN for _, module, _ in summary.shown()):
        sentences.append(f"{OWN} is what a module with parts has or executes itself.")
    if elsewhere := [f"{layer} uses {weight}" for layer, weight in weights_elsewhere(network)]:
        sentences.append(f"Weights of other modules: {listed(elsewhere, 2)}.")
    if summary.columns is not None and "saved" in summary.columns:
        sentences.append(
            f"saved: activations that autograd keeps at batch {found.batch_size}, each storage with the module that "
            "saves it first."
        )
    if any(module.copies > 1 for _, module, _ in summary.shown()):
        sentences.append("A row with ×N holds N modules that are equal in all but their names, and the totals of all.")
    if summary.depth is not None and summary.depth < summary.tree.depth:
        sentences.append(
            f"Shown to depth {summary.depth} of {summary.tree.depth}: a row holds the totals of all that is below it."
        )
    return sentences


def _details(summary: Summary) -> list[_Detail]:
    """What the tree may show, the most first: columns go before names are cut, unless they were chosen."""
    if summary.columns is not None:
        fewer = [summary.columns[:count] for count in range(len(summary.columns), 0, -1)]
        return [
            *(_Detail(summary.columns, longest) for longest in _LONGEST_NAMES),
            *(_Detail(columns, _LONGEST_NAMES[-1]) for columns in fewer[1:]),
        ]
    columns = tuple(each for each in _BY_DEFAULT if _says_something(summary, each))
    choices = [columns]
    for name in _LEFT_OUT_FIRST:
        if name in columns:
            columns = tuple(each for each in columns if each != name)
            choices.append(columns)
    first, *shorter = _LONGEST_NAMES
    return [*(_Detail(each, first) for each in choices), *(_Detail(choices[-1], longest) for longest in shorter)]


def _says_something(summary: Summary, column: str) -> bool:
    if column == "recompute":
        return summary.tree.totals.costs.recompute.dense > 0
    return column not in _SPARSE_ONLY or summary.estimate.plan.asks_for_sparsity


def _tree(summary: Summary, detail: _Detail, work: str = "MAC") -> Table:
    """Modules with their parts below them, and the total of the network; folded too, unless that was decided."""
    whole = _rows_of_tree(summary, detail, work)
    if summary.fold is not None:
        return whole
    fewer = _rows_of_tree(replace(summary, tree=folded(summary.tree)), detail, work)
    return replace(whole, folded=fewer) if len(fewer.rows) < len(whole.rows) else whole


def _rows_of_tree(summary: Summary, detail: _Detail, work: str) -> Table:
    totals = summary.tree.totals
    words = [name for name in detail.columns if name in _WORDS]
    keys = [key for name in detail.columns if name not in _WORDS for key in _shown_keys(summary, name)]
    said = {key: _cell(key, totals) for key in keys}
    lines = []
    for level, module, _ in summary.shown():
        numbers = _numbers(module.totals)
        if keys and not any(numbers[key] for key in keys):
            continue  # such as an activation function, where what it saves is not shown
        name = _name(module, level, detail.longest)
        lines.append([name, *(_word(module, each) for each in words), *(said[key](numbers[key]) for key in keys)])
    whole = _numbers(totals)
    total = ["total", *(_word(summary.tree, each) for each in words), *(said[key](whole[key]) for key in keys)]
    header = ["module", *(_HEADINGS.get(each, each) for each in words), *(_heading(key, totals, work) for key in keys)]
    return Table(header, [*lines, total], text_columns=1 + len(words))


_HEADINGS = {
    "kind": "layers", "output_shape": "output", "non_zero_params": "non-zero\nparams",
    "training_reduction": "reduction", "weight_sparsity": "weight\nsparsity", "act_sparsity": "act\nsparsity",
}  # fmt: skip


def _heading(key: str, totals: Totals, work: str) -> str:
    if key.endswith(("_macs", "_bytes")):
        name, how, unit = key.rsplit("_", 2)
        prefix, _ = _unit(key, totals)
        # a pass in two lines keeps its column narrow
        return f"{name.replace('_', chr(10))}\n{how}\n[{prefix}{work if unit == 'macs' else 'B'}]"
    return _HEADINGS.get(key, key)


def _unit(key: str, totals: Totals) -> tuple[str, float]:
    """One unit for all MACs, so that columns add up across, and one for bytes."""
    return column_unit(totals.costs.training.dense if key.endswith("_macs") else totals.saved.dense)


def _cell(key: str, totals: Totals) -> Callable[[float | None], str]:
    """How the numbers of a column are written."""
    if key.endswith(("_macs", "_bytes")):
        _, factor = _unit(key, totals)
        return lambda value: f"{(value or 0) / factor:.3f}"
    if key.endswith(("reduction", "sparsity")):
        return lambda value: "" if value is None else percent(value)
    return lambda value: f"{value or 0:,.0f}"


def _shown_keys(summary: Summary, column: str) -> list[str]:
    """The numbers of a column, without sparse ones where nothing is sparse."""
    dense_only = not summary.estimate.plan.asks_for_sparsity
    return [key for key in _KEYS[column] if not (dense_only and "_sparse_" in key)]


_KEYS: dict[str, tuple[str, ...]] = {
    "calls": ("calls",), "params": ("params",), "non_zero_params": ("non_zero_params",),
    **{name: (f"{name}_dense_macs", f"{name}_sparse_macs") for name in _PASSES},
    "reduction": ("training_reduction",), "weight_sparsity": ("weight_sparsity",), "act_sparsity": ("act_sparsity",),
    "saved": ("saved_dense_bytes", "saved_sparse_bytes"),
}  # fmt: skip


def _numbers(totals: Totals) -> dict[str, float | None]:
    """What is said of a module in numbers, unrounded, by the keys of JSON and CSV."""
    costs = totals.costs
    found: dict[str, float | None] = {
        "calls": totals.calls, "params": totals.params, "non_zero_params": totals.non_zero_params,
    }  # fmt: skip
    for name, cost in {**costs.by_part(), "training": costs.training, "inference": costs.inference}.items():
        found |= {f"{name}_dense_macs": cost.dense, f"{name}_sparse_macs": cost.sparse}
    return found | {
        "training_reduction": costs.training.reduction if costs.training.dense else None,
        "weight_sparsity": totals.weight_sparsity,
        "act_sparsity": totals.act_sparsity,
        "saved_dense_bytes": totals.saved.dense,
        "saved_sparse_bytes": totals.saved.sparse,
    }


def _name(module: ModuleTotals, level: int, longest: int) -> str:
    """A module's name behind the indentation of its level, which no form takes for blanks to strip, cut in its middle.

    Neighbours often differ in their ends, such as block_9 and block_10.
    """
    indent = "\N{NO-BREAK SPACE}" * 2 * (level - 1)
    copies = f" ×{module.copies}" if module.copies > 1 else ""
    room = max(_SHORTEST_NAME, longest - len(indent) - len(copies))
    label = module.label
    if len(label) > room:
        end = (room - 1) * 2 // 3
        label = f"{label[: room - 1 - end]}…{label[-end:]}"
    return indent + label + copies


_SHORTEST_NAME = 8


def _word(module: ModuleTotals, column: str) -> str:
    if column == "output_shape":
        return "" if module.output_shape is None else shape(module.output_shape)
    if module.parts:
        return f"{module.totals.calls} layers" if module.totals.calls > 1 else f"{module.totals.calls} layer"
    return ", ".join(module.kinds)


def to_dict(summary: Summary) -> dict[str, Any]:
    """Plain data: every column, unrounded."""
    found = summary.estimate
    return {
        "schema": SCHEMA,
        "model": found.network.name,
        "batch_size": found.batch_size,
        "convention": found.convention.name,
        "setting": found.setting.record(),
        "depth": summary.depth,
        "total": _numbers(summary.tree.totals),
        "modules": _rows(summary, list(COLUMNS)),
        "notes": [*map(str, notes(summary))],
    }


def rows(summary: Summary) -> list[dict[str, Any]]:
    """One row per module, with the columns that were chosen, or all; the `innermost` ones add up to the network."""
    return [
        {key: "" if value is None else value for key, value in row.items()}
        for row in _rows(summary, list(COLUMNS) if summary.columns is None else summary.columns)
    ]


def _rows(summary: Summary, columns: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for level, module, innermost in summary.shown():
        row = {"module": module.name, "level": level, "innermost": innermost, "copies": module.copies}
        numbers = _numbers(module.totals)
        for name in columns:
            if name == "kind":
                row[name] = "" if module.parts else ", ".join(module.kinds)
            elif name == "output_shape":
                row[name] = "x".join(map(str, module.output_shape or ()))
            else:
                row |= {key: numbers[key] for key in _KEYS[name]}
        found.append(row)
    return found
