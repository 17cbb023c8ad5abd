"""A simulation as a table, Markdown, LaTeX, CSV or JSON."""

from typing import Any

from swatcost.accelerator.cycles import Cycles
from swatcost.network.passes import PASSES
from swatcost.report.estimate import every, question
from swatcost.report.numbers import column_unit, percent, scaled, times
from swatcost.report.sheet import Caveat, Figure, Sheet, Table
from swatcost.simulation.simulation import Simulation

_IDLE = ("ragged", "unfilled", "filters", "tiles")  # keys of the JSON and CSV
_SLOTS = ["utilisation", "edge", "no weight\nin reach", "filter\nsync", "tile\nsync"]
_ROUNDING = 1e-3  # relative, of what a Top-K of whole weights keeps
_ROOM_FOR_ALL = 116  # columns


def sheet(simulation: Simulation, layers: bool = False) -> Sheet:
    architecture = simulation.architecture
    tables = [_passes(simulation), _slots(simulation), _step(simulation)]
    if layers:
        tables.append(_layers(simulation))
    return Sheet(
        opening=[
            question(simulation.estimate),
            f"{architecture.title}, {architecture.shape.name}; masks: {simulation.masks.described}",
        ],
        summary=summary(simulation),
        tables=tables,
        notes=notes(simulation),
    )


def summary(simulation: Simulation) -> list[Figure]:
    """The step's speedup in cycles beside the one that its FLOPs would allow."""
    return [
        Figure("simulated speedup", times(simulation.speedup), f"of a training step{_including_topk(simulation)}"),
        Figure("ideal speedup", times(simulation.ideal_speedup), "from FLOPs alone"),
    ]


def notes(simulation: Simulation) -> list[str]:
    """The assumptions behind the cycles."""
    architecture, estimate = simulation.architecture, simulation.estimate
    method = estimate.plan.method
    bound = architecture.shape.lookahead + 1
    sentences = [
        "The ideal speedup is dense over sparse MACs, convention exact. The simulated speedup of a pass is at most "
        f"{bound}× (lookahead + 1), except for free lines at its end. Only multipliers are simulated: memory is "
        "assumed to keep up.",
        Caveat(
            "A slot is one multiplier in one cycle. Idle at the edge: filters, channels or windows do not fill the "
            "machine. No weight in reach: lookahead and lookaside find no non-zero weight to move there. Filter and "
            "tile sync: waiting for the slowest filter or tile."
        ),
        "In a dense step, and in one without zero weights, every line costs a cycle. Otherwise all layers are "
        "scheduled, dense ones too: lanes that no channel fills then take weights of later lines.",
        f"Top-K: {architecture.topk_source}.",
    ]
    if method.sparse["grad_weight"]:
        sentences.append(
            "grad_weight: rows of activations are scheduled, with zeros at random places; long rows are extrapolated "
            "from a sample of lines. Real zeros are less even."
        )
    idle = [each for each in PASSES if not method.sparse[each]]
    if idle and estimate.plan.asks_for_sparsity:
        sentences.append(f"{method.name} leaves this front end nothing to skip in {', '.join(idle)}.")
    if any("weight" not in method.sparse[each] and method.sparse[each] for each in ("forward", "grad_input")):
        sentences.append(
            "The front end schedules weights in forward and grad_input: zeros of other operands are not skipped."
        )
    if _more_zeros(simulation):
        sentences.append(
            "The given weights have more zeros than the target sparsity: cycles skip them, but the ideal speedup and "
            "the layers' sparsities do not count them."
        )
    if len(estimate.plan.phases(estimate.steps)) > 1:
        sentences.append(Caveat(f"{method.name} changes over a run: this is a step at the target sparsity."))
    return sentences


def _including_topk(simulation: Simulation) -> str:
    estimate = simulation.estimate
    return f", including Top-K {every(estimate.topk_period)}" if estimate.plan.method.selects else ""


def _more_zeros(simulation: Simulation) -> bool:
    """Whether the given weights have zeros beyond those of the plan, so that cycles can beat the ideal."""
    if simulation.masks.weights is None or not any("forward" in each.passes for each in simulation.layers):
        return False
    asked = simulation.estimate.exact.forward.sparse / simulation.architecture.macs_per_cycle
    return simulation.of("forward").limit < (1 - _ROUNDING) * asked


