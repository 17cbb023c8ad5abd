"""Settings of an estimate: what is made sparse, how it is counted, on which device.

`Setting` defines every setting: its default, check, help and notation. The library's keywords, the command line's
options, the keys of the config file, the explorer's controls, `setting` in the JSON and the commands that reports show
are derived from its fields. Type checkers read the keywords from `Settings`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args

from swatcost.common.errors import SwatcostError
from swatcost.common.frozen_mapping import FrozenMapping
from swatcost.common.registry import Registry, nearest
from swatcost.common.units import checked_count, fraction_from
from swatcost.counting import CONVENTIONS, DEFAULT_ACT_SPARSITY, Convention, Counting
from swatcost.devices import Device, device_names, load_device
from swatcost.distributions import DISTRIBUTIONS, DenseBudget, Distribution, distribution_of
from swatcost.memory.optimizers import OPTIMIZERS
from swatcost.memory.precisions import PRECISIONS
from swatcost.methods import METHODS, Method, checked_sparsity
from swatcost.network import Network
from swatcost.sparsity import DenseOrSparse
from swatcost.timing.selection import Selecting

if TYPE_CHECKING:
    from swatcost.accelerator import Architecture


class Settings(TypedDict, total=False):
    """The keywords of every function that takes settings; None means the default.

    Several values are for functions that estimate several settings at once.
    """

    weights: float | Iterable[float] | None
    acts: float | Iterable[float] | None
    grads: float | Iterable[float] | None
    period: int | Iterable[int] | None
    method: str | Method | Iterable[str | Method] | None
    distribution: Any  # also a user's function or Distribution
    convention: str | Convention | Iterable[str | Convention] | None
    device: str | Path | Device | Architecture | Iterable[str | Path | Device | Architecture] | None
    batch_size: int | Iterable[int] | None
    steps: int | None
    source: Any
    default_act_sparsity: float | str | Path | None
    first_layer: DenseOrSparse | None
    last_layer: DenseOrSparse | None
    keep_dense: Iterable[str] | None
    dense_budget: DenseBudget | None
    selection: str | None
    one_sample: bool | None
    hidden: bool | None
    precision: str | None
    optimizer: str | None
    mfu: float | str | None


Kind = Literal["sparsity", "count", "name", "choice", "flag", "patterns", "file"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """How a setting is documented, written and checked.

    `kind` decides its notation and its control in the explorer. `names` gives the choices; `files` says that a file
    is accepted too; `parameters` gives how a name that parameters follow can go on, from what is typed. `check`
    converts a given value, with the setting's name for messages, to the one that is used, or raises SwatcostError.
    `flag` is its option on the command line. `default_is` describes a default that depends on other settings.
    """

    default: Any
    kind: Kind
    help: str
    check: Callable[[Any, str], Any]
    metavar: str | None = None
    flag: str | None = None
    names: Callable[[], list[str]] | None = None
    files: bool = False
    parameters: Callable[[str], list[str]] = lambda begun: []
    default_is: str | None = None


def _setting(default: Any, kind: Kind, help: str, check: Callable[[Any, str], Any], **more: Any) -> Any:
    return field(metadata={"option": Option(default=default, kind=kind, help=help, check=check, **more)})


def _sparsity(help: str) -> Any:
    return _setting(None, "sparsity", help, checked_sparsity)


def _count(default: int, help: str, metavar: str = "N") -> Any:
    return _setting(default, "count", help, checked_count, metavar=metavar)


def _name(default: str, registry: Registry[Any], help: str, metavar: str, **more: Any) -> Any:
    def chosen(value: Any, name: str) -> Any:
        return registry.choose(value)

    return _setting(default, "name", help, chosen, metavar=metavar, names=registry.names, **more)


def _choice(values: tuple[str, ...], default_is: str, help: str) -> Any:
    def chosen(value: Any, name: str) -> Any:
        if value not in values:
            raise SwatcostError(f"{name} {value!r:.40}: give {' or '.join(map(repr, values))}")
        return value

    return _setting(None, "choice", help, chosen, names=lambda: list(values), default_is=default_is)


def _flag(flag: str, help: str) -> Any:
    return _setting(False, "flag", help, lambda value, name: bool(value), flag=flag)


def _precision(value: Any, name: str) -> str:
    return PRECISIONS.choose(value).name


def _optimizer(value: Any, name: str) -> str:
    return OPTIMIZERS.choose(value).name


def _utilisation(value: Any, name: str) -> float:
    """A share of the device's peaks, from a millionth to 1."""
    found = fraction_from(value) if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, int | float) or not 1e-6 <= found <= 1:
        raise SwatcostError(f"{name} {value!r:.40}: give a share of the device's peak, such as 0.4 or 40%")
    return float(found)


