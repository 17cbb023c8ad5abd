"""The question: one home for every setting, from which the library, commands, config, explorer and JSON take theirs."""

from __future__ import annotations

import json
import shlex
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swatcost
from swatcost.cli import command_named, main
from swatcost.cli.config import settable
from swatcost.exporting import EXPORTING
from swatcost.planning.audit import AUDITING
from swatcost.planning.comparison import COMPARING
from swatcost.planning.explanation import EXPLAINING
from swatcost.planning.memory import MEASURING
from swatcost.planning.run_plan import PLANNING, plan_run
from swatcost.planning.solution import SOLVING, solution
from swatcost.planning.sweep import SWEEPING
from swatcost.reference.scopes import RUNNING, VALIDATING_OR_TIMING
from swatcost.setting import EVERY_SETTING, OPTIONS, Scope, Setting, Settings, command_line, option_name
from swatcost.simulation.simulation import SIMULATING
from swatcost.simulation.study import STUDYING

SCOPES: dict[str, Scope] = {
    "estimate": EVERY_SETTING, "summary": EVERY_SETTING, "compare": COMPARING, "explain": EXPLAINING,
    "audit": AUDITING,
    "memory": MEASURING, "sweep": SWEEPING, "solve": SOLVING, "plan": PLANNING, "report": EVERY_SETTING,
    "explore": EVERY_SETTING, "run": RUNNING, "validate": VALIDATING_OR_TIMING, "simulate": SIMULATING,
    "study": STUDYING, "export": EXPORTING,
}  # fmt: skip


@pytest.mark.parametrize("name", SCOPES)
def test_help_shows_one_default_of_each_setting(name: str) -> None:
    command = command_named(name)
    context = click.Context(command, show_default=False if name == "run" else None)
    shown = {each.name: each.get_help_record(context) for each in command.params if isinstance(each, click.Option)}
    for setting, option in SCOPES[name].options.items():
        assert option.default is None or option.default_is is None
        record = shown[setting]
        assert record is not None
        assert record[1].count("[default: ") == (
            option.kind != "flag" and (option.default or option.default_is) is not None
        )


def test_type_checkers_know_the_same_keywords() -> None:
    assert Settings.__annotations__.keys() == OPTIONS.keys()


@pytest.mark.parametrize("name", SCOPES)
def test_a_command_has_every_setting_or_says_why_not(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    scope = SCOPES[name]
    options = {each.name: each for each in command_named(name).params if isinstance(each, click.Option)}
    for setting in OPTIONS.keys() - scope.own:
        option = options[setting]
        assert option_name(setting) in option.opts
        assert option.hidden == (setting in scope.without)
        if setting not in scope.without:
            assert scope.options[setting].help in str(option.help)
    for setting, reason in scope.without.items():
        value = [] if OPTIONS[setting].kind == "flag" else ["3"]
        assert main([name, *(["x"] * (name != "run")), option_name(setting), *value]) == 2
        assert capsys.readouterr().err == f"swatcost: {option_name(setting)}: {reason}\n"


def test_settings_with_a_default_can_be_set_in_a_file() -> None:
    keys = {option_name(name).lstrip("-") for name, each in OPTIONS.items() if each.default is not None}
    assert keys <= settable(command_named("estimate")).keys()


def test_the_record_of_what_was_asked_has_them_all() -> None:
    estimate = swatcost.estimate("cifar_resnet18", weights=0.8, keep_dense=["fc"], one_sample=True)
    record = estimate.to_dict()["setting"]
    assert list(record) == list(OPTIONS)
    assert record == json.loads(json.dumps(record))
    changed = {"weights": 0.8, "keep_dense": ["fc"], "one_sample": True}
    assert record == {name: option.default for name, option in OPTIONS.items()} | changed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"first_layer": "maybe"}, "first_layer 'maybe': give 'dense' or 'sparse'"),
        ({"last_layer": 0.5}, "last_layer 0.5: give 'dense' or 'sparse'"),
        ({"keep_dense": 3}, "keep_dense 3: give patterns of layer names"),
    ],
)
def test_which_layers_stay_dense_is_checked_before_any_network_is_seen(given: dict[str, Any], said: str) -> None:
    with pytest.raises(swatcost.SwatcostError, match=said):
        Setting.of(**given)


def test_a_single_pattern_may_be_given_as_it_is() -> None:
    assert Setting.of(keep_dense="fc").keep_dense == ("fc",)


def test_none_is_as_if_it_were_not_given() -> None:
    nothing: dict[str, Any] = dict.fromkeys(OPTIONS)
    assert Setting.of(**nothing) == Setting.of()


def test_what_is_recorded_is_what_is_used() -> None:
    numpy = pytest.importorskip("numpy")
    patterns = (each for each in ["fc", "*.conv1"])
    setting = Setting.of(weights=numpy.float32(0.5), period=numpy.int64(7), keep_dense=patterns)
    assert setting.record() | {"weights": 0.5, "period": 7, "keep_dense": ["fc", "*.conv1"]} == setting.record()
    assert (
        command_line(["net"], setting) == "swatcost net --weights 0.5 --period 7 --keep-dense fc --keep-dense '*.conv1'"
    )
    with pytest.raises(TypeError):
        setting.asked["weights"] = 0.9  # type: ignore[index]


def test_a_solution_records_what_was_fixed() -> None:
    asked = solution("cifar_resnet18", speedup=1.05, period=77, weights=0.5).to_dict()["setting"]
    assert (asked["weights"], asked["period"], asked["acts"]) == (0.5, 77, None)


def test_a_misspelt_setting_is_named() -> None:
    with pytest.raises(TypeError, match="there is no setting 'weigths': did you mean weights"):
        swatcost.estimate("cifar_resnet18", **{"weigths": 0.8})  # type: ignore[arg-type]


def test_what_a_function_leaves_out_is_refused_with_the_reason() -> None:
    with pytest.raises(swatcost.SwatcostError, match="steps: a plan computes them"):
        plan_run("resnet50", steps=5)


def test_another_value_is_checked_like_the_first() -> None:
    setting = Setting.of(weights=0.8, method="rigl")
    changed = setting.but(weights=0.9, batch_size=8)
    assert (changed.weights, changed.batch_size, changed.method.name) == (0.9, 8, "rigl")
    assert changed.asked == {"weights": 0.9, "method": "rigl", "batch_size": 8}
    assert changed.but(weights=None, batch_size=None) == Setting.of(method="rigl")
    with pytest.raises(swatcost.SwatcostError, match="batch_size 0: give a whole number"):
        setting.but(batch_size=0)


@given(
    weights=st.floats(0, 0.99), acts=st.floats(0, 0.99), period=st.integers(1, 10**6), hidden=st.booleans(),
    device=st.sampled_from(["a100", "rtx2080ti"]), last_layer=st.sampled_from([None, "dense", "sparse"]),
    kept=st.lists(st.sampled_from(["fc", "*.conv1"]), max_size=2, unique=True),
)  # fmt: skip
def test_a_command_line_asks_the_same(kept: list[str], **asked: Any) -> None:
    setting = Setting.of(keep_dense=kept or None, **asked)
    program, *words = shlex.split(command_line(["cifar_resnet18"], setting))
    assert program == "swatcost"
    context = command_named("estimate").make_context("estimate", words)
    again = Setting.of(**{name: value for name, value in context.params.items() if name in OPTIONS})
    assert again.but(weights=setting.weights, acts=setting.acts) == setting
    assert again.weights == pytest.approx(setting.weights, rel=1e-9)  # commands are written with ten digits
    assert again.acts == pytest.approx(setting.acts, rel=1e-9)
