"""A whole run as a table, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Callable
from typing import Any

from swatcost.counting.costs import Cost
from swatcost.counting.two_four import REGIMES
from swatcost.devices import device_names
from swatcost.planning.run_plan import WORLD_GRID, RunPlan
from swatcost.report.estimate import machine, notes, question, unmeasured
from swatcost.report.numbers import change, percent, scaled, seconds, three_digits, times
from swatcost.report.run_plan_notes import of_communication, of_hardware
from swatcost.report.sheet import Caveat, Figure, Sheet, Table
from swatcost.report.speedups import kind_of_speedup, speedup_name


def sheet(plan: RunPlan, layers: bool = False) -> Sheet:
    return Sheet(
        opening=[question(plan.estimate), _run(plan), *_fit(plan)],
        summary=summary(plan),
        tables=[_costs(plan), *([_schedule(plan)] if len(plan.curve()) > 1 else [])],
        notes=[*unmeasured([plan.estimate.device]), *_meanings(plan), *of_hardware(plan), *_of_estimate(plan)],
    )


def summary(plan: RunPlan) -> list[Figure]:
    """What the run takes: dense, and sparse at the ideal speedup."""
    asks = plan.estimate.plan.asks_for_sparsity
    ideal = f"{kind_of_speedup(plan.estimate)} " * asks
    bound = "" if plan.estimate.device.measured else ", at least"

    def figure(label: str, cost: Cost, show: Callable[[float], str], remark: str = "") -> Figure:
        change_of = f" ({change(cost.reduction)}{remark})" if cost.reduction else ""
        return Figure(label, show(cost.sparse if asks else cost.dense), f"dense {show(cost.dense)}{change_of}" * asks)

    found = [
        figure("training FLOPs", plan.training_flops, lambda value: scaled(value, "FLOP")),
        figure(f"{ideal}{_kind_of_time(plan)}{bound}", plan.seconds, seconds, f", speedup {times(plan.speedup)}"),
    ]
    if plan.gpus > 1 and plan.seconds_without_overlap is not None:
        found.append(figure("… no overlap", plan.seconds_without_overlap, seconds))
    if plan.energy_kwh is not None:
        found.append(figure(f"{ideal}energy{bound}", plan.energy_kwh, lambda value: f"{three_digits(value)} kWh"))
    if plan.money is not None:
        found.append(figure(f"{ideal}cost{bound}", plan.money, lambda value: f"{value:,.2f} {plan.currency}"))
    return [
        *found,
        figure("peak memory per GPU", plan.peak_bytes, lambda value: scaled(value, "B"), ", in sparse formats"),
    ]


def _run(plan: RunPlan) -> str:
    recipe = f" ({plan.recipe.source}: {plan.recipe.title})" if plan.recipe else ""
    execution = plan.execution
    whose = f"group of {execution.tensor_parallel} GPUs" if execution.tensor_parallel > 1 else "GPU"
    micro = f" and micro-batch, {execution.accumulate} of them per iteration" if execution.accumulate > 1 else ""
    samples = f"{plan.estimate.batch_size} sample{'s' * (plan.estimate.batch_size != 1)}"
    gpus = f"{plan.gpus} × {machine(plan.estimate.device)}, {samples} per {whose}{micro}"
    samples = f"{plan.samples:,} samples"
    data = samples if plan.dataset == samples else f"{plan.dataset} ({samples})"
    epochs = f"{plan.epochs} epoch{'s' * (plan.epochs != 1)} of {data}"
    return f"{epochs}, batch {plan.batch_size}{recipe}: {plan.iterations:,} iterations on {gpus}"


def _fit(plan: RunPlan) -> list[str]:
    """That the step does not fit in a GPU's memory, and what to do, in a line."""
    capacity, peak, device = plan.capacity_bytes, plan.peak_bytes, plan.estimate.device.name
    if capacity is None or peak.dense <= capacity:
        return []
    dense = f"the dense step takes {scaled(peak.dense, 'B')} per GPU, {device} has {scaled(capacity, 'B')}"
    sparse = ""
    if plan.estimate.plan.asks_for_sparsity:
        fits = "" if peak.sparse > capacity else " fits and"
        sparse = f" (in sparse formats, it{fits} takes {scaled(peak.sparse, 'B')})"
    room = device if device in device_names() else f"{capacity / 1e9:.6g}GB"
    remedy = f"`swatcost memory … --batch-size {plan.estimate.batch_size} --fit {room}` lists ways to make it fit"
    return [Caveat(f"DOES NOT FIT: {dense}{sparse}; {remedy}.")]


def _kind_of_time(plan: RunPlan) -> str:
    """What a plan's time covers: in a word, if GPUs have something to send."""
    if plan.gpus == 1:
        return "time"
    return "compute time" if plan.link is None else "time, full overlap"


