"""What an estimate's report says, cell by cell: the forms lay it out."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from swatcost.counting.conventions import EXACT
from swatcost.devices import Device
from swatcost.estimate import Estimate
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.network.layer import PRODUCT_KINDS
from swatcost.report.assumptions import assumptions, normalisation
from swatcost.report.estimate_data import layer_rows as rows
from swatcost.report.estimate_data import summary_rows as summary_rows
from swatcost.report.estimate_data import to_dict as to_dict
from swatcost.report.folding import adds_up, folded_rows
from swatcost.report.numbers import change, column_unit, percent, scaled, seconds, shape
from swatcost.report.samples import per_token, sample_word
from swatcost.report.sheet import Caveat, Figure, Sheet, Table
from swatcost.report.sparsity import layers_kept_dense
from swatcost.report.speedups import figures, is_simulated, kind_of_speedup, no_faster


def sheet(estimate: Estimate, layers: bool = False) -> Sheet:
    """What it says, whatever the form; CSV is one row per layer if asked, or else one row per quantity."""
    sparse = estimate.plan.asks_for_sparsity  # a dense estimate's summary names the machine
    return Sheet(
        opening=[f"{question(estimate)}, on {machine(estimate.device)}" if sparse else question(estimate)],
        summary=summary(estimate),
        tables=tables(estimate),
        notes=notes(estimate),
        layers=lambda detail: layer_table(estimate, detail),
        shows_layers=layers,
        left_out=LEFT_OUT.__getitem__,
    )


def sheet_per_token(estimate: Estimate, layers: bool = False) -> Sheet:
    """The same with MACs per token in tables."""
    counted = per_token(estimate)
    return replace(
        sheet(estimate, layers),
        tables=[work(counted, "token"), memory(estimate), time(estimate)],
        layers=lambda detail: layer_table(counted, detail, "MAC/token"),
    )


def question(estimate: Estimate) -> str:
    """What was asked, in one line."""
    network, plan = estimate.network, estimate.plan
    parts = [plan.method.name, *_targets(estimate)]
    if plan.asks_for_sparsity:
        parts.insert(1, plan.distribution.name)
        parts += [f"Top-K {every(estimate.topk_period)}"] if plan.method.selects else []
    elif parts != ["dense"]:
        parts.append(_why_dense(estimate))
    return f"{network.name} ({_inputs(network)}): {', '.join(parts)}"


def _why_dense(estimate: Estimate) -> str:
    plan = estimate.plan
    given = any((plan.weights, plan.acts, plan.grads))
    return f"every layer kept dense: {' '.join(_kept_dense(estimate))}" if given else "dense (no sparsity given)"


def title(network: Network) -> str:
    """The network, its input and its size."""
    return f"{network.name}, input {_inputs(network)}, {scaled(network.parameter_elements)} parameters"


def _inputs(network: Network) -> str:
    return ", ".join(shape(network.sample_shape(each)) for each in network.input_shapes)


def setting(estimate: Estimate) -> str:
    """The method, the distribution, what they are asked for, and the period."""
    selects = estimate.plan.asks_for_sparsity and estimate.plan.method.selects
    return asked(estimate) + (f", Top-K {every(estimate.topk_period)}" if selects else "")


def asked(estimate: Estimate) -> str:
    """The method, the distribution and what they are asked for."""
    plan = estimate.plan
    if not plan.asks_for_sparsity:
        return f"{plan.method.name}, {_why_dense(estimate)}"
    targets = ", ".join(_targets(estimate))
    return f"{plan.method.name}, {plan.distribution.name}: {targets}" if targets else plan.method.name


def _targets(estimate: Estimate) -> list[str]:
    """The target sparsity of each sparse operand, or its average if no target was given."""
    plan, method = estimate.plan, estimate.plan.method
    if not plan.asks_for_sparsity:
        return []
    averages = {"weights": estimate.weight_sparsity, "acts": estimate.act_sparsity, "grads": 0.0}
    found = []
    for name, operand in OPERANDS.items():
        if method.uses(operand):
            target, average = getattr(plan, name), averages[name]
            if operand == "weight" and plan.distribution.target_of_others:
                target = None
            if target is None and not average:
                found.append(f"{operand}s dense")
            else:
                on_average = " on average" if target is None else ""
                found.append(f"{operand}s {100 * (average if target is None else target):.4g} % sparse{on_average}")
    return found


def machine(device: Device) -> str:
    """Its name, and a word where nothing was measured on it."""
    return device.name if device.measured else f"{device.name} (not measured)"


def unmeasured(devices: Iterable[Device]) -> list[str]:
    """What times of machines that nobody measured are worth, in a sentence; none where all were."""
    names = list(dict.fromkeys(each.name for each in devices if not each.measured))
    if not names:
        return []
    return [
        Caveat(
            f"{' and '.join(names)}: NOT MEASURED. Step times and Top-K times are lower bounds from a data sheet, so "
            "the speedup is not a bound, and methods with a Top-K may look better than they are."
        )
    ]


def headline(estimate: Estimate) -> str:
    """The summary in sentences, without what tables have too."""
    found = summary(estimate)
    if not estimate.plan.asks_for_sparsity:
        return "; ".join(map(_in_words, found)) + "."
    *others, kept = (each for each in found if each.label != "weights")
    told = (*map(_in_words, others), f"kept dense: {kept.value} {kept.remark}".rstrip())
    return " ".join(f"{each[0].upper()}{each[1:]}." for each in told)


def _in_words(figure: Figure) -> str:
    comma = "," if figure.label.endswith("speedup") and figure.remark else ""
    return f"{figure.label} {figure.value}{comma} {figure.remark}".rstrip()


def summary(estimate: Estimate) -> list[Figure]:
    """The answer in a few figures, with what the exact convention counts beside what was asked for."""
    training, inference = estimate.costs.training, estimate.costs.inference
    exact, counted_exactly = estimate.exact.training, estimate.convention is EXACT
    if not estimate.plan.asks_for_sparsity:
        per = f"per {sample_word(estimate)}"
        beside = per + ("" if counted_exactly else f" ({scaled(exact.dense, 'MAC')} under exact)")
        return [
            Figure("training", scaled(training.dense, "MAC"), beside),
            *_per_token(estimate),
            Figure("inference", scaled(inference.dense, "MAC"), per),
            Figure("dense step", seconds(estimate.dense_step.seconds), _on(estimate)),
        ]
    beside = "" if counted_exactly else f"({change(exact.reduction)} under exact); "
    trained = estimate.non_zero_weights + (0 if estimate.plan.method.merges else estimate.added_params)
    kept = f"{scaled(estimate.network.weight_elements)} → {scaled(trained)}"
    if estimate.activation_reduction:
        kept += f"; activations {change(estimate.activation_reduction)}"
    layer, why = _kept_dense(estimate)
    normalises = any(each.is_norm for each in estimate.network.layers)
    inputs = f"inputs of {normalisation(estimate.network)}" if estimate.activation_reduction and normalises else ""
    first, *others = figures(estimate)
    found = [
        Figure("training FLOPs", change(training.reduction), f"{beside}inference {change(inference.reduction)}"),
        *_per_token(estimate),
        Figure("weights", _fewer(estimate.network.weight_elements, trained), kept),
        *others,
        Figure("kept dense", layer, f"{why}; {inputs}".lstrip("; ") if inputs else why),
    ]
    found.insert(0 if no_faster(estimate) else 2, first)
    return found


def _fewer(before: int, after: float) -> str:
    if not before or before == after:
        return "as many"
    return f"{before / after:.1f}× fewer" if after < before else f"{after / before:.1f}× as many"


def _per_token(estimate: Estimate) -> list[Figure]:
    """FLOPs of training per token, where the inputs are tokens."""
    flops, tokens = estimate.flops_per_token, estimate.tokens_per_sample
    if flops is None or tokens is None:
        return []
    beside = f"{tokens:,.6g} tokens per sequence"
    if not estimate.plan.asks_for_sparsity:
        return [Figure("per token", scaled(flops.dense, "FLOP"), f"of training; {beside}")]
    return [
        Figure("per token", scaled(flops.sparse, "FLOP"), f"of training, dense {scaled(flops.dense, 'FLOP')}; {beside}")
    ]


def _on(estimate: Estimate) -> str:
    step = estimate.dense_step
    at_most = "at most " if step.basis == "bound" else ""
    mfu = "" if step.utilisation is None else f", MFU {at_most}{percent(step.utilisation)}"
    return f"on {machine(estimate.device)}, batch {estimate.batch_size}{mfu}"


def _kept_dense(estimate: Estimate) -> tuple[str, str]:
    """Layers that stay dense, and why."""
    by_reason = layers_kept_dense(estimate)
    if not by_reason:
        embedded = estimate.network.embeds_input and estimate.plan.distribution.first_layer_dense
        return "no layer", "(an embedding reads the input)" if embedded else ""
    (reason, names), *others = by_reason.items()
    more = len(names) - 1 + sum(map(len, (each for _, each in others)))
    return names[0], f"({reason})" + (f" and {more} more layer{'s' * (more > 1)}" if more else "")


def every(period: float) -> str:
    """How often a Top-K runs."""
    return "every iteration" if period == 1 else f"every {period:,} iterations"


def work(estimate: Estimate, per: str) -> Table:
    """MACs by pass, `per` what they are given; the last column is the reduction under the convention `exact`."""
    together = "training, all four" if estimate.costs.recompute.dense else "training, all three"
    names = {"training": together}
    exact = estimate.exact.totals()
    found = estimate.costs.totals()
    same = found["inference"] == found["forward"] and exact["inference"] == exact["forward"]
    rows = [
        [
            names.get(name, name),
            *map(scaled, (cost.dense, cost.sparse)),
            *map(percent, (cost.reduction, exact[name].reduction)),
        ]
        for name, cost in found.items()
        if not (name == "inference" and same)
    ]
    if same:
        rows[0][0] = "forward, inference"
    header = [f"MACs per {per}, convention {estimate.convention.name}", "dense", "sparse", "reduction", EXACT.name]
    return Table(header, rows)


def memory(estimate: Estimate) -> Table:
    """What a step keeps, in bytes."""
    held = dict(estimate.memory.by_holder())
    parameters, gradients = held["parameters"], held["gradients"]
    if parameters.dense == parameters.sparse and gradients.dense == gradients.sparse:
        held = {"parameters_and_gradients": parameters + gradients} | held
        del held["parameters"], held["gradients"]
    rows = []
    for name, each in held.items():
        words = _HELD.get(name, name.replace("_", " "))
        words += f", batch {estimate.batch_size}" if name == "saved_activations" else ""
        rows.append([words, scaled(each.dense, "B"), scaled(each.sparse, "B"), percent(each.reduction)])
    if estimate.channels_pruned is not None:
        rows.append(["channels pruned", "", "", percent(estimate.channels_pruned)])
    return Table(["memory", "dense", "sparse", "reduction"], rows)


_HELD = {"backward_weights": "weights read in the backward pass"}


def time(estimate: Estimate) -> Table:
    """A step, dense and by each account of a sparse one, and a Top-K refresh."""
    device, batch = estimate.device, f"batch {estimate.batch_size}"
    step = estimate.dense_step.seconds
    if not estimate.plan.asks_for_sparsity:
        return Table([f"time on {machine(device)}", "dense"], [[f"step, {batch}", seconds(step)]])
    sparse = {kind_of_speedup(estimate): step / estimate.speedup}
    if not is_simulated(estimate):
        sparse = {"attainable": estimate.attainable_seconds, **sparse}
    selects = estimate.plan.method.selects
    label = f"step with its share of Top-K, {batch}" if selects else f"step, {batch}"
    rows = [[label, seconds(step), *map(seconds, sparse.values())]]
    if selects:
        (_, once), *ideas = estimate.topk_seconds_by_idea.items()
        rows.append([f"one Top-K, {every(estimate.topk_period)}", "", *[seconds(once)] * len(sparse)])
        rows += [[f"… {_IDEAS.get(idea, idea)}", "", *[seconds(after)] * len(sparse)] for idea, after in ideas]
    return Table([f"time on {machine(device)}", "dense", *sparse], rows)


_IDEAS = {"one sample": "with one sample", "hidden": "hidden behind the period"}
LEFT_OUT = {"wide": "", "medium": "shapes and passes", "narrow": "shapes, passes, parameters and sparsities"}
_TEXTS = {"wide": ("name", "input_shape", "weight_shape", "output_shape"), "medium": ("name",), "narrow": ("name",)}
_PASSES = {
    "wide": ("forward", "grad_input", "grad_weight", "training"),
    "medium": ("training",),
    "narrow": ("training",),
}
_HEADINGS = {"name": "layer", "input_shape": "input", "weight_shape": "weight", "output_shape": "output"}


def layer_table(estimate: Estimate, detail: str, unit_of_work: str = "MAC") -> Table:
    """One row per layer and their total, in one unit, so that the printed columns add up.

    detail is one of LAYER_DETAIL: `medium` leaves out shapes and passes, `narrow` parameters and sparsities too.
    What runs several times on the same shapes is one row; folded, so are equal blocks.
    """
    layers = merged(rows(estimate))
    others_cost = estimate.beside.training.dense > 0  # the last row holds parameters, and seldom MACs
    shown = layers if detail != "narrow" or others_cost else layers[:-1]
    folded = folded_rows(shown)
    texts, passes, described = _TEXTS[detail], _PASSES[detail], detail != "narrow"
    if detail == "wide" and estimate.costs.recompute.dense:
        passes = (*passes[:-1], "recompute", passes[-1])
    prefix, unit = column_unit(estimate.costs.training.dense)
    keys = [f"{each}_{how}_macs" for each in passes for how in ("dense", "sparse")]

    def cells(row: dict[str, Any]) -> list[str]:
        dense, sparse = row["training_dense_macs"], row["training_sparse_macs"]
        sparsities = [f"{row[key] * 100:.4g} %" if dense else "" for key in ("weight_sparsity", "act_sparsity")]
        return [
            *(row[each].replace("x", "×") if each != "name" else _called(row) for each in texts),
            *([f"{row['params']:,}", *(sparsities if row["weight"] else ["", ""])] if described else []),
            *(f"{row[key] / unit:.3f}" for key in keys),
            percent(1 - sparse / dense) if dense else "",
        ]

    total = {key: sum(row[key] for row in layers) for key in ("params", *keys)}
    total |= {"weight_sparsity": estimate.weight_sparsity, "act_sparsity": estimate.act_sparsity}
    total |= dict.fromkeys(texts, "") | {"name": "total", "weight": "all"}
    header = [
        *(_HEADINGS[each] for each in texts),
        *(["params", "weights", "acts"] if described else []),
        *(f"{each}\n{how}\n[{prefix}{unit_of_work}]" for each in passes for how in ("dense", "sparse")),
        "reduction",
    ]
    whole, fewer = (
        Table(header, [cells(row) for row in [*each, total]], text_columns=len(texts)) for each in (shown, folded)
    )
    return replace(whole, folded=fewer) if len(folded) < len(shown) else whole


def _called(row: dict[str, Any]) -> str:
    return f"{row['name']} ({row['kind']})" if row.get("kind") in PRODUCT_KINDS else str(row["name"])


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    """What tells a layer's row from others: its module and weight, and the shapes that it runs on."""
    return tuple(row[each] for each in ("name", "kind", "weight", "input_shape", "weight_shape", "output_shape"))


def merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one module and one weight, with the same shapes, as one, such as the steps of a recurrent layer."""
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    calls: dict[tuple[Any, ...], int] = {}
    for row in rows:
        key = key_of(row)
        calls[key] = calls.get(key, 0) + 1
        so_far = merged.setdefault(key, row)
        if so_far is not row:
            merged[key] = so_far | {each: so_far[each] + row[each] for each in row if adds_up(each)}
    return [row | ({"name": f"{row['name']} ×{calls[key]}"} if calls[key] > 1 else {}) for key, row in merged.items()]


def tables(estimate: Estimate) -> list[Table]:
    """The headline: work, memory and time."""
    return [work(estimate, sample_word(estimate)), memory(estimate), time(estimate)]


def notes(estimate: Estimate) -> list[str]:
    """What the numbers rest on, and what was seen but not counted."""
    return [*assumptions(estimate), f"Seen but not counted: {_uncounted(estimate)}."]


def _uncounted(estimate: Estimate) -> str:
    return ", ".join(f"{each.operation} ×{each.calls}" for each in estimate.uncounted) or "nothing"
