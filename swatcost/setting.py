"""The question that is asked of a network: what is made sparse, how it is counted, on which machine.

`Setting` is the home of every setting: its default, its check, its words, how it is written. The library's keywords,
the command line's options, the keys of the config file, the explorer's controls, the JSON's record of what was asked
and the commands that reports show are derived from its fields. Type checkers read the keywords from `Settings`.
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
from swatcost.distributions import DISTRIBUTIONS, Distribution, distribution_of
from swatcost.methods import METHODS, Method, checked_sparsity
from swatcost.network import Network
from swatcost.sparsity import DenseOrSparse
from swatcost.timing.selection import Selecting

if TYPE_CHECKING:
    from swatcost.accelerator import Architecture


class Settings(TypedDict, total=False):
    """The keywords of every function that takes a setting. None is as if it were not given.

    Several values are for the functions that answer several questions at once.
    """

    weights: float | Iterable[float] | None
    acts: float | Iterable[float] | None
    grads: float | Iterable[float] | None
    period: int | Iterable[int] | None
    method: str | Method | Iterable[str | Method] | None
    distribution: Any  # a function or an object of one's own, too
    convention: str | Convention | Iterable[str | Convention] | None
    device: str | Path | Device | Architecture | Iterable[str | Path | Device | Architecture] | None
    batch_size: int | Iterable[int] | None
    steps: int | None
    source: Any
    default_act_sparsity: float | str | Path | None
    first_layer: DenseOrSparse | None
    last_layer: DenseOrSparse | None
    keep_dense: Iterable[str] | None
    selection: str | None
    one_sample: bool | None
    hidden: bool | None


Kind = Literal["sparsity", "count", "name", "choice", "flag", "patterns", "file"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """What people and programs are told of a setting, and how a value of it is checked.

    `kind` is how it is written and moved. `names` gives what can be chosen, `files` says that a file will do as well.
    `check` turns a value that was given, and the setting's name, into the one that is used, or raises SwatcostError.
    `flag` is its option on the command line. `default_is` says in words what stands for a default that depends on the
    rest.
    """

    default: Any
    kind: Kind
    help: str
    check: Callable[[Any, str], Any]
    metavar: str | None = None
    flag: str | None = None
    names: Callable[[], list[str]] | None = None
    files: bool = False
    default_is: str | None = None


def _setting(default: Any, kind: Kind, help: str, check: Callable[[Any, str], Any], **more: Any) -> Any:
    return field(metadata={"option": Option(default=default, kind=kind, help=help, check=check, **more)})


def _sparsity(help: str) -> Any:
    return _setting(None, "sparsity", help, checked_sparsity)


def _count(default: int, help: str, metavar: str = "N") -> Any:
    return _setting(default, "count", help, checked_count, metavar=metavar)


def _name(default: str, registry: Registry[Any], help: str, metavar: str) -> Any:
    def chosen(value: Any, name: str) -> Any:
        return registry.choose(value)

    return _setting(default, "name", help, chosen, metavar=metavar, names=registry.names)


def _choice(values: tuple[str, ...], default_is: str, help: str) -> Any:
    def chosen(value: Any, name: str) -> Any:
        if value not in values:
            raise SwatcostError(f"{name} {value!r:.40}: give {' or '.join(map(repr, values))}")
        return value

    return _setting(None, "choice", help, chosen, names=lambda: list(values), default_is=default_is)


def _flag(flag: str, help: str) -> Any:
    return _setting(False, "flag", help, lambda value, name: bool(value), flag=flag)


def _distribution(value: Any, name: str) -> Distribution:
    return distribution_of(value)


def _device(value: Any, name: str) -> Device | Architecture:
    if isinstance(value, Device):
        return value
    if isinstance(value, str) and value in device_names():
        return load_device(value)
    from swatcost.accelerator.architecture import architecture_named  # which most estimates need nothing of

    return architecture_named(value) or load_device(value)


def _devices() -> list[str]:
    from swatcost.accelerator.architecture import architecture_names

    return [*device_names(), *architecture_names()]


def _default_act_sparsity(value: Any, name: str) -> float | str:
    """A fraction, or the path of a run's record, which only a network can be looked up in."""
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


def _patterns(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, Iterable):
        raise SwatcostError(f"{name} {value!r:.40}: give patterns of layer names")
    return (value,) if isinstance(value, str) else tuple(map(str, value))


