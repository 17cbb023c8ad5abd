"""The user's own defaults, from a config file or the environment.

The command line overrides the environment, the environment the file, and the file the built-in defaults. The library
ignores them all. A command prints the defaults that it took from here on standard error.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from swatcost.common.errors import SwatcostError
from swatcost.common.reading import LARGEST_SETTINGS, read, toml_of
from swatcost.common.registry import nearest

C = TypeVar("C", bound=click.Command)
FILE_VARIABLE = "SWATCOST_CONFIG"
_PREFIX = "SWATCOST_"
_NOT_DEFAULTS = {FILE_VARIABLE, "SWATCOST_CACHE_DIR"}
_FIXED = {"format", "no-config", "help"}  # programs that read the output rely on its format
_IGNORED = "swatcost.no_config"
_BY_RECIPE = {"plan": {"method", "period", "batch-size", "gpus", "convention"}}
"""Options by command whose default is a recipe's, or depends on others, and the user may give another: it goes first.
"""


class Default(NamedTuple):
    """A value, and the file or variable that sets it."""

    value: Any
    origin: str


@dataclass
class Taken:
    """The defaults that a command took from here; none before it is parsed."""

    context: click.Context | None = None
    defaults: Mapping[str, tuple[str, Default]] = field(default_factory=dict)

    def said(self) -> list[str]:
        """`device = a100 from FILE`, for each that was used and differs from the built-in default."""
        if self.context is None:
            return []
        built_in = {
            option.name: option.default is True if option.is_flag else option.default
            for option in settable(self.context.command).values()
        }
        return [
            f"{key} = {default.value} from {default.origin}"
            for name, (key, default) in self.defaults.items()
            if self.context.get_parameter_source(name) == click.core.ParameterSource.DEFAULT_MAP
            and self.context.params.get(name, default.value) != built_in[name]
        ]


def add_no_config(command: C) -> C:
    """Adds the option --no-config to a command, and with it the user's defaults."""
    decorate = click.option(
        "--no-config", is_flag=True, expose_value=False, is_eager=True, callback=_take,
        help=f"Ignore the config file and {_PREFIX}… variables.",
    )  # fmt: skip
    return decorate(command)


def _take(context: click.Context, option: click.Parameter, ignored: bool) -> None:
    context.meta[_IGNORED] = ignored or context.meta.get(_IGNORED, False)
    group = context.parent.command if context.parent else None
    if context.meta[_IGNORED] or context.resilient_parsing or not isinstance(group, click.Group):
        return
    options = settable(context.command)
    if not options:
        return
    found = _defaults(context, options, group)
    context.default_map = {str(options[key].name): default.value for key, default in found.items()}
    if taken := context.find_object(Taken):
        taken.context = context
        taken.defaults = {str(options[key].name): (key, default) for key, default in found.items()}


def forget_defaults(*names: str) -> None:
    """Does not print the defaults of these parameters (or of all), for a command that does not use them."""
    if taken := click.get_current_context().find_object(Taken):
        taken.defaults = {name: each for name, each in taken.defaults.items() if names and name not in names}


def settable(command: click.Command) -> dict[str, click.Option]:
    """The options whose default can be changed, by their name in a config file."""
    options = {_key(each): each for each in command.params if isinstance(each, click.Option)}
    by_recipe = _BY_RECIPE.get(str(command.name), set())
    return {
        key: each
        for key, each in options.items()
        if key not in _FIXED
        and not each.hidden
        and (each.is_flag or key in by_recipe or isinstance(each.default, str | int | float))
    }


def _key(option: click.Option) -> str:
    return max(option.opts, key=len).lstrip("-")


def _defaults(context: click.Context, options: Mapping[str, click.Option], group: click.Group) -> dict[str, Default]:
    """A command's defaults from the file and then the environment, by option name."""
    file, command = config_file(), context.command
    found: dict[str, Default] = {}
    if file is not None:
        everywhere, own = _read(file, group, context)
        for table in (everywhere, own.get(str(command.name), {})):
            found |= {key: Default(value, str(file)) for key, value in table.items() if key in options}
    for key in options:
        for variable in _variables(str(command.name), key):
            if os.environ.get(variable):
                found[key] = Default(os.environ[variable], variable)
    return found


def _variables(command: str, key: str) -> Iterator[str]:
    """An option's environment variables, the one with the command's name last."""
    for name in (key, f"{command}-{key}"):
        variable = _PREFIX + name.upper().replace("-", "_")
        if variable not in _NOT_DEFAULTS:
            yield variable


def config_file() -> Path | None:
    """The config file: SWATCOST_CONFIG, none if that is empty, or by default the user's, if it exists."""
    configured = os.environ.get(FILE_VARIABLE)
    if configured is not None:
        return Path(configured) if configured else None
    from platformdirs import user_config_path

    try:
        file = user_config_path("swatcost", appauthor=False) / "config.toml"
    except RuntimeError:  # there is no home folder
        return None
    return file if file.is_file() else None


def _read(file: Path, group: click.Group, context: click.Context) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A file's defaults for all commands, and those of each command; unknown keys are refused."""
    try:
        content = read(file, "config file", toml_of, LARGEST_SETTINGS)
    except SwatcostError as error:
        raise SwatcostError(f"{error}; correct it, or give --no-config") from None
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    known = {name: settable(command) for name, command in commands.items() if command is not None}
    anywhere = {key: option for options in known.values() for key, option in options.items()}
    everywhere: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {}
    for name, value in content.items():
        if not isinstance(value, dict):
            everywhere[name] = _checked(f"{file}: {name}", name, value, anywhere)
        elif not known.get(name):
            remedy = nearest(name, [each for each in known if known[each]])
            raise SwatcostError(f"{file}: [{name}] is not a command with defaults: {remedy}")
        else:
            own[name] = {key: _checked(f"{file}: {key} in [{name}]", key, value[key], known[name]) for key in value}
    return everywhere, own


def _checked(where: str, key: str, value: Any, known: Mapping[str, click.Option]) -> str | int | float:
    if key not in known:
        raise SwatcostError(f"{where} is not an option with a default: {nearest(key, sorted(known))}")
    if isinstance(value, dict | list):
        raise SwatcostError(f"{where}: give one value, not a {'table' if isinstance(value, dict) else 'list'}")
    if known[key].is_flag and not isinstance(value, bool | str):
        raise SwatcostError(f"{where} = {value!r:.40}: give true or false")
    if not isinstance(value, str | int | float) or (isinstance(value, bool) and not known[key].is_flag):
        raise SwatcostError(f"{where}: give one value, not a {type(value).__name__}")
    return value
