"""A comparison as a table, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from swatcost.counting import Convention
from swatcost.counting.costs import Cost
from swatcost.estimate import Estimate
from swatcost.methods.method import OPERANDS
from swatcost.network.passes import PASSES
from swatcost.planning import Comparison
from swatcost.planning.comparison import remaining, where_they_differ
from swatcost.report.estimate import every as every_period
from swatcost.report.estimate import machine, title, unmeasured
from swatcost.report.numbers import percent, scaled, times
from swatcost.report.sheet import Caveat, Sheet, Table
from swatcost.report.speedups import figures
from swatcost.report.time_notes import final_steps
from swatcost.report.traced import variation
from swatcost.version import __version__

_ROOM_FOR_ALL = 130  # columns of the widest table, with names of the usual length
_FEW_REFUSED = 2
_NARROW = {"inference": "infer-\nence", "attainable speedup": "attain-\nable\nspeedup"}


def sheet(comparison: Comparison, layers: bool = False) -> Sheet:
    return _sheet(comparison, relative=False)


def relative_sheet(comparison: Comparison, layers: bool = False) -> Sheet:
    """The same with shares of dense in place of reductions."""
    return _sheet(comparison, relative=True)


def _sheet(comparison: Comparison, relative: bool) -> Sheet:
    by_method, conventions = comparison.by_method, comparison.by_convention
    under_one = _passes(f"MAC reduction,\nconvention {comparison.convention}", by_method, relative)
    matrix = _matrix(comparison, relative)
    under_each = [
        _passes(f"MAC reduction,\nmethod {comparison.method}", conventions, relative),
        *([matrix] if len(by_method) > 1 else []),
        _left(comparison),
        *_cheapest(comparison),
    ]
    several = len(conventions) > 1
    return Sheet(
        opening=[title(comparison.by_convention[comparison.convention].network), settings(by_method.values())],
        tables=[
            *([under_one] if len(by_method) > 1 or not several else []),
            *(under_each if several else []),
        ],
        notes=notes(comparison, relative),
        paper=_every_convention(comparison, matrix, relative) if several else _one(comparison, under_one, relative),
    )


def settings(estimates: Iterable[Estimate]) -> str:
    """What all were asked for: targets, each for the methods that have such an operand, and the machine."""
    every = list(estimates)
    one = every[0]
    return (
        f"{sparsity_asked(every)}, {machine(one.device)}, batch {one.batch_size}, Top-K {every_period(one.topk_period)}"
    )


def sparsity_asked(estimates: Iterable[Estimate]) -> str:
    """The targets and the distribution."""
    plans = [each.plan for each in estimates]
    targets = {
        operand: tuple(sorted({value for each in plans if (value := getattr(each, name)) is not None}))
        for name, operand in OPERANDS.items()
    }
    alike: dict[tuple[float, ...], list[str]] = {}
    for operand, values in targets.items():
        if values:
            alike.setdefault(values, []).append(f"{operand}s")
    asked = [
        f"{_listed(operands)} {' or '.join(f'{100 * value:.4g}' for value in values)} % sparse"
        for values, operands in alike.items()
    ]
    if alike:
        asked.append("where the method uses them")
    elif not any(each.asks_for_sparsity for each in plans):
        asked.append("dense (no sparsity given)")
    return "; ".join(filter(None, [", ".join(asked), plans[0].distribution.name]))


def notes(comparison: Comparison, relative: bool = False) -> list[str]:
    """What the numbers are, what a convention charges, and which methods could not be estimated."""
    by_method = comparison.by_method
    return [
        f"{'Shares of dense' if relative else 'Reductions'} are of MACs: of each pass, of a training step averaged "
        "over the run, and of inference.",
        *variation(comparison.by_convention[comparison.convention].network),
        *time_notes(by_method.values()),
        *method_notes(by_method),
        *left_out(comparison.refused),
    ]


def speedup_note(one: Estimate) -> str:
    """What the speedup rests on."""
    if one.simulated_reduction is not None:
        return f"Simulated speedup: cycles of {one.device.name}, and a Top-K once per period."
    kernels = (
        f"of the sparse kernels known on {one.device.name}"
        if one.device.kernels
        else f"of dense kernels on masked tensors, as no sparse kernel of {one.device.name} is known (`swatcost "
        "calibrate` measures a machine's)"
    )
    return (
        f"Attainable speedup: the fastest {kernels}. Ideal speedup, from FLOPs alone (Eqs. 7 and 8): step time is "
        "assumed to scale with FLOPs, which dense hardware cannot deliver, and a Top-K is added once per period."
    )


def time_notes(estimates: Iterable[Estimate]) -> list[str]:
    """What the speedups rest on."""
    every = list(estimates)
    return [speedup_note(every[0]), *final_steps(every), *unmeasured([every[0].device])]


def left_out(refused: Mapping[str, str]) -> list[str]:
    """Who is missing, and why: one by one if there are few."""
    if len(refused) > _FEW_REFUSED:
        names = _listed([*refused])
        return [Caveat(f"{names} are left out, as they cannot take these settings; estimate one to read why.")]
    return [Caveat(f"{name} is left out: {reason}.") for name, reason in refused.items()]


def method_notes(by_method: Mapping[str, Estimate]) -> list[str]:
    """What a convention does beside a method's own truth, and the layers that a method's own runs keep dense."""
    return [*_charged(by_method), *(note for name, each in by_method.items() for note in _kept_dense(name, each))]


def _charged(by_method: Mapping[str, Estimate]) -> Iterator[str]:
    one = next(iter(by_method.values()))
    charged = [name for name, each in by_method.items() if one.convention.charges_default_sparsity(each.plan.method)]
    if charged and any(each.plan.asks_for_sparsity for each in by_method.values()):
        yield Caveat(
            f"Convention {one.convention.name} charges {_listed(charged)} {percent(1 - one.default_act_sparsity)} of "
            f"dense grad_weight, assuming that ReLU zeroes {percent(one.default_act_sparsity)} of the activations; "
            "exact charges what each method needs: gradients of active weights only, or of all weights."
        )
    if one.convention.counts_weight_sparsity_only:
        yield Caveat(
            f"Convention {one.convention.name} counts weight sparsity only: sparse activations and outputs make no "
            "difference."
        )


def _kept_dense(name: str, estimate: Estimate) -> Iterator[str]:
    kept = estimate.plan.kept_dense
    own = f"{estimate.plan.method.name} makes only"
    if reasons := {why for why in kept.values() if why.startswith(("as ", own))}:
        more = sum(why in reasons for why in kept.values())
        yield Caveat(f"{name} keeps {more} more layer{'s' if more > 1 else ''} dense ({', '.join(reasons)}).")


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def shown(cost: Cost, relative: bool) -> str:
    """A cost beside the dense one: 76.12 % less, or 0.24× of it."""
    return times(1 - cost.reduction) if relative else percent(cost.reduction)


def _passes(heading: str, estimates: Mapping[str, Estimate], relative: bool) -> Table:
    """What each pass saves, and the speedup; in a wide terminal, what is left in MACs per sample."""
    one = next(iter(estimates.values()))
    header = [heading, *reductions(one), *(figure.label for figure in figures(one))]
    rows = [
        [
            name,
            *(shown(cost, relative) for cost in reductions(each).values()),
            *(figure.value for figure in figures(each)),
        ]
        for name, each in estimates.items()
    ]
    left = [scaled(each.costs.training.sparse) for each in estimates.values()]
    broken = (_NARROW.get(each) or each.replace("_", "\n").replace(" ", "\n") for each in header[1:])
    return Table(
        [*header, "training MACs"],
        [[*row, macs] for row, macs in zip(rows, left, strict=True)],
        narrow=Table([heading, *broken], rows),
        room=_ROOM_FOR_ALL,
    )


def _matrix(comparison: Comparison, relative: bool) -> Table:
    """Training reductions of every method under every convention."""
    rows = [
        [name, *(shown(each.costs.training, relative) for each in found.values())]
        for name, found in comparison.estimates.items()
    ]
    return Table([training_heading(relative), *comparison.by_convention], rows, divisible=True)


def training_heading(relative: bool) -> str:
    """Above methods, where the cells are of a training step."""
    return "training (× dense)" if relative else "training reduction"


def _left(comparison: Comparison) -> Table:
    """Where the conventions differ: what each leaves of the compared method's passes."""
    base = comparison.by_convention[comparison.convention].costs
    rows = [
        [
            name,
            where_they_differ(base, each.costs) or "–",
            *(percent(remaining(each.costs, in_pass)) for in_pass in PASSES),
            percent(1 - each.training_reduction),
        ]
        for name, each in comparison.by_convention.items()
    ]
    header = [
        f"MACs left, share of dense training, method {comparison.method}",
        f"pass that differs most from convention {comparison.convention}",
    ]
    return Table([*header, *PASSES, "total"], rows, text_columns=2)


