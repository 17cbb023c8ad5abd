"""Many estimates at once: the same formulas as one estimate, on arrays of settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from swatcost import topk
from swatcost.conventions import CONVENTIONS, DEFAULT_ACT_SPARSITY, EXACT, Convention
from swatcost.devices import Device, load_device
from swatcost.distributions import DISTRIBUTIONS, Distribution, Spread, from_function
from swatcost.errors import SwatcostError
from swatcost.estimate import checked_count, checked_default, checked_network, counted_costs
from swatcost.memory import activation_reduction
from swatcost.methods import METHODS, Method, Operand, checked_sparsity
from swatcost.network import Network
from swatcost.selecting import Selecting, topk_seconds
from swatcost.sparsity import (
    DenseOrSparse,
    SparsityPlan,
    assembled,
    checked_sparsities,
    checked_target,
    spread_request,
)

if TYPE_CHECKING:
    import pandas

Array = numpy.ndarray[Any, numpy.dtype[numpy.float64]]
_MOST_AT_ONCE = 50_000  # settings whose layers are held in memory together


def sweep(
    network: Network | str | Path,
    *,
    weights: float | Iterable[float] | None = None,
    acts: float | Iterable[float] | None = None,
    grads: float | Iterable[float] | None = None,
    period: int | Iterable[int] = 1000,
    method: str | Method | Sequence[str | Method] = "swat",
    distribution: Any = "uniform",
    convention: str | Convention | Sequence[str | Convention] = "swat",
    device: str | Path | Device | Sequence[str | Path | Device] = "rtx2080ti",
    batch_size: int | Iterable[int] = 32,
    paired: bool = False,
    source: Any = None,
    default_act_sparsity: float | str | Path = DEFAULT_ACT_SPARSITY,
    steps: int = 32_000,
    first_layer: DenseOrSparse | None = None,
    last_layer: DenseOrSparse | None = None,
    keep_dense: Sequence[str] | None = None,
    selection: str | None = None,
    one_sample: bool = False,
    hidden: bool = False,
) -> pandas.DataFrame:
    """Estimates every combination of settings, by array arithmetic.

    Each setting is what `estimate` takes, or several of them. With `paired`, weights, acts, grads and period are
    taken together, the first with the first, instead of each with each; those that are single go with all. The frame
    has a row a combination, the settings in the first columns. Sparsities and reductions are fractions, times seconds;
    training_macs and inference_macs are sparse ones per sample. A period that never pays is missing (NaN).

    Raises SwatcostError for whatever `estimate` refuses.

    >>> import swatcost
    >>> frame = swatcost.sweep("resnet50", weights=[0.8, 0.9], acts=[0.8, 0.9], period=1000, paired=True)
    >>> [round(100 * reduction, 2) for reduction in frame["training_reduction"]]  # Table 3: 76.1 and 85.6
    [76.12, 85.63]
    """
    import pandas

    network = checked_network(network)
    steps = checked_count(steps, "steps")
    default_act_sparsity = checked_default(default_act_sparsity, network)
    targets = [_sparsities(each, name) for each, name in ((weights, "weights"), (acts, "acts"), (grads, "grads"))]
    periods = numpy.array([checked_count(each, "period") for each in _several(period)])
    asked = _pairs([*targets, periods]) if paired else _grid(targets)
    executed = counted_costs(network, SparsityPlan.dense(network), EXACT, steps, 0.0).training.dense
    selecting = Selecting(selection, bool(one_sample), bool(hidden))
    frames = []
    for choice in product(*(list(_several(each)) for each in (method, distribution, convention, device, batch_size))):
        of_method = METHODS.choose(choice[0])
        selecting.check(of_method)
        strategy = from_function(choice[1]) if callable(choice[1]) else DISTRIBUTIONS.choose(choice[1])
        under = CONVENTIONS.choose(choice[2])
        profile = choice[3] if isinstance(choice[3], Device) else load_device(choice[3])
        samples = checked_count(choice[4], "batch_size")
        request, kept = spread_request(network, of_method, strategy, source, first_layer, last_layer, keep_dense)
        for start in range(0, len(asked[0]), _MOST_AT_ONCE):
            part = [each[start : start + _MOST_AT_ONCE] for each in asked]
            plan = _plan(network, of_method, strategy, request, kept, part[:3])
            columns = _estimates(
                network, plan, under, profile, samples, steps, default_act_sparsity, executed, selecting
            )
            settings = {
                "method": of_method.name,
                "distribution": strategy.name,
                "convention": under.name,
                "device": profile.name,
                "batch_size": samples,
                "weights": part[0],
                "acts": part[1],
                "grads": part[2],
            }
            at = part[3] if paired else periods
            frames.append(pandas.DataFrame(_with_periods(settings, columns, at, paired, hidden)))
    return pandas.concat(frames, ignore_index=True)


def _several(value: Any) -> Iterable[Any]:
    """What was given, as several: a name, a number or a function is one."""
    single = isinstance(value, str | bytes | Path | Method | Distribution | Convention | Device) or callable(value)
    if single or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        return [value.item() if getattr(value, "ndim", 1) == 0 and hasattr(value, "item") else value]
    several = list(value)
    if not several:
        raise SwatcostError("a setting of no choices: give at least one")
    return several


def _sparsities(value: Any, name: str) -> Array:
    """Targets as an array; NaN stands for one that was not given."""
    if value is None:
        return numpy.array([numpy.nan])
    if isinstance(value, numpy.ndarray) and value.dtype.kind == "f":
        if value.size and not (value.min() >= 0 and value.max() < 1):
            checked_sparsity(float(value[(value < 0) | ~(value < 1)][0]), name)
        found = value.astype(float).reshape(-1)
    else:
        found = numpy.array([checked_sparsity(each, name) for each in _several(value)])
    if not found.size:
        raise SwatcostError(f"{name}: give at least one sparsity")
    return found


def _grid(targets: list[Array]) -> list[Array]:
    return [each.reshape(-1) for each in numpy.meshgrid(*targets, indexing="ij")]


def _pairs(settings: list[Array]) -> list[Array]:
    lengths = {len(each) for each in settings} - {1}
    if len(lengths) > 1:
        raise SwatcostError(f"paired settings have to be equally many, not {' and '.join(map(str, sorted(lengths)))}")
    return [numpy.broadcast_to(each, max(lengths, default=1)) for each in settings]


def _plan(
    network: Network,
    method: Method,
    distribution: Distribution,
    request: Spread,
    kept: dict[str, str],
    targets: list[Array],
) -> SparsityPlan:
    """A plan whose numbers are arrays, one element a setting."""
    weights, acts, grads = targets
    operands: tuple[tuple[Operand, str, Array], ...] = (
        ("weight", "weights", weights),
        ("activation", "acts", acts),
        ("output", "grads", grads),
    )
    for operand, name, asked in operands:
        if not numpy.isnan(asked).all():
            checked_target(method, operand, float(numpy.nanmax(asked)), name)
    of_weights: dict[str, Array] = {}
    of_acts: dict[str, Array] = {}
    if method.uses("weight"):
        of_weights = _spread(distribution.spread, distribution, request, weights, "weight")
    if method.uses("activation"):
        if distribution.spread_acts is not None:
            of_acts = _spread(distribution.spread_acts, None, request, acts, "activation")
        elif distribution.acts_follow_weights:
            of_acts = _spread(
                distribution.spread, distribution, request, numpy.where(numpy.isnan(acts), weights, acts), "activation"
            )
        elif not numpy.isnan(acts).any():
            of_acts = _spread(distribution.spread, distribution, request, acts, "activation")
    outputs = numpy.nan_to_num(grads) if method.uses("output") else 0.0
    numbers: dict[str, Any] = {"weights": weights, "acts": numpy.nan_to_num(acts), "grads": grads}
    return SparsityPlan(
        method=method,
        distribution=distribution,
        layers=assembled(network, method, request, of_weights, of_acts, outputs),
        kept_dense=kept,
        **numbers,
    )


def _spread(
    function: Callable[[Spread], Any], piecewise: Distribution | None, request: Spread, targets: Array, operand: str
) -> dict[str, Array]:
    """A strategy's numbers for many targets: between those where it bends, or for each different one."""

    def asked(target: float) -> dict[str, float]:
        return checked_sparsities(function(replace(request, target=None if isnan(target) else float(target))), operand)

    bends = piecewise.bends(request) if piecewise is not None and piecewise.bends is not None else None
    different, place = numpy.unique(targets, return_inverse=True)
    if bends is not None and len(different) > len(bends) and bends[0] <= different[0] and different[-1] <= bends[-1]:
        tables = [asked(bend) for bend in bends]
        lines = {weight: tuple(table[weight] for table in tables) for weight in tables[0]}
        drawn = {line: numpy.interp(targets, bends, line) for line in set(lines.values())}  # like layers share one
        return {weight: drawn[line] for weight, line in lines.items()}
    tables = [asked(each) for each in different]
    return {weight: numpy.array([table[weight] for table in tables])[place] for weight in tables[0]}


