"""A simulation as a table, Markdown, LaTeX, CSV or JSON."""

from typing import Any

from swatcost.accelerator.cycles import Cycles
from swatcost.network.passes import PASSES
from swatcost.report.estimate import title
from swatcost.report.numbers import column_unit, percent, scaled, times
from swatcost.report.sheet import Sheet, Table
from swatcost.simulation.simulation import Simulation

_IDLE = ("ragged", "unfilled", "filters", "tiles")
_ROUNDING = 1e-3  # by which a Top-K of whole weights may keep less than its share


def sheet(simulation: Simulation, layers: bool = False) -> Sheet:
    architecture = simulation.architecture
    tables = [_passes(simulation), _step(simulation)]
    if layers:
        tables.append(_layers(simulation))
    return Sheet(
        opening=[
            title(simulation.estimate.network),
            f"{architecture.title}, {architecture.shape.name}; masks: {simulation.masks.described}",
        ],
        tables=tables,
        notes=notes(simulation),
    )


def notes(simulation: Simulation) -> list[str]:
    """What the cycles rest on."""
    architecture, estimate = simulation.architecture, simulation.estimate
    method = estimate.plan.method
    bound = architecture.shape.lookahead + 1
    sentences = [
        f"Ideal is dense over executed MACs; no walk is faster than {bound}× dense, the lookahead and one, "
        "but for free lines at its end. Cycles are of the multipliers: memory is taken to keep up.",
        "Idle slots: ragged, where filters, channels or windows do not fill the machine; unfilled, where no weight was "
        "within reach; filters and tiles, waiting for the slowest of those that share a line or a round.",
        "A dense step costs every line a cycle, and so does one without any zero. With zeros somewhere every layer is "
        "walked, dense ones too: lanes that no channel fills then take weights of later lines.",
        f"Top-K: {architecture.topk_source}.",
    ]
    if method.sparse["grad_weight"]:
        sentences.append(
            "grad_weight: rows of activations are scheduled, their zeros drawn at random and, where there are many, "
            "from a sample of lines; real ones are less even."
        )
    idle = [each for each in PASSES if not method.sparse[each]]
    if idle and estimate.plan.asks_for_sparsity:
        sentences.append(f"{method.name} has nothing in {', '.join(idle)} that this front end could skip.")
    if any("weight" not in method.sparse[each] and method.sparse[each] for each in ("forward", "grad_input")):
        sentences.append("The front end schedules weights in forward and grad_input: zeros of other operands stay.")
    if _more_zeros(simulation):
        sentences.append(
            "The weights given have more zeros than the sparsity asked for: cycles skip them, and the ideal and "
            "layers' sparsities do not count them."
        )
    if len(method.schedule(estimate.steps)) > 1:
        sentences.append(f"{method.name} changes over a run: this is a step at the target sparsity.")
    return sentences


def _more_zeros(simulation: Simulation) -> bool:
    """Whether weights that masks are of bring zeros beyond those of the plan, so that cycles can beat the ideal."""
    if simulation.masks.weights is None or not any("forward" in each.passes for each in simulation.layers):
        return False
    asked = simulation.estimate.exact.forward.sparse / simulation.architecture.macs_per_cycle
    return simulation.of("forward").limit < (1 - _ROUNDING) * asked


def to_dict(simulation: Simulation) -> dict[str, Any]:
    """Plain data: cycles a sample, and of a step."""
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
    """A row a layer and pass."""
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
    shares = _shares(cycles)
    return [
        name,
        f"{cycles.dense / factor:,.0f}",
        f"{cycles.sparse / factor:,.0f}",
        times(cycles.speedup),
        *(f"{100 * each:.1f}" for each in shares),
    ]


def _header(first: str, unit: str) -> list[str]:
    shares = ["busy\n%", "rag-\nged", "un-\nfil-\nled", "fil-\nters", "til-\nes"]
    return [first, f"dense\n{unit}cycles", f"sparse\n{unit}cycles", "speed\nup", *shares]


def _passes(simulation: Simulation) -> Table:
    unit, factor = column_unit(simulation.training.dense)
    lines = [_line(each, simulation.of(each), factor) for each in PASSES]
    return Table(_header("a sample", unit), [*lines, _line("training", simulation.training, factor)])


def _step(simulation: Simulation) -> Table:
    estimate, topk = simulation.estimate, simulation.topk_cycles_per_step
    lines = [
        ["dense step", scaled(simulation.dense_step_cycles)],
        ["sparse step", scaled(simulation.step_cycles)],
        ["of it Top-K", f"{scaled(topk)}, {percent(topk / simulation.step_cycles)}"],
        ["speedup", times(simulation.speedup)],
        ["ideal, from FLOPs", times(simulation.ideal_speedup)],
    ]
    return Table([f"{estimate.batch_size} samples, Top-K every {estimate.topk_period}", "cycles"], lines)


def _layers(simulation: Simulation) -> Table:
    unit, factor = column_unit(simulation.training.dense)
    lines = [
        _line(f"{each.layer.name} {in_pass}", cycles, factor)
        for each in simulation.layers
        for in_pass, cycles in each.passes.items()
    ]
    return Table(_header("layer and pass", unit), lines)