def _cheapest(comparison: Comparison) -> list[Table]:
    """Which methods cost least under each convention, and the pass that sets them apart from the next."""
    rows = []
    for convention in comparison.by_convention:
        (most, first), *others = comparison.ranked(convention)
        if not most or not others:
            continue
        _, after = others[0]
        cheapest, following = (comparison.estimates[each[0]][convention].costs for each in (first, after))
        in_pass = max(PASSES, key=lambda each: remaining(following, each) - remaining(cheapest, each))
        left = " vs ".join(percent(remaining(each, in_pass)) for each in (cheapest, following))
        rows.append([convention, ", ".join(first), ", ".join(after), in_pass, left])
    header = [
        "convention",
        "cheapest method",
        "runner-up",
        "pass that differs most",
        "MACs left in that pass, share of dense training",
    ]
    return [Table(header, rows, text_columns=4)] if rows else []


def _one(comparison: Comparison, table: Table, relative: bool) -> Table:
    """Methods × passes, as a paper prints them."""
    one = comparison.by_convention[comparison.convention]
    asked = settings(comparison.by_method.values())
    below = footnote(f"MACs of {title(one.network)}", asked, [one.convention], relative, speedup_note(one))
    columns = len(table.header) - 1  # without MACs
    return Table(table.header[:columns], [row[:columns] for row in table.rows], footnote=below)