def _estimates(
    network: Network,
    plan: SparsityPlan,
    convention: Convention,
    device: Device,
    batch_size: int,
    steps: int,
    default_act_sparsity: float,
    executed_macs: float,
    selecting: Selecting,
) -> dict[str, Any]:
    """Columns that do not depend on the period."""
    costs = counted_costs(network, plan, convention, steps, default_act_sparsity * plan.asks_for_sparsity)
    compression = plan.model_compression(network)
    return {
        "training_reduction": costs.training.reduction,
        "inference_reduction": costs.inference.reduction,
        "activation_reduction": activation_reduction(network, plan, convention),
        "weight_sparsity": 1 - 1 / compression,
        "model_compression": compression,
        "training_macs": costs.training.sparse,
        "inference_macs": costs.inference.sparse,
        "dense_step_seconds": device.dense_step(
            network.name, executed_macs, batch_size, network.traffic_bytes(batch_size)
        ).seconds,
        "topk_seconds": topk_seconds(network, plan, device, batch_size, selecting),
    }


def _with_periods(
    settings: dict[str, Any], columns: dict[str, Any], periods: Any, paired: bool, hidden: bool
) -> dict[str, Any]:
    """Every setting with every period, or with its own; the speedups of each."""
    count = len(settings["weights"])
    times = 1 if paired else len(periods)
    whole: dict[str, Any] = {
        name: numpy.repeat(numpy.broadcast_to(value, count), times) if not isinstance(value, str) else value
        for name, value in {**settings, **columns}.items()
    }
    whole["period"] = periods if paired else numpy.tile(periods, count)
    reduction, step, selection = (whole[name] for name in ("training_reduction", "dense_step_seconds", "topk_seconds"))
    whole["speedup"] = topk.speedup(
        dense_step_seconds=step,
        training_reduction=reduction,
        topk_seconds=selection,
        period=whole["period"],
        hidden=hidden,
    )
    whole["speedup_limit"] = topk.speedup_limit(reduction)
    whole["break_even_period"] = _break_even(step, reduction, selection, hidden)
    order = [*settings, "period", *columns, "speedup", "speedup_limit", "break_even_period"]
    return {name: whole[name] for name in order}


def _break_even(step: Array, reduction: Array, selection: Array, hidden: bool) -> Array:
    """`topk.break_even_period` of every setting; NaN where there is none."""
    saved = reduction * step
    with numpy.errstate(divide="ignore", invalid="ignore"):
        first = numpy.maximum(1, numpy.ceil(selection / (step if hidden else saved)))
    return numpy.where(selection == 0, 1, numpy.where(saved > 0, first, numpy.nan))