def _distribution(value: Any, name: str) -> Distribution:
    return distribution_of(value)


def _device(value: Any, name: str) -> Device | Architecture:
    if isinstance(value, Device):
        return value
    if isinstance(value, str) and value in device_names():
        return load_device(value)
    from swatcost.accelerator.architecture import architecture_named  # not needed by most estimates

    return architecture_named(value) or load_device(value)


def _devices() -> list[str]:
    from swatcost.accelerator.architecture import architecture_names

    return [*device_names(), *architecture_names()]


def _default_act_sparsity(value: Any, name: str) -> float | str:
    """A fraction, or the path of a run's record, which is read once the network is known."""
    if isinstance(value, str | Path):
        try:
            value = fraction_from(str(value))
        except SwatcostError:
            if str(value).endswith(".jsonl"):
                return str(value)
            raise SwatcostError(
                f"{name} {str(value)!r:.80}: give a fraction of zeros, or a run's record (.jsonl)"
            ) from None
    return checked_sparsity(value, name)


NO_PATTERN = "none"  # as patterns: no layer, not even those that are kept dense by default


def _patterns(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, Iterable):
        raise SwatcostError(f"{name} {value!r:.40}: give patterns of layer names")
    patterns = (value,) if isinstance(value, str) else tuple(map(str, value))
    if NO_PATTERN in patterns and len(patterns) > 1:
        raise SwatcostError(f"{name} {NO_PATTERN} goes with no other pattern: leave one of them out")
    return () if patterns == (NO_PATTERN,) else patterns