def _costs(plan: RunPlan) -> Table:
    """Dense and sparse costs, without those that are unknown."""
    asks = plan.estimate.plan.asks_for_sparsity
    quantities: list[_Row] = [
        ("training FLOPs", plan.training_flops, lambda value: scaled(value, "FLOP")),
        ("… (convention exact)", plan.exact_flops, lambda value: scaled(value, "FLOP")),
        *_times(plan),
        ("GPU time", plan.gpu_hours, lambda value: f"{three_digits(value)} GPU-h"),
        ("energy", plan.energy_kwh, lambda value: f"{three_digits(value)} kWh"),
        ("CO₂", plan.co2_kg, lambda value: f"{three_digits(value)} kg"),
        ("cost", plan.money, lambda value: f"{value:,.2f} {plan.currency}"),
        ("peak memory per GPU", plan.peak_bytes, lambda value: scaled(value, "B")),
    ]
    if plan.gpus > 1:
        quantities += [
            ("gradients per step", plan.gradient_bytes, lambda value: scaled(value, "B")),
            ("sent per GPU and step", plan.traffic_bytes, lambda value: scaled(value, "B")),
        ]
    lines = [
        [name, show(cost.dense), *([show(cost.sparse), percent(cost.reduction)] if asks else [])]
        for name, cost, show in quantities
        if cost is not None
    ]
    if asks:
        lines.append([speedup_name(plan.estimate), "", times(plan.speedup), ""])
    if plan.topk_refreshes:
        spent = f"{seconds(plan.topk_seconds)}, {percent(plan.topk_share)} of the run"
        lines.append([f"Top-K time ({plan.topk_refreshes:,} refreshes)", "", spent, ""])
    sparse = [f"sparse\n({kind_of_speedup(plan.estimate)})", "reduction"]
    return Table(["whole run", "dense", *(sparse if asks else [])], lines)


_Row = tuple[str, Cost | None, Callable[[float], str]]


def _times(plan: RunPlan) -> list[_Row]:
    """The time, and if something is sent over a link, what it consists of."""
    found: list[_Row] = [(_kind_of_time(plan), plan.seconds, seconds)]
    if plan.gpus == 1 or plan.link is None:
        return found
    return [
        ("compute time", plan.compute_seconds, seconds),
        ("communication time", plan.traffic_seconds, seconds),
        ("… that backward cannot hide", plan.exposed_traffic_seconds, seconds),
        *found,
        ("time, no overlap", plan.seconds_without_overlap, seconds),
    ]


def _schedule(plan: RunPlan) -> Table:
    dense = plan.estimate.costs.training.dense
    lines = [
        [
            f"{plan.epochs * each.begin:.1f} – {plan.epochs * each.end:.1f}",
            percent(each.weight_sparsity),
            scaled(each.training_macs, "MAC"),
            percent(1 - each.training_macs / dense),
        ]
        for each in plan.curve()
    ]
    return Table(["epochs", "weight sparsity", "training,\nper sample", "reduction"], lines)


def _of_estimate(plan: RunPlan) -> list[str]:
    """The estimate's notes, but for those on its own account of memory, which a plan does not show."""
    return [each for each in notes(plan.estimate) if not each.startswith("Memory excludes")]


def _meanings(plan: RunPlan) -> list[str]:
    method = plan.estimate.plan.method
    sentences: list[str] = []
    if plan.estimate.plan.asks_for_sparsity and plan.estimate.simulated_reduction is None:
        sentences.append(
            Caveat(
                "Sparse time, energy and cost are ideal: step time is assumed to scale with FLOPs (SWAT, A.4), which "
                "dense hardware cannot deliver. The sparse peak assumes sparse storage formats."
            )
        )
    if plan.recipe:
        remarks = f"; {plan.recipe.remarks}" if plan.recipe.remarks else ""
        rates = ", ".join(f"{rate:g} from epoch {epoch}" for epoch, rate in plan.recipe.learning_rate)
        sentences.append(f"{plan.recipe.source}: {plan.recipe.optimizer}; learning rate {rates}{remarks}.")
    sentences += [
        "Time covers training steps only: no validation, data loading or restarts. The last batch of an epoch counts "
        "as a full one.",
        *of_communication(plan),
    ]
    has = plan.estimate.network.conditions
    if plan.execution.precision.name != "fp32" or has.offload:
        sentences.append(
            Caveat(
                "Precision and offloading decide the memory alone: times are those of the device's profile, in its own "
                "precision and without offloading."
            )
        )
    if plan.watts is None:
        sentences.append(Caveat(f"No energy: the profile of {plan.estimate.device.name} gives no power; set watts."))
    else:
        sentences.append(
            f"Energy: {plan.watts:g} W per GPU throughout, dense and sparse alike, times a PUE of {plan.pue:g}; hosts "
            f"are not counted. CO₂: {plan.grid:g} kg per kWh{_world(plan)}."
        )
    if plan.price is not None:
        sentences.append(f"Price per GPU-hour: {plan.price:g} {plan.currency}, as given.")
    if (
        len({each.scale for each in method.schedule(plan.estimate.steps)}) == 1
        and len(method.schedule(plan.estimate.steps)) > 1
    ):
        sentences.append(f"{method.name} computes a dense gradient in some steps: costs are averages over all steps.")
    return sentences


