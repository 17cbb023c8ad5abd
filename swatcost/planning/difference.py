"""Two saved estimates (what `--format json` printed): what changed, layer by layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from swatcost.common.errors import SwatcostError
from swatcost.common.reading import LARGEST_JSON, Amount, Share, json_of, read, read_bytes
from swatcost.common.result import Result
from swatcost.network.fields import LARGEST
from swatcost.network.passes import PASSES

_SETTINGS = (
    "model", "input_shape", "batch_size", "method", "distribution", "convention", "device", "topk_period", "steps",
    "default_act_sparsity", "swatcost_version",
)  # fmt: skip
_ADDED_UP = 1e-9  # relative: what sums in another order may differ by
_AGREEMENT = 1e-12  # relative: what two runs of the same arithmetic may differ by


_Positive = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]


class _DenseSparse(msgspec.Struct):
    dense: Amount
    sparse: Amount


class _Layer(msgspec.Struct):
    name: str
    kind: str
    macs: dict[Literal["forward", "grad_input", "grad_weight", "recompute"], _DenseSparse]
    weight_sparsity: Share
    act_sparsity: Share


class _Estimate(msgspec.Struct):
    """What is compared; all of it is in every saved estimate."""

    schema: Literal["swatcost.estimate/1"]
    model: str
    input_shape: list[Any]
    batch_size: _Positive
    method: str
    distribution: str
    convention: str
    device: str
    topk_period: _Positive
    totals: dict[str, Any]
    layers: list[_Layer]
    targets: dict[Literal["weights", "acts", "grads"], Share | None]
    setting: dict[str, Any]
    steps: _Positive | None
    default_act_sparsity: Share | None
    swatcost_version: str


@dataclass(frozen=True, kw_only=True)
class LayerChange:
    """A layer in the first and in the second estimate; None where it is not there.

    Each is (weight sparsity [-], activation sparsity [-], dense training MACs, sparse training MACs), per sample.
    """

    name: str
    first: tuple[float, float, float, float] | None
    second: tuple[float, float, float, float] | None

    @property
    def added_macs(self) -> float:
        """Sparse training MACs of the second less those of the first."""
        return (self.second[3] if self.second else 0.0) - (self.first[3] if self.first else 0.0)


@dataclass(frozen=True, kw_only=True, repr=False)
class Difference(Result):
    """What changed from the first to the second. Its repr is the report.

    `settings` and `totals` hold (first, second) of what differs, None for what one of them does not have; `layers`
    those that differ, in order of appearance; `alike` is how many do not.
    """

    report = "difference"

    names: tuple[str, str]
    settings: dict[str, tuple[Any, Any]]
    totals: dict[str, tuple[float | None, float | None]]
    layers: tuple[LayerChange, ...]
    alike: int


def saved_estimates(paths: Sequence[str]) -> tuple[str, str] | None:
    """The two saved estimates that are to be compared; None if none of the paths is one.

    Raises SwatcostError for anything but two of them.
    """
    saved = [_is_saved_estimate(each) for each in paths]
    if not any(saved):
        return None
    if len(paths) != 2 or not all(saved):
        one = paths[saved.index(True)]
        others = ", ".join(each for each, is_saved in zip(paths, saved, strict=True) if not is_saved)
        beside = f", {others} {'are' if ',' in others else 'is'} not" if others else ""
        raise SwatcostError(f"{one} is a saved estimate{beside}: give two of them to compare")
    return paths[0], paths[1]


def _is_saved_estimate(path: str) -> bool:
    """Whether the file says that it is an estimate, not a trace."""
    if Path(path).suffix != ".json":
        return False
    try:
        content = msgspec.json.decode(read_bytes(path, LARGEST_JSON), type=dict[str, msgspec.Raw])
        return bytes(content.get("schema", msgspec.Raw(b""))).startswith(b'"swatcost.estimate/')
    except (ValueError, RecursionError):
        return False


def difference(first: str | Path, second: str | Path) -> Difference:
    """Compares two saved estimates.

    Raises SwatcostError for a file that cannot be read or is no estimate.
    """
    one, other = _read(first), _read(second)
    before, after = ({name: getattr(each, name) for name in _SETTINGS} | each.targets for each in (one, other))
    pairs = {name: (before.get(name), after.get(name)) for name in before | after}
    settings = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    known = {*pairs, "period"}  # a period stands there as topk_period
    settings |= {
        name: (value, other.setting[name])
        for name, value in one.setting.items()
        if name not in known and name in other.setting and value != other.setting[name]
    }
    numbers = _numbers(one.totals), _numbers(other.totals)
    totals = {name: (numbers[0].get(name), numbers[1].get(name)) for name in numbers[0] | numbers[1]}
    totals = {name: pair for name, pair in totals.items() if _differ(*pair)}
    layers = _layers(one), _layers(other)
    changes = [
        LayerChange(name=name, first=layers[0].get(name), second=layers[1].get(name)) for name in layers[0] | layers[1]
    ]
    changed = tuple(each for each in changes if _changed(each))
    return Difference(
        names=(str(first), str(second)), settings=settings, totals=totals, layers=changed,
        alike=len(changes) - len(changed),
    )  # fmt: skip


def _read(path: str | Path) -> _Estimate:
    return read(path, "saved estimate", _estimate, LARGEST_JSON)


def _estimate(text: str) -> _Estimate:
    """An estimate from its JSON. Raises ValueError if its numbers are impossible or its layers do not add up."""
    found = msgspec.convert(json_of(text), _Estimate)
    numbers = _numbers(found.totals)
    for name, value in numbers.items():
        most = 1 if name.endswith(("_reduction", "_sparsity")) else 1e30
        least = -1e30 if name.endswith("_reduction") else 0
        if not least <= value <= most:
            raise ValueError(f"totals.{name} is {value:g}")
    for in_pass in PASSES:
        for which in ("dense", "sparse"):
            total, name = numbers.get(f"macs.{in_pass}.{which}"), f"macs.{in_pass}.{which}"
            if any(in_pass not in each.macs for each in found.layers):
                raise ValueError(f"a layer has no {in_pass} MACs")
            of_layers = sum(getattr(each.macs[in_pass], which) for each in found.layers)
            if total is None or not math.isclose(total, of_layers, rel_tol=_ADDED_UP, abs_tol=_ADDED_UP):
                raise ValueError(f"its layers' {name} add up to {of_layers:.10g}, but totals has {total}")
    return found


def _numbers(totals: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number of a nested object, by its path."""
    found: dict[str, float] = {}
    for name, value in totals.items():
        if isinstance(value, dict):
            found |= _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = float(value)
    return found


def _layers(of: _Estimate) -> dict[str, tuple[float, float, float, float]]:
    """By name, with a number where a layer runs more than once."""
    found: dict[str, tuple[float, float, float, float]] = {}
    for each in of.layers:
        name, call = each.name, 1
        while name in found:
            call += 1
            name = f"{each.name} ×{call}"
        passes = [each.macs[in_pass] for in_pass in (*PASSES, "recompute") if in_pass in each.macs]
        dense, sparse = sum(cost.dense for cost in passes), sum(cost.sparse for cost in passes)
        found[name] = (each.weight_sparsity, each.act_sparsity, dense, sparse)
    return found


def _changed(change: LayerChange) -> bool:
    if change.first is None or change.second is None:
        return True
    return any(_differ(*each) for each in zip(change.first, change.second, strict=True))


def _differ(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > _AGREEMENT * max(abs(one), abs(other))