def _every_convention(comparison: Comparison, table: Table, relative: bool) -> Table:
    """Methods × conventions, as a paper prints them."""
    conventions = [each.convention for each in comparison.by_convention.values()]
    network = title(comparison.by_convention[comparison.convention].network)
    asked = sparsity_asked(comparison.by_method.values())
    return replace(table, footnote=footnote(f"training MACs of {network}", asked, conventions, relative))


def footnote(counted: str, asked: str, conventions: Sequence[Convention], relative: bool, more: str = "") -> str:
    """What a table in a paper has to say: what was counted, what was asked, and how it was counted."""
    one = conventions[0]
    by = f"convention {one.name}: {one.title} ({one.source})"
    if len(conventions) > 1:
        by = f"conventions {_listed([each.name for each in conventions])}"
    sentences = [
        f"{counted}, relative to dense" if relative else f"reductions of {counted}",
        "training is averaged over the run",
        asked,
        by,
        more.rstrip("."),
        f"computed with swatcost {__version__}",
    ]
    return " ".join(f"{each[0].upper()}{each[1:]}." for each in sentences if each)


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """Plain data: the totals of every estimate."""
    base = comparison.by_convention[comparison.convention]
    plan, network = base.plan, base.network
    return {
        "schema": "swatcost.comparison/1",
        "method": comparison.method,
        "convention": comparison.convention,
        "model": network.name,
        "distribution": plan.distribution.name,
        "weights": plan.weights,
        "setting": comparison.setting.record(),
        "by_method": {name: each.to_dict()["totals"] for name, each in comparison.by_method.items()},
        "by_convention": {name: each.to_dict()["totals"] for name, each in comparison.by_convention.items()},
        "matrix": training_reductions(comparison.estimates),
        "refused": comparison.refused,
        "notes": [*map(str, notes(comparison))],
    }


def training_reductions(estimates: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, float]]:
    """Training reductions by method and convention."""
    return {
        name: {under: each.training_reduction for under, each in found.items()} for name, found in estimates.items()
    }


def reductions(estimate: Estimate) -> dict[str, Cost]:
    """The costs that are compared, by name."""
    return {name: cost for name, cost in estimate.costs.totals().items() if name != "recompute"}


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per method and convention."""
    return [row_of(each) for found in comparison.estimates.values() for each in found.values()]


def row_of(estimate: Estimate) -> dict[str, Any]:
    """What a row says of an estimate: MACs are per sample, reductions fractions."""
    training, inference = estimate.costs.training, estimate.costs.inference
    return {
        "model": estimate.network.name,
        "method": estimate.plan.method.name,
        "convention": estimate.convention.name,
        **{f"{name}_reduction": cost.reduction for name, cost in reductions(estimate).items()},
        "model_compression": estimate.model_compression,
        "attainable_speedup": estimate.attainable_speedup,
        "speedup": estimate.speedup,
        "training_dense_macs": training.dense,
        "training_sparse_macs": training.sparse,
        "inference_dense_macs": inference.dense,
        "inference_sparse_macs": inference.sparse,
    }
