"""Settings and rooms as tables, from the program's fields and scopes and its import contract."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

from docs.making.markdown import code_options, table
from swatcost.cli import command_named
from swatcost.cli.config import settable
from swatcost.explorer.controls import EXPLORING
from swatcost.exporting import EXPORTING
from swatcost.planning.audit import AUDITING
from swatcost.planning.comparison import COMPARING, COMPARING_NETWORKS
from swatcost.planning.conventions import COUNTING
from swatcost.planning.explanation import EXPLAINING
from swatcost.planning.inference import INFERRING
from swatcost.planning.memory import MEASURING
from swatcost.planning.run_plan import PLANNING
from swatcost.planning.solution import SOLVING
from swatcost.planning.sweep import SWEEPING
from swatcost.reference.scopes import RUNNING, TIMING, VALIDATING_OR_TIMING
from swatcost.setting import EVERY_SETTING, OPTIONS, Option, Scope, option_name
from swatcost.simulation.simulation import SIMULATING
from swatcost.simulation.study import STUDYING

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

SCOPES = {
    "sweep": SWEEPING, "solve": SOLVING, "compare": COMPARING, "compare, several models": COMPARING_NETWORKS,
    "explain": EXPLAINING, "audit": AUDITING, "conventions": COUNTING, "memory": MEASURING,
    "inference": INFERRING,
    "plan": PLANNING, "simulate": SIMULATING,
    "study": STUDYING,
    "export": EXPORTING,
    "run": RUNNING, "validate": VALIDATING_OR_TIMING, "validate --time": TIMING,
    "explore, as controls": EXPLORING,
}  # fmt: skip
"""Commands whose settings differ from those of an estimate."""


def pages() -> dict[str, str]:
    """Parts of the pages on settings and on rooms."""
    return {
        "generated/settings.md": settings(),
        "generated/setting-differences.md": differences(),
        "generated/rooms.md": rooms(),
    }


def settings() -> str:
    """Each setting, and whether its default can be changed."""
    keys = settable(command_named("estimate"))
    rows = [
        [f"`{name}`", f"`{option_name(name)}`", code_options(option.help), _default(option),
         "yes" if option_name(name).removeprefix("--") in keys else "no"]
        for name, option in OPTIONS.items()
    ]  # fmt: skip
    return table(["in Python", "option", "what it is", "default", "key in the config file"], rows, words=5)


def _default(option: Option) -> str:
    if option.default_is:
        return code_options(option.default_is)
    if option.kind == "flag":
        return "off"
    return "none" if option.default is None else f"`{option.default}`"


def differences() -> str:
    """For each command: the settings it does not take and why, its own defaults, and where it takes several values."""
    rows = [[f"`{command}`" if " " not in command else command, *row] for command, scope in SCOPES.items()
            for row in _differences(scope)]  # fmt: skip
    return table(["command", "settings", "difference"], rows, words=3)


def _differences(scope: Scope) -> list[list[str]]:
    usual = EVERY_SETTING.options
    said: dict[str, list[str]] = {}
    for name, reason in scope.without.items():
        said.setdefault(f"not taken: {code_options(reason)}", []).append(name)
    for name, option in scope.options.items():
        if (option.default, option.default_is) != (usual[name].default, usual[name].default_is):
            said.setdefault(f"default: {_default(option)}", []).append(name)
    if scope.several:
        said["several values, separated by commas"] = list(scope.several)
    return [[", ".join(f"`{option_name(each)}`" for each in names), words] for words, names in said.items()]


def rooms() -> str:
    """The layers of the import contract, with the first sentence of each room's docstring."""
    contracts = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    rows = []
    for layer in layers:
        names = layer.split(" | ")
        holds = [_sentence(import_module(f"swatcost.{name}").__doc__) for name in names]
        if len(names) > 1:
            holds = [f"`{name}`: {words}" for name, words in zip(names, holds, strict=True)]
        rows.append([", ".join(f"`{name}`" for name in names), " ".join(holds)])
    return table(["room", "what it holds"], rows, words=2)


def _sentence(text: str | None) -> str:
    first = (text or "").split("\n\n")[0].replace("\n", " ")
    return first if first.endswith(".") else f"{first}."
