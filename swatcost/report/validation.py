"""A validation as a table, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from swatcost.common.printing import listed
from swatcost.methods import Operand
from swatcost.network.passes import PASSES
from swatcost.reference.validation import LayerCheck, Validation, Work
from swatcost.report.estimate import setting, title
from swatcost.report.numbers import percent, scaled, signed
from swatcost.report.sheet import Caveat, Sheet, Table

_SMALLEST = 1e-6  # smaller causes [-] are not printed


def sheet(validation: Validation, layers: bool = False) -> Sheet:
    steps = len(validation.steps)
    return Sheet(
        opening=[
            title(validation.estimate.network),
            f"{setting(validation.estimate)}; {steps} step{'s' if steps > 1 else ''} of {validation.batch_size} "
            f"samples, data: {validation.data}",
            _verdict(validation),
        ],
        tables=[
            _work(validation),
            *([_layers(validation)] if layers else []),
            *([_sparsity(validation)] if validation.estimate.plan.asks_for_sparsity else []),
            _saved(validation),
        ],
        notes=notes(validation),
    )


def _verdict(validation: Validation) -> str:
    """The result in a sentence."""
    total = validation.total
    return (
        f"Modelled: {scaled(total.counted, 'MAC')}; executed: {scaled(total.executed, 'MAC')} "
        f"({_signed(total.difference)}). Unexplained by padding, the sparsity reached and the positions of zeros: "
        f"{_signed(total.unexplained)}."
    )


def _signed(share: float) -> str:
    return f"{signed(100 * share)} %"


def _work(validation: Validation) -> Table:
    """Multiplications by pass: modelled, modelled with masks and borders, and executed."""
    passes = {each: validation.work(each) for each in PASSES} | {"all": validation.total}
    rows = [
        [
            name,
            scaled(work.counted),
            scaled(work.executed),
            _signed(work.difference),
            scaled(work.placed),
            _signed(work.unexplained),
        ]
        for name, work in passes.items()
    ]
    header = ["MACs", "model\n(exact)", "executed", "difference", "model with\nborders", "difference"]
    return Table(header, rows)


def _layers(validation: Validation) -> Table:
    """One row per weight, over all passes and steps."""
    rows = []
    for checks in _by_weight(validation):
        work = _sum(checks)
        last = checks[-1]
        rows.append(
            [
                last.weight.removesuffix(".weight"),
                *(f"{100 * each:.2f}" for each in (last.target.weight, last.reached.weight)),
                *(f"{100 * each:.2f}" for each in (last.target.activation, last.reached.activation)),
                scaled(work.counted),
                scaled(work.executed),
                _signed(work.difference),
                _signed(work.unexplained),
            ]
        )
    header = ["layer", "weights\n[%]", "reached\n[%]", "acts\n[%]", "reached\n[%]", "model\nMACs", "executed\nMACs"]
    return Table([*header, "differ-\nence", "with\nborders"], rows)


def _by_weight(validation: Validation) -> list[tuple[LayerCheck, ...]]:
    return list(zip(*(step.layers for step in validation.steps), strict=True))


def _sum(checks: Sequence[LayerCheck]) -> Work:
    return sum((work for check in checks for work in check.work.values()), Work())


_OPERANDS: tuple[tuple[Operand, str], ...] = (
    ("weight", "weights"),
    ("activation", "activations"),
    ("output", "output gradients"),
)


def _sparsity(validation: Validation) -> Table:
    """The real sparsity of masks against the target, with new and with reused thresholds (Figures 4 and 10)."""
    rows = []
    for step in validation.steps:
        for operand, name in _OPERANDS:
            sparse = [layer for layer in step.layers if layer.target.of(operand)]
            if not sparse:
                continue
            drifts = [layer.reached.of(operand) - layer.target.of(operand) for layer in sparse]
            when = "new thresholds" if step.refreshed else "reused thresholds"
            targets = {round(100 * layer.target.of(operand), 2) for layer in sparse}
            target = f"{targets.pop():.4g} %" if len(targets) == 1 else "by layer"
            reached = (signed(100 * each) for each in (min(drifts), max(drifts)))
            rows.append([f"{step.iteration}", when, name, target, *reached])
    header = ["iteration", "", "sparsity of", "target", "minimum − target\n[points]", "maximum − target\n[points]"]
    return Table(header, rows, text_columns=3)


_SAVED = {"masked, as the reference keeps it": "masked dense tensors (reference)"}  # the JSON keeps its key


def _saved(validation: Validation) -> Table:
    rows = [
        [
            _SAVED.get(name, name),
            scaled(model, "B"),
            scaled(measured, "B"),
            _signed(measured / model - 1 if model else 0.0),
        ]
        for name, (model, measured) in validation.saved.items()
    ]
    return Table(["saved for backward", "model", "measured", "difference"], rows)


def notes(validation: Validation) -> list[str]:
    """What was compared, and the causes of differences above the bound."""
    total = validation.total
    method = validation.estimate.plan.method
    sentences: list[str] = [
        "Model: convention exact at the target sparsity, over all steps. Executed: pairs of operands that are both "
        "present, counted by convolving masks; an operand that the method leaves dense is present everywhere, padding "
        "nowhere. With borders: the multiplications of kept elements, from shapes and places: an element at a border "
        "has fewer than one inside, and Top-K does not keep equal shares of both.",
    ]
    for name, work in [*((each, validation.work(each)) for each in PASSES), ("all passes", total)]:
        if abs(work.difference) > validation.bound:
            causes = ", ".join(
                f"{_signed(share)} {cause}" for cause, share in work.causes.items() if abs(share) >= _SMALLEST
            )
            sentences.append(Caveat(f"{name}, {_signed(work.difference)}: {causes}."))
    sentences += map(Caveat, _layer_findings(validation))
    zeros = validation.default_act_sparsity
    sentences.append(
        f"Layer inputs are {percent(zeros)} zeros before masking, weighted by grad_weight MACs: the default activation "
        "sparsity, which methods without sparse activations can rely on (the paper: 30 to 50 %, A.3)."
    )
    for name, (model, measured) in validation.saved.items():
        if model and abs(measured / model - 1) > validation.bound:
            sentences.append(
                Caveat(f"Saved bytes, {_SAVED.get(name, name)}: off by more than the bound, cause unknown.")
            )
    if validation.estimate.network.counted_layers != validation.estimate.network.weight_layers:
        sentences.append("Products of activations are dense in both and are not included in the MACs above.")
    if validation.left_dense:
        sentences.append(
            Caveat(
                f"LEFT DENSE and not included above, as no layer of torch's own multiplies them: "
                f"{', '.join(validation.left_dense)}."
            )
        )
    if method.name == "meprop":
        sentences.append("The bias gradient is full.")
    return sentences


def _layer_findings(validation: Validation) -> list[str]:
    """Layers whose masks miss the target by more than the bound, with the likely cause."""
    sentences = []
    for operand, name in _OPERANDS:
        missed = [
            (layer, step.refreshed, layer.reached.of(operand) - layer.target.of(operand))
            for step in validation.steps
            for layer in step.layers
            if layer.target.of(operand) and abs(layer.reached.of(operand) - layer.target.of(operand)) > validation.bound
        ]
        causes: dict[str, list[str]] = {}
        for layer, refreshed, drift in missed:
            causes.setdefault(_why(layer, operand, refreshed, drift), []).append(layer.weight.removesuffix(".weight"))
        for cause, layers in causes.items():
            few = listed(list(dict.fromkeys(layers)), 3)
            sentences.append(f"Sparsity of {name} misses its target by more than --bound in {few}: {cause}.")
    return sentences


def _why(layer: LayerCheck, operand: Operand, refreshed: bool, drift: float) -> str:
    if operand == "activation" and drift > 0 and layer.default_act_sparsity >= layer.target.activation:
        return "there are more zeros than that before masking"
    if not refreshed:
        return "thresholds are from an earlier iteration"
    return "the selection is approximate, on one sample, by channel or early, or there are ties"


def to_dict(validation: Validation) -> dict[str, Any]:
    """The validation as plain data."""
    return {
        "schema": "swatcost.validation/1",
        "model": validation.estimate.network.name,
        "batch_size": validation.batch_size,
        "data": validation.data,
        "method": validation.estimate.plan.method.name,
        "distribution": validation.estimate.plan.distribution.name,
        "topk_period": validation.estimate.topk_period,
        "setting": validation.setting,
        "totals": {each: asdict(validation.work(each)) for each in PASSES} | {"all": asdict(validation.total)},
        "saved_bytes": {name: {"model": pair[0], "measured": pair[1]} for name, pair in validation.saved.items()},
        "default_act_sparsity": validation.default_act_sparsity,
        "left_dense": validation.left_dense,
        "steps": [asdict(step) for step in validation.steps],
        "notes": [*map(str, notes(validation))],
    }


def rows(validation: Validation) -> list[dict[str, Any]]:
    """One row per weight, pass and step."""
    return [
        {
            "iteration": step.iteration,
            "refreshed": step.refreshed,
            "layer": layer.weight,
            "pass": in_pass,
            "weight_sparsity": layer.target.weight,
            "weight_sparsity_reached": layer.reached.weight,
            "act_sparsity": layer.target.activation,
            "act_sparsity_reached": layer.reached.activation,
            "default_act_sparsity": layer.default_act_sparsity,
            **{f"{name}_macs": value for name, value in asdict(work).items()},
        }
        for step in validation.steps
        for layer in step.layers
        for in_pass, work in layer.work.items()
    ]
