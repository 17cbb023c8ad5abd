"""A whole run as CSV and JSON, in base units."""

from typing import Any

from swatcost.counting.costs import Cost
from swatcost.counting.two_four import REGIMES
from swatcost.planning.answers import Answers
from swatcost.planning.run_plan import RunPlan
from swatcost.report.run_plan_notes import fit, notes_of


def summary_rows(plan: RunPlan) -> list[dict[str, Any]]:
    """One row per quantity of the whole run; the schedule is in the other formats.

    Of times and what follows from them, `sparse` is `ideal`, or `simulated`.
    """
    counts = {"iterations": plan.iterations, "topk_refreshes": plan.topk_refreshes}
    rows: list[dict[str, Any]] = [{"quantity": name, "dense": each, "sparse": each} for name, each in counts.items()]
    rows += [{"quantity": name, **_accounts(plan, each)} for name, each in _of_run(plan).items() if each is not None]
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in columns} for row in rows]


def rows(plan: RunPlan) -> list[dict[str, Any]]:
    """One row per moment of the method's schedule."""
    dense, tokens = plan.estimate.costs.training.dense, plan.tokens
    return [
        {
            "begin_epoch": plan.epochs * each.begin,
            "end_epoch": plan.epochs * each.end,
            **({} if tokens is None else {"begin_token": tokens * each.begin, "end_token": tokens * each.end}),
            "weight_sparsity": each.weight_sparsity,
            "dense_training_macs": dense,
            "training_macs": each.training_macs,
        }
        for each in plan.curve()
    ]


def _accounts(plan: RunPlan, found: Cost | Answers) -> dict[str, float]:
    """A quantity by account."""
    if isinstance(found, Cost):
        return {"dense": found.dense, "sparse": found.sparse}
    if plan.is_simulated:
        return {"dense": found.dense, "sparse": found.ideal, "simulated": found.ideal}
    return {"dense": found.dense, "sparse": found.ideal, "attainable": found.attainable, "ideal": found.ideal}


def _of_run(plan: RunPlan) -> dict[str, Cost | Answers | None]:
    """Quantities of the whole run: work and memory are costs; times, and what follows from them, answers."""
    return {
        "training_flops": plan.training_flops,
        "exact_flops": plan.exact_flops,
        "flops_per_token": plan.estimate.flops_per_token,
        "seconds": plan.seconds,
        "compute_seconds": plan.compute_seconds,
        "seconds_without_overlap": plan.seconds_without_overlap,
        "tokens_per_second": plan.tokens_per_second,
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
        "tokens": plan.tokens,
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
        "model_flops_utilisation": plan.estimate.dense_step.utilisation,
        "run_flops_utilisation": plan.utilisation,
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
        "run": {name: None if each is None else _accounts(plan, each) for name, each in _of_run(plan).items()},
        "schedule": rows(plan),
        "step": plan.estimate.to_dict(),
        "assumptions": [*map(str, (*fit(plan), *notes_of(plan)))],
    }
