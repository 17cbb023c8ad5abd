"""A whole run as a table, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Callable
from typing import Any

from swatcost.counting.costs import Cost
from swatcost.planning.run_plan import WORLD_GRID, RunPlan
from swatcost.report.estimate import machine, notes, setting, title, unmeasured
from swatcost.report.numbers import percent, scaled, seconds, three_digits, times
from swatcost.report.sheet import Sheet, Table


def sheet(plan: RunPlan, layers: bool = False) -> Sheet:
    return Sheet(
        opening=[title(plan.estimate.network), setting(plan.estimate), _run(plan)],
        tables=[_costs(plan), *([_schedule(plan)] if len(plan.curve()) > 1 else [])],
        notes=[*unmeasured([plan.estimate.device]), *_meanings(plan), *notes(plan.estimate)],
    )


def _run(plan: RunPlan) -> str:
    recipe = f" ({plan.recipe.source}: {plan.recipe.title})" if plan.recipe else ""
    gpus = f"{plan.gpus} × {machine(plan.estimate.device)}, {plan.estimate.batch_size} samples each"
    return (
        f"{plan.epochs} epochs of {plan.dataset}, {plan.samples:,} samples, in batches of {plan.batch_size}{recipe}: "
        f"{plan.iterations:,} iterations on {gpus}"
    )


def _costs(plan: RunPlan) -> Table:
    """Dense and sparse, what is not known left out."""
    asks = plan.estimate.plan.asks_for_sparsity
    quantities: list[tuple[str, Cost | None, Callable[[float], str]]] = [
        ("training FLOPs", plan.training_flops, scaled),
        ("… as convention exact counts", plan.exact_flops, scaled),
        ("time", plan.seconds, seconds),
        ("GPU hours", plan.gpu_hours, three_digits),
        ("energy", plan.energy_kwh, lambda value: f"{three_digits(value)} kWh"),
        ("CO₂", plan.co2_kg, lambda value: f"{three_digits(value)} kg"),
        ("money", plan.money, lambda value: f"{value:,.2f} {plan.currency}"),
        ("peak of a GPU's step", plan.peak_bytes, lambda value: scaled(value, "B")),
    ]
    if plan.gpus > 1:
        quantities += [
            ("gradients of a step", plan.gradient_bytes, lambda value: scaled(value, "B")),
            ("a GPU sends in a step", plan.traffic_bytes, lambda value: scaled(value, "B")),
            ("time of sending, if not hidden", plan.traffic_seconds, seconds),
        ]
    lines = [
        [name, show(cost.dense), *([show(cost.sparse), percent(cost.reduction)] if asks else [])]
        for name, cost, show in quantities
        if cost is not None
    ]
    if asks:
        lines.append(["speedup", "", times(plan.speedup), ""])
    if plan.topk_refreshes:
        share = f"{plan.topk_refreshes:,} times: {percent(plan.topk_share)} of it"
        lines.append([f"Top-K, {share}", "", seconds(plan.topk_seconds), ""])
    return Table(["the whole run", "dense", *(["sparse", "less"] if asks else [])], lines)


def _schedule(plan: RunPlan) -> Table:
    dense = plan.estimate.costs.training.dense
    lines = [
        [
            f"{plan.epochs * each.begin:.1f} – {plan.epochs * each.end:.1f}",
            percent(each.weight_sparsity),
            scaled(each.training_macs),
            percent(1 - each.training_macs / dense),
        ]
        for each in plan.curve()
    ]
    return Table(["epochs", "weights sparse", "MACs of a step\na sample", "less"], lines)


def _meanings(plan: RunPlan) -> list[str]:
    method = plan.estimate.plan.method
    sentences = []
    if plan.recipe:
        remarks = f"; {plan.recipe.remarks}" if plan.recipe.remarks else ""
        rates = ", ".join(f"{rate:g} from epoch {epoch}" for epoch, rate in plan.recipe.learning_rate)
        sentences.append(f"{plan.recipe.source}: {plan.recipe.optimizer}; learning rate {rates}{remarks}.")
    sentences.append(
        "Time is of training steps alone: no validation, loading of data, communication or restarts; a GPU's step is "
        "that of its share of the batch, and the last batch of an epoch counts as a whole one."
    )
    if plan.watts is None:
        sentences.append(f"No energy: the profile of {plan.estimate.device.name} says no power, give watts.")
    else:
        sentences.append(
            f"Energy: {plan.watts:g} W a GPU throughout, dense and sparse alike, times a PUE of {plan.pue:g}; no host. "
            f"CO₂: {plan.grid:g} kg a kWh{_world(plan)}."
        )
    if plan.price is not None:
        sentences.append(f"Money: {plan.price:g} {plan.currency} for a GPU and hour, the price that was given.")
    if plan.gpus > 1:
        sparse = (
            f"{method.name} needs gradients of active weights only; they travel as values, as all GPUs know the mask"
            if method.weight_gradient == "active"
            else f"{method.name}'s gradients are dense: every weight is updated, so sparsity saves no traffic"
        )
        sentences.append(f"Gradients are averaged by a ring all-reduce: {sparse}.")
    if (
        len({each.scale for each in method.schedule(plan.estimate.steps)}) == 1
        and len(method.schedule(plan.estimate.steps)) > 1
    ):
        sentences.append(f"{method.name} computes a dense gradient in some steps: costs are means over all.")
    return sentences


def _world(plan: RunPlan) -> str:
    return ", the world's mean of 2018 (IEA)" if plan.grid == WORLD_GRID else ", as given"


def summary_rows(plan: RunPlan) -> list[dict[str, Any]]:
    """A row a quantity of the whole run, dense and sparse; the schedule is in the other forms."""
    counts = [("iterations", plan.iterations), ("topk_refreshes", plan.topk_refreshes)]
    costs = [(name, cost) for name, cost in _run_costs(plan).items() if cost is not None]
    return [
        *({"quantity": name, "dense": count, "sparse": count} for name, count in counts),
        *({"quantity": name, "dense": cost.dense, "sparse": cost.sparse} for name, cost in costs),
    ]


def rows(plan: RunPlan) -> list[dict[str, Any]]:
    """A row a moment of the method's schedule."""
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
        "gpu_hours": plan.gpu_hours,
        "energy_kwh": plan.energy_kwh,
        "co2_kg": plan.co2_kg,
        "money": plan.money,
        "peak_bytes": plan.peak_bytes,
        "gradient_bytes": plan.gradient_bytes,
        "traffic_bytes": plan.traffic_bytes,
        "traffic_seconds": plan.traffic_seconds,
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
        "iterations": plan.iterations,
        "topk_refreshes": plan.topk_refreshes,
        "topk_seconds": plan.topk_seconds,
        "watts": plan.watts,
        "pue": plan.pue,
        "grid_kg_per_kwh": plan.grid,
        "price": plan.price,
        "currency": plan.currency,
        "run": {
            name: None if cost is None else {"dense": cost.dense, "sparse": cost.sparse}
            for name, cost in _run_costs(plan).items()
        },
        "schedule": rows(plan),
        "step": plan.estimate.to_dict(),
        "assumptions": [*_meanings(plan), *map(str, plan.estimate.assumptions)],
    }