def to_dict(simulation: Simulation) -> dict[str, Any]:
    """Plain data: cycles per sample and per step."""
    estimate, architecture = simulation.estimate, simulation.architecture
    return {
        "schema": "swatcost.simulation/1",
        "model": estimate.network.name,
        "batch_size": estimate.batch_size,
        "method": estimate.plan.method.name,
        "distribution": estimate.plan.distribution.name,
        "weights": estimate.plan.weights,
        "acts": estimate.plan.acts,
        "topk_period": estimate.topk_period,
        "setting": estimate.setting.record(),
        "architecture": architecture.name,
        "shape": architecture.shape.name,
        "masks": simulation.masks.described,
        "passes": {each: _numbers(simulation.of(each)) for each in PASSES},
        "training": _numbers(simulation.training),
        "step": {
            "dense_cycles": float(simulation.dense_step_cycles),
            "sparse_cycles": float(simulation.step_cycles),
            "topk_cycles": float(simulation.topk_cycles),
            "speedup": float(simulation.speedup),
        },
        "layers": rows(simulation),
        "notes": [*map(str, notes(simulation))],
    }


def rows(simulation: Simulation) -> list[dict[str, Any]]:
    """One row per layer and pass."""
    return [
        {
            "layer": each.layer.name,
            "pass": in_pass,
            "weight_sparsity": float(each.sparsity.weight),
            "act_sparsity": float(each.sparsity.activation),
            **_numbers(cycles),
        }
        for each in simulation.layers
        for in_pass, cycles in each.passes.items()
    ]


def _numbers(cycles: Cycles) -> dict[str, float]:
    shares = dict(zip(("busy", *_IDLE), _shares(cycles), strict=True))
    return {
        "dense_cycles": float(cycles.dense),
        "sparse_cycles": float(cycles.sparse),
        "speedup": float(cycles.speedup),
        "ideal_cycles": float(cycles.limit),
        "utilisation": shares.pop("busy"),
        **shares,
    }


def _shares(cycles: Cycles) -> list[float]:
    total = cycles.slots.total
    return [float(each / total) if total else 0.0 for each in cycles.slots.as_tuple()]


def _line(name: str, cycles: Cycles, factor: float) -> list[str]:
    return [name, f"{cycles.dense / factor:,.0f}", f"{cycles.sparse / factor:,.0f}", times(cycles.speedup)]


def _percents(cycles: Cycles) -> list[str]:
    return [f"{100 * each:.1f} %" for each in _shares(cycles)]


def _header(first: str, unit: str) -> list[str]:
    return [first, f"dense\n{unit}cycles", f"sparse\n{unit}cycles", "simulated\nspeedup"]


def _passes(simulation: Simulation) -> Table:
    unit, factor = column_unit(simulation.training.dense)
    lines = [_line(each, simulation.of(each), factor) for each in PASSES]
    return Table(_header("per sample", unit), [*lines, _line("training", simulation.training, factor)])


def _slots(simulation: Simulation) -> Table:
    """How the sparse cycles use their slots."""
    lines = [[each, *_percents(simulation.of(each))] for each in PASSES]
    return Table(["slots", *_SLOTS], [*lines, ["training", *_percents(simulation.training)]])


def _step(simulation: Simulation) -> Table:
    estimate, topk = simulation.estimate, simulation.topk_cycles_per_step
    lines = [
        ["dense step", f"{scaled(simulation.dense_step_cycles)} cycles"],
        ["sparse step", f"{scaled(simulation.step_cycles)} cycles"],
        ["… of which Top-K", f"{scaled(topk)} cycles, {percent(topk / simulation.step_cycles)}"],
        ["simulated speedup", times(simulation.speedup)],
        ["ideal speedup", times(simulation.ideal_speedup)],
    ]
    return Table([f"{estimate.batch_size} samples{_including_topk(simulation)}", ""], lines)


def _layers(simulation: Simulation) -> Table:
    unit, factor = column_unit(simulation.training.dense)
    lines = [
        [*_line(f"{each.layer.name} {in_pass}", cycles, factor), *_percents(cycles)]
        for each in simulation.layers
        for in_pass, cycles in each.passes.items()
    ]
    header = [*_header("layer and pass", unit), *_SLOTS]
    narrow = Table(header[:5], [line[:5] for line in lines])
    return Table(header, lines, narrow=narrow, room=_ROOM_FOR_ALL)