@cache
def _timed_selections() -> list[str]:
    """The algorithms that any shipped profile has times for."""
    return list(dict.fromkeys(each for name in device_names() for each in load_device(name).algorithms))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The settings of an estimate. `Setting.of` makes them from names and paths, and checks them.

    `weights`, `acts` and `grads` are target sparsities [-] of weights, activations, and outputs and their gradients.
    `asked` holds the values as given, by name, before names were resolved to objects.
    """

    weights: float | None = _sparsity("Weight sparsity: the fraction of zeros, in [0, 1).")
    acts: float | None = _sparsity("Activation sparsity; by default that of the distribution, or 0.")
    grads: float | None = _sparsity("Sparsity of outputs' gradients, for meprop and dsg.")
    period: int = _count(1000, "Iterations between Top-K refreshes.", "P")
    method: Method = _name(
        "swat", METHODS, "Sparse training method, such as rigl or rigl:delta_t=200; see `swatcost list methods`.", "M",
        parameters=METHODS.parameters_after,
    )  # fmt: skip
    distribution: Distribution = _setting(
        "uniform", "name", "How sparsity is distributed over layers; see `list distributions`.", _distribution,
        metavar="D", names=DISTRIBUTIONS.names,
    )  # fmt: skip
    convention: Convention = _name("swat", CONVENTIONS, "How MACs are counted; see `list conventions`.", "C")
    device: Device | Architecture = _setting(
        "rtx2080ti", "name", "Device profile, or a .toml file; see `list devices`.", _device,
        metavar="D", names=_devices, files=True,
    )  # fmt: skip
    batch_size: int = _count(32, "Samples in a training step.")
    steps: int = _count(32_000, "Training steps over which a method's schedule is averaged.")
    source: Any = _setting(
        None, "file", "What the distribution reads: a table or its text, a checkpoint, a run's record.",
        lambda value, name: value,
        metavar="FILE", flag="--from", files=True,
    )  # fmt: skip
    default_act_sparsity: float | str = _setting(
        DEFAULT_ACT_SPARSITY, "sparsity", "Activation sparsity assumed after ReLU: a fraction, or a run's record.",
        _default_act_sparsity, metavar="S", files=True,
    )  # fmt: skip
    first_layer: DenseOrSparse | None = _choice(
        get_args(DenseOrSparse), "the distribution's", "Keep the first layer dense, or make it sparse."
    )
    last_layer: DenseOrSparse | None = _choice(
        get_args(DenseOrSparse), "sparse", "Keep the last layer dense, or make it sparse."
    )
    keep_dense: tuple[str, ...] | None = _setting(
        None, "patterns", "Layers to keep dense, such as '*.downsample.*' or attention, or none; repeatable.",
        _patterns, metavar="PATTERN", default_is="the method's",
    )  # fmt: skip
    dense_budget: DenseBudget | None = _choice(
        get_args(DenseBudget),
        "inside",
        "Whether layers kept dense count towards the target of er, erk, momentum, global.",
    )
    selection: str | None = _setting(
        None, "name", "Top-K algorithm; the device profile must have times for it.",
        lambda value, name: str(value), metavar="A", names=_timed_selections, default_is="the device's own",
    )  # fmt: skip
    one_sample: bool = _flag("--one-sample", "Find activation thresholds on one sample (SWAT, A.4).")
    hidden: bool = _flag("--hide-topk", "Overlap Top-K with training (SWAT, A.4).")
    precision: str | None = _setting(
        None, "name", "In what a step is timed: fp32, amp, …; see `swatcost list precisions`.", _precision,
        metavar="P", names=PRECISIONS.names, default_is="fp32, or the trace's",
    )  # fmt: skip
    optimizer: str = _setting(
        "momentum", "name", "The optimizer, whose update is part of a step; see `list optimizers`.", _optimizer,
        metavar="O", names=OPTIMIZERS.names,
    )  # fmt: skip
    mfu: float | None = _setting(
        None, "name", "Time a dense step at this share of the device's dense peak, such as 40%.", _utilisation,
        metavar="X", default_is="what its profile says",
    )  # fmt: skip
    asked: Mapping[str, Any] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        self.selecting.check(self.method)

    @staticmethod
    def of(**given: Unpack[Settings]) -> Setting:
        """The setting with these values; None, or leaving a value out, means the default.

        Raises SwatcostError for invalid values, and TypeError for a setting that does not exist.
        """
        return EVERY_SETTING.setting(given)

    def but(self, **given: Unpack[Settings]) -> Setting:
        """This setting with some values replaced; None restores the default."""
        return EVERY_SETTING.setting({**self.asked, **given})

    @property
    def selecting(self) -> Selecting:
        """How thresholds are found."""
        return Selecting(self.selection, self.one_sample, self.hidden)

    @property
    def profile(self) -> Device:
        """The device's times; an architecture's are those of its multipliers at full utilisation."""
        if isinstance(self.device, Device):
            return self.device
        from swatcost.accelerator.architecture import device_of

        return device_of(self.device)

    def counting(self, network: Network) -> Counting:
        """How the network's work is counted. Raises SwatcostError if a run's record is of another network."""
        zeros = self.default_act_sparsity
        if isinstance(zeros, str):
            from swatcost.counting.default_sparsity import measured_default

            zeros = checked_sparsity(measured_default(zeros, network), "default_act_sparsity")
        return Counting(
            convention=self.convention, steps=self.steps, batch_size=self.batch_size, default_act_sparsity=zeros
        )

    def record(self) -> dict[str, Any]:
        """The settings as plain data, including defaults."""
        return {name: _plain(self._said(name, option)) for name, option in OPTIONS.items()}

    def words(self) -> list[str]:
        """The settings as command-line options, without defaults."""
        found: list[str] = []
        for name, option in OPTIONS.items():
            value, flag = _plain(self._said(name, option)), option_name(name)
            if value is None or value == option.default:
                continue
            if option.kind == "flag":
                found.append(flag)
            else:
                found += [
                    word
                    for each in ((value or [NO_PATTERN]) if option.kind == "patterns" else [value])
                    for word in (flag, _written(each))
                ]
        return found

    def _said(self, name: str, option: Option) -> Any:
        """A value as written: as given if chosen by name or path, otherwise as used."""
        return self.asked.get(name, option.default) if option.kind in ("name", "file") else getattr(self, name)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return list(map(_plain, value))
    if isinstance(value, Mapping) and (text := _numbers_by_name(value)):
        return text
    return getattr(value, "name", None) or getattr(value, "__name__", None) or f"a {type(value).__name__}"


def _numbers_by_name(value: Mapping[Any, Any]) -> str:
    """A mapping of numbers as distributions read it from text; empty where it cannot be written so."""
    plain = all(isinstance(each, int | float) and not isinstance(each, bool) for each in value.values())
    if not plain or any("," in str(name) or "=" in str(name) for name in value):
        return ""
    return ",".join(f"{name}={_written(number)}" for name, number in value.items())


def _written(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)  # sliders add up: 0.8100000000000001


OPTIONS: Mapping[str, Option] = {
    each.name: each.metadata["option"] for each in fields(Setting) if "option" in each.metadata
}
"""The Option of each setting, by name, in the order in which help shows them."""


def command_line(model: Sequence[str], setting: Setting) -> str:
    """The command that estimates a model with this setting; `model` includes the options that load it."""
    return shlex.join(["swatcost", *model, *setting.words()])


def option_name(name: str) -> str:
    """A setting's option on the command line."""
    return OPTIONS[name].flag or f"--{name.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The settings that a function takes, if it does not take all of them, or takes them with other defaults.

    `without` gives the reasons why some are not taken, `own` are those that it takes as something else of the same
    name. `defaults` and `help` override those of the settings. `default_is` describes defaults that the function
    chooses itself. `several` are those that take several values.
    """

    without: Mapping[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    default_is: Mapping[str, str] = field(default_factory=dict)
    help: Mapping[str, str] = field(default_factory=dict)
    several: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Option]:
        """The settings that are taken, with their defaults in this scope."""
        found = {}
        for name, option in OPTIONS.items():
            if name in self.without or name in self.own:
                continue
            if name in self.default_is:
                option = replace(option, default=None, default_is=self.default_is[name])
            if name in self.defaults:
                option = replace(option, default=self.defaults[name], default_is=None)
            found[name] = replace(option, help=self.help.get(name, option.help))
        return found

    def given(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The given values that are not None. Raises TypeError for unknown names, SwatcostError for those not taken."""
        for name in settings:
            if name not in OPTIONS:
                raise TypeError(f"there is no setting {name!r}: {nearest(name, list(OPTIONS))}")
        found = {name: value for name, value in settings.items() if value is not None}
        for name, value in found.items():
            if name in self.without:
                raise SwatcostError(f"{name}: {self.without[name]}")
            if OPTIONS[name].kind == "patterns":  # perhaps of an iterator, which is gone once it was read
                found[name] = OPTIONS[name].check(value, name)
        return found

    def setting(self, settings: Mapping[str, Any]) -> Setting:
        """The setting that these keywords define."""
        asked = {**self.defaults, **self.given(settings)}
        values: dict[str, Any] = {}
        for name, option in OPTIONS.items():
            value = asked.get(name, option.default)
            values[name] = None if value is None else option.check(value, name)
        return Setting(**values, asked=FrozenMapping(asked))


NOT_TIMED: Mapping[str, str] = dict.fromkeys(("precision", "optimizer", "mfu"), "no time is estimated, leave it out")
"""The settings of a step's time, for scopes that take none of them."""

EVERY_SETTING = Scope()
"""The scope of an estimate: all settings with their own defaults."""