def _world(plan: RunPlan) -> str:
    return " (world average, 2018, IEA)" if plan.grid == WORLD_GRID else ", as given"


def summary_rows(plan: RunPlan) -> list[dict[str, Any]]:
    """One row per quantity of the whole run, dense and sparse; the schedule is in the other formats."""
    counts = [("iterations", plan.iterations), ("topk_refreshes", plan.topk_refreshes)]
    costs = [(name, cost) for name, cost in _run_costs(plan).items() if cost is not None]
    return [
        *({"quantity": name, "dense": count, "sparse": count} for name, count in counts),
        *({"quantity": name, "dense": cost.dense, "sparse": cost.sparse} for name, cost in costs),
    ]


def rows(plan: RunPlan) -> list[dict[str, Any]]:
    """One row per moment of the method's schedule."""
    dense = plan.estimate.costs.training.dense
    return [
        {
            "begin_epoch": plan.epochs * each.begin,
            "end_epoch": plan.epochs * each.end,
            "weight_sparsity": each.weight_sparsity,
            "dense_training_macs": dense,
            "training_macs": each.training_macs,
        }
        for each in plan.curve()
    ]


def _run_costs(plan: RunPlan) -> dict[str, Cost | None]:
    """Quantities of the whole run, in base units."""
    return {
        "training_flops": plan.training_flops,
        "exact_flops": plan.exact_flops,
        "seconds": plan.seconds,
        "compute_seconds": plan.compute_seconds,
        "seconds_without_overlap": plan.seconds_without_overlap,
        "gpu_hours": plan.gpu_hours,
        "energy_kwh": plan.energy_kwh,
        "co2_kg": plan.co2_kg,
        "money": plan.money,
        "peak_bytes": plan.peak_bytes,
        "gradient_bytes": plan.gradient_bytes,
        "traffic_bytes": plan.traffic_bytes,
        "traffic_seconds": plan.traffic_seconds,
        "exposed_traffic_seconds": plan.exposed_traffic_seconds,
    }


def to_dict(plan: RunPlan) -> dict[str, Any]:
    """Plain data."""
    return {
        "schema": "swatcost.run_plan/1",
        "model": plan.estimate.network.name,
        "recipe": plan.recipe.name if plan.recipe else None,
        "dataset": plan.dataset,
        "samples": plan.samples,
        "epochs": plan.epochs,
        "batch_size": plan.batch_size,
        "gpus": plan.gpus,
        "optimizer": plan.execution.optimizer.name,
        "precision": plan.execution.precision.name,
        "accumulate": plan.execution.accumulate,
        "micro_batch_size": plan.estimate.batch_size,
        "sharding": plan.execution.sharding.name,
        "tensor_parallel": plan.execution.tensor_parallel,
        "loss": plan.estimate.network.conditions.loss,
        "checkpointed": list(plan.estimate.network.conditions.checkpointed),
        "offload": plan.estimate.network.conditions.offload,
        "hold_outputs": plan.estimate.network.conditions.holds_outputs,
        "iterations": plan.iterations,
        "topk_refreshes": plan.topk_refreshes,
        "topk_seconds": plan.topk_seconds,
        "watts": plan.watts,
        "pue": plan.pue,
        "grid_kg_per_kwh": plan.grid,
        "price": plan.price,
        "currency": plan.currency,
        "link_bytes_per_second": plan.link,
        "communication": "none" if plan.gpus == 1 else "left out" if plan.link is None else "full overlap",
        "capacity_bytes": plan.capacity_bytes,
        "fits": None if plan.fits is None else {"dense": plan.fits[0], "sparse": plan.fits[1]},
        "two_four_ceilings": None if plan.two_four is None else {each: plan.two_four.ceiling(each) for each in REGIMES},
        "run": {
            name: None if cost is None else {"dense": cost.dense, "sparse": cost.sparse}
            for name, cost in _run_costs(plan).items()
        },
        "schedule": rows(plan),
        "step": plan.estimate.to_dict(),
        "assumptions": [*map(str, (*_fit(plan), *_meanings(plan), *of_hardware(plan), *_of_estimate(plan)))],
    }