@cache
def _timed_selections() -> list[str]:
    """The algorithms that any shipped profile has times for."""
    timed = (each.algorithm for name in device_names() for each in load_device(name).selections)
    return list(dict.fromkeys(timed))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked: made by `Setting.of`, which takes names and paths and refuses what cannot be used by its name.

    `weights`, `acts` and `grads` are target sparsities [-] of weights, activations, and outputs and their gradients.
    `asked` is what was given, by name, before names became objects.
    """

    weights: float | None = _sparsity("Weight sparsity: the fraction of zeros, in [0, 1).")
    acts: float | None = _sparsity("Activation sparsity; by default as the distribution has it, or 0.")
    grads: float | None = _sparsity("Sparsity of outputs' gradients, for meprop and dsg.")
    period: int = _count(1000, "Iterations between two Top-K selections.", "P")
    method: Method = _name("swat", METHODS, "What is sparse in which pass; see `swatcost list methods`.", "M")
    distribution: Distribution = _setting(
        "uniform", "name", "How sparsity is spread over layers; see `list distributions`.", _distribution,
        metavar="D", names=DISTRIBUTIONS.names,
    )  # fmt: skip
    convention: Convention = _name("swat", CONVENTIONS, "How MACs are counted; see `list conventions`.", "C")
    device: Device | Architecture = _setting(
        "rtx2080ti", "name", "Machine profile, or a .toml file; see `list devices`.", _device,
        metavar="D", names=_devices, files=True,
    )  # fmt: skip
    batch_size: int = _count(32, "Samples in a training step.")
    steps: int = _count(32_000, "Training steps over which a method's schedule is averaged.")
    source: Any = _setting(
        None, "file", "What the distribution reads: a table, a checkpoint, a run's record.", lambda value, name: value,
        metavar="FILE", flag="--from", files=True,
    )  # fmt: skip
    default_act_sparsity: float | str = _setting(
        DEFAULT_ACT_SPARSITY, "sparsity", "Activation sparsity assumed from ReLU, or a run's record.",
        _default_act_sparsity, metavar="S", files=True,
    )  # fmt: skip
    first_layer: DenseOrSparse | None = _choice(
        get_args(DenseOrSparse), "as the distribution has it", "The first layer."
    )
    last_layer: DenseOrSparse | None = _choice(get_args(DenseOrSparse), "sparse", "The last layer.")
    keep_dense: tuple[str, ...] | None = _setting(
        None, "patterns", "Layers to keep dense, such as '*.downsample.*'; repeatable.", _patterns, metavar="PATTERN"
    )
    selection: str | None = _setting(
        None, "name", "Find thresholds by another algorithm that the device was timed with.",
        lambda value, name: str(value), metavar="A", names=_timed_selections, default_is="the device's own",
    )  # fmt: skip
    one_sample: bool = _flag("--one-sample", "Find activations' thresholds on one sample (A.4).")
    hidden: bool = _flag("--hide-topk", "Run selections beside training (A.4).")
    asked: Mapping[str, Any] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        self.selecting.check(self.method)

    @staticmethod
    def of(**given: Unpack[Settings]) -> Setting:
        """The setting with these values; None, and what is not given, is the default.

        Raises SwatcostError for what cannot be used, and TypeError for a setting that does not exist.
        """
        return EVERY_SETTING.setting(given)

    def but(self, **given: Unpack[Settings]) -> Setting:
        """This setting with other values for some; None is the default again."""
        return EVERY_SETTING.setting({**self.asked, **given})

    @property
    def selecting(self) -> Selecting:
        """How thresholds are found."""
        return Selecting(self.selection, self.one_sample, self.hidden)

    @property
    def profile(self) -> Device:
        """The machine's times; an architecture's are those of its multipliers at full use."""
        if isinstance(self.device, Device):
            return self.device
        from swatcost.accelerator.architecture import device_of

        return device_of(self.device)

    def counting(self, network: Network) -> Counting:
        """How the network's work is counted. Raises SwatcostError for the record of another network's run."""
        zeros = self.default_act_sparsity
        if isinstance(zeros, str):
            from swatcost.counting.default_sparsity import measured_default

            zeros = checked_sparsity(measured_default(zeros, network), "default_act_sparsity")
        return Counting(convention=self.convention, steps=self.steps, default_act_sparsity=zeros)

    def record(self) -> dict[str, Any]:
        """What was asked as plain data, defaults included."""
        return {name: _plain(self._said(name, option)) for name, option in OPTIONS.items()}

    def words(self) -> list[str]:
        """The options of a command line that asks this, defaults left out."""
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
                    for each in (value if option.kind == "patterns" else [value])
                    for word in (flag, _written(each))
                ]
        return found

    def _said(self, name: str, option: Option) -> Any:
        """A value as it is said: of what is chosen by name or path, that; of anything else, what is used."""
        return self.asked.get(name, option.default) if option.kind in ("name", "file") else getattr(self, name)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return list(map(_plain, value))
    return getattr(value, "name", None) or getattr(value, "__name__", None) or f"a {type(value).__name__}"


def _written(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)  # sliders add up: 0.8100000000000001


OPTIONS: Mapping[str, Option] = {
    each.name: each.metadata["option"] for each in fields(Setting) if "option" in each.metadata
}
"""What is said of each setting, by its name, in the order in which help shows them."""


def command_line(model: Sequence[str], setting: Setting) -> str:
    """The command of an estimate of a model, given with the options that load it, with this setting."""
    return shlex.join(["swatcost", *model, *setting.words()])


def option_name(name: str) -> str:
    """A setting's option on the command line."""
    return OPTIONS[name].flag or f"--{name.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The settings that a function takes, where those are not all of them, or not with their defaults.

    `without` says why some are left out; `defaults` has other defaults; `default_is` says in words what a default
    depends on, where the function finds one itself; `help` has other words; `several` may be several values.
    """

    without: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    default_is: Mapping[str, str] = field(default_factory=dict)
    help: Mapping[str, str] = field(default_factory=dict)
    several: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Option]:
        """The settings that are taken, with the defaults they have here."""
        found = {}
        for name, option in OPTIONS.items():
            if name in self.without:
                continue
            if name in self.default_is:
                option = replace(option, default=None, default_is=self.default_is[name])
            if name in self.defaults:
                option = replace(option, default=self.defaults[name], default_is=None)
            found[name] = replace(option, help=self.help.get(name, option.help))
        return found

    def given(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What was given and is not None. Raises TypeError for unknown names, SwatcostError for those left out."""
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
        """The setting that these keywords ask for."""
        asked = {**self.defaults, **self.given(settings)}
        values: dict[str, Any] = {}
        for name, option in OPTIONS.items():
            value = asked.get(name, option.default)
            values[name] = None if value is None else option.check(value, name)
        return Setting(**values, asked=FrozenMapping(asked))


EVERY_SETTING = Scope()
"""That of an estimate."""
