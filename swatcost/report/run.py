"""The outcome of a run as a table, Markdown, LaTeX, CSV or JSON."""

from statistics import median
from typing import Any

import msgspec

from swatcost.common.record import LayerRecord, Record
from swatcost.report.numbers import percent, scaled, seconds, shape, signed
from swatcost.report.sheet import Sheet, Table

_ROOM_FOR_ALL = 96  # columns

_KERNELS = {
    "dense": "dense kernels",
    "sparse": "sparse kernels",
    "auto": "the faster of sparse and dense kernels",
}
"""What computes products, by the setting's value."""


def sheet(record: Record, layers: bool = False) -> Sheet:
    return Sheet(
        opening=_opening(record),
        tables=[_outcome(record), *([_work(record), _layers(record)] if record.measured else [])],
        notes=_notes(record),
    )


def _opening(record: Record) -> list[str]:
    header, settings = record.header, record.header.settings
    asked = [f"{name} {100 * settings[name]:.4g} %" for name in ("weights", "acts", "grads") if name in settings]
    return [
        f"{settings['model']}, input {shape(header.input_shape)}, on {header.data}, {header.classes} classes",
        f"{settings['method']}, {settings['distribution']}: {', '.join(asked) or 'no target sparsity'}; Top-K every "
        f"{settings['period']} iterations; batch {settings['batch_size']}, seed {settings['seed']}, {settings['on']}, "
        f"{_KERNELS[settings.get('kernels', 'dense')]}",
    ]


def _outcome(record: Record) -> Table:
    """Loss, accuracy and time; measured steps take longer and are left out of the time."""
    last = record.steps[-1]
    plain = [step for step in record.steps if not step.layers] or list(record.steps)
    selecting = [step.topk_seconds for step in record.steps if step.topk_seconds]
    rows = [
        ["steps", f"{len(record.steps):,} of {record.header.steps:,}"],
        ["loss of the last batch", f"{last.loss:.4f}"],
        ["accuracy on held-out samples", percent(record.tests[-1].accuracy) if record.tests else "not tested"],
        ["step (median)", seconds(median(step.seconds for step in plain))],
        ["one Top-K (median)", seconds(median(selecting)) if selecting else "none"],
    ]
    kept = [step.saved_bytes for step in record.measured if step.saved_bytes is not None]
    if kept:
        rows.append(["saved for backward", scaled(kept[-1], "B")])
    return Table(["run", ""], rows)


def _work(record: Record) -> Table:
    """Multiplications executed per sample, by pass, in the first and the last measured step."""
    first, last = record.measured[0], record.measured[-1]
    rows = []
    for in_pass in ("forward", "grad_input", "grad_weight"):
        found = [sum(layer.macs.get(in_pass, 0) for layer in step.layers) for step in (first, last)]
        rows.append([in_pass, *(scaled(macs / record.header.settings["batch_size"], "MAC") for macs in found)])
    return Table(["executed per sample", f"step {first.step}", f"step {last.step}"], rows)


def _layers(record: Record) -> Table:
    """Every weight in the last measured step; the drift of its threshold since the first."""
    first = {layer.weight: layer for layer in record.measured[0].layers}
    rows = [
        [
            layer.weight.removesuffix(".weight"),
            percent(layer.weight_sparsity),
            percent(layer.act_sparsity),
            percent(layer.default_act_sparsity),
            _threshold(layer.weight_threshold),
            _drift(first[layer.weight], layer),
            "" if layer.momentum_share is None else percent(layer.momentum_share),
        ]
        for layer in record.measured[-1].layers
    ]
    header = [
        "layer",
        "weight\nsparsity",
        "act\nsparsity",
        "before\nmasking",
        "weight\nthreshold",
        "drift",
        "momentum\nshare",
    ]
    # A narrow terminal shows neither sparsity before masking nor momentum.
    narrow = Table([*header[:3], *header[4:6]], [[*row[:3], *row[4:6]] for row in rows])
    return Table(header, rows, narrow=narrow, room=_ROOM_FOR_ALL)


def _threshold(threshold: float | None) -> str:
    return "" if threshold is None else f"{threshold:.3g}"


def _drift(first: LayerRecord, last: LayerRecord) -> str:
    if not first.weight_threshold or last.weight_threshold is None:
        return ""
    return f"{signed(100 * (last.weight_threshold / first.weight_threshold - 1), 1)} %"


def _notes(record: Record) -> list[str]:
    kernels, measured = record.header.settings.get("kernels", "dense"), len(record.measured)
    times = "The step time excludes measured steps, which take longer."
    if measured == len(record.steps):
        times = "Every step was measured, which takes longer than a step alone."
    return [
        f"{record.path} has every layer in {len(record.measured)} measured steps; weights, optimizer state and "
        "thresholds are in the .pt file beside it.",
        "Before masking: zeros of a layer's input such as ReLU's. Drift: of the weight threshold since the first "
        "measured step. Executed: pairs of operands that are both present (no padding, no masked element).",
        times,
        "Masked tensors are dense here: the reference saves neither time nor memory, it counts what could be saved."
        if kernels == "dense"
        else "Sparse kernels save time, not memory. Measured steps run on masked tensors, which are dense.",
    ]


def to_dict(record: Record) -> dict[str, Any]:
    """The run as plain data: settings, outcome, and the layers in the last measured step."""
    measured = record.measured[-1:]
    return {
        "schema": "swatcost.run/1",
        "record": record.path,
        **msgspec.to_builtins(record.header),
        "steps_done": len(record.steps),
        "loss": record.steps[-1].loss,
        "accuracy": record.tests[-1].accuracy if record.tests else None,
        "layers": msgspec.to_builtins(measured[0].layers) if measured else [],
    }


def rows(record: Record) -> list[dict[str, Any]]:
    """One row per layer and measured step."""
    return [
        {"step": step.step, "loss": step.loss, **_flat(msgspec.structs.asdict(layer))}
        for step in record.measured
        for layer in step.layers
    ] or [{"step": step.step, "loss": step.loss} for step in record.steps]


def _flat(layer: dict[str, Any]) -> dict[str, Any]:
    macs = layer.pop("macs")
    return layer | {f"{in_pass}_macs": macs.get(in_pass, 0) for in_pass in ("forward", "grad_input", "grad_weight")}
