"""All combinations of settings as arrays: a grid of targets and periods for each choice of the other settings."""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy
import pandas

from swatcost.common.errors import SwatcostError
from swatcost.common.several import pairs, several
from swatcost.common.units import checked_count
from swatcost.methods import METHODS, Method, checked_sparsity
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.planning.vectorised import Array, Vectorised, times_of
from swatcost.setting import EVERY_SETTING, OPTIONS, Scope
from swatcost.timed_step import timed_network

_PERIOD = OPTIONS["period"].default
_MOST_ROWS = 10_000_000  # about 2 GB
_CHUNK = 50_000  # settings whose layers are in memory at once


def swept(network: Network, given: dict[str, Any], scope: Scope, paired: bool) -> pandas.DataFrame:
    """The frame of `planning.sweep`; the settings that the scope allows several of may have several values."""
    targets = [_sparsities(given.pop(name, None), name) for name in OPERANDS]
    periods = numpy.array([checked_count(each, "period") for each in several(given.pop("period", _PERIOD), "period")])
    if paired:
        count = pairs(*map(len, targets), len(periods))
        *targets, periods = (numpy.broadcast_to(each, count) for each in (*targets, periods))
    names = [name for name in scope.several if name not in (*OPERANDS, "period")]
    choices = {name: several(given.pop(name, OPTIONS[name].default), name) for name in names}
    if not paired:
        _check_size([*map(len, targets), len(periods), *map(len, choices.values())])
    methods = [METHODS.choose(each) for each in choices["method"]]
    frames = []
    for choice in product(*choices.values()):
        asked = EVERY_SETTING.setting({**given, **dict(zip(choices, choice, strict=True))})
        vectorised = Vectorised(network=timed_network(network, asked), setting=asked)
        own = _of_method(asked.method, methods, targets)
        grid = list(numpy.broadcast_arrays(*own, periods)[:3]) if paired else _grid(own)
        for start in range(0, len(grid[0]), _CHUNK):
            part = [each[start : start + _CHUNK] for each in grid]
            try:
                columns = vectorised.columns(*part)
            except SwatcostError as error:
                raise SwatcostError(f"{asked.method.name} with {asked.distribution.name}: {error}") from None
            named = {
                "method": asked.method.name,
                "distribution": asked.distribution.name,
                "convention": asked.convention.name,
                "device": asked.profile.name,
                "batch_size": asked.batch_size,
                "weights": part[0],
                "acts": part[1],
                "grads": part[2],
            }
            at = periods[start : start + _CHUNK] if paired else periods
            frames.append(pandas.DataFrame(_with_periods(named, columns, at, paired, asked.hidden)))
    return pandas.concat(frames, ignore_index=True)


def _check_size(counts: list[int]) -> None:
    if prod(counts) > _MOST_ROWS:
        raise SwatcostError(
            f"a sweep of {' × '.join(f'{each:,}' for each in counts if each > 1)} = {prod(counts):,} combinations: "
            f"give fewer values, for at most {_MOST_ROWS:,}"
        )


def _of_method(method: Method, methods: Sequence[Method], targets: list[Array]) -> list[Array]:
    """The targets without those that only other methods of the sweep use."""
    missing = numpy.array([numpy.nan])
    return [
        target if method.uses(operand) or not any(other.uses(operand) for other in methods) else missing
        for operand, target in zip(OPERANDS.values(), targets, strict=True)
    ]


def _sparsities(value: Any, name: str) -> Array:
    """Targets as an array; NaN if none was given."""
    if value is None:
        return numpy.array([numpy.nan])
    if isinstance(value, numpy.ndarray) and value.dtype.kind == "f":
        if value.size and not (value.min() >= 0 and value.max() < 1):
            checked_sparsity(float(value[(value < 0) | ~(value < 1)][0]), name)
        found = value.astype(float).reshape(-1)
    else:
        found = numpy.array([checked_sparsity(each, name) for each in several(value, name)])
    if not found.size:
        raise SwatcostError(f"{name}: give at least one sparsity")
    return found


def _grid(targets: list[Array]) -> list[Array]:
    return [each.reshape(-1) for each in numpy.meshgrid(*targets, indexing="ij")]


def _with_periods(
    settings: dict[str, Any], columns: dict[str, Any], periods: Any, paired: bool, hidden: bool
) -> dict[str, Any]:
    """Every setting with every period (with its own if paired), and the resulting speedups."""
    count = len(settings["weights"])
    times = 1 if paired else len(periods)
    whole: dict[str, Any] = {
        name: numpy.repeat(numpy.broadcast_to(value, count), times) if not isinstance(value, str) else value
        for name, value in {**settings, **columns}.items()
    }
    whole["period"] = periods if paired else numpy.tile(periods, count)
    found = times_of(whole, len(whole["period"]), hidden)
    whole["attainable_speedup"] = found.attainable.speedup(whole["period"])
    whole["speedup"] = found.speedup(whole["period"])
    whole["speedup_limit"] = found.speedup_limit
    whole["break_even_period"] = found.break_even_period()
    order = [*settings, "period", *columns, "attainable_speedup", "speedup", "speedup_limit", "break_even_period"]
    return {name: whole[name] for name in order}
