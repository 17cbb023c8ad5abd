"""Parameters of methods: written, read, shown, refused, and what they change."""

from __future__ import annotations

import json
import pickle

import pytest

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.common.units import names_from
from swatcost.methods import METHODS, Method, Parameter, bound, sparse_in, with_parameters
from swatcost.planning import compare


def test_a_parameter_changes_the_schedule() -> None:
    # floor(24000 / 200) + 1 = 121 of 32000 steps
    assert METHODS["rigl:delta_t=200,t_end=0.75"].phases(32_000)[1].share == 121 / 32_000
    # dense for half the run, then at the target: the curve ends where it begins, after one step of 1/2
    scales = [each.scale for each in METHODS["pruning:begin=0,end=0.5,every=0.5"].phases(32_000)]
    assert scales == [0, 1]
    # an interval that does not divide the run: 0.4, 0.4 and the rest
    assert [each.share for each in METHODS["pruning:every=0.4"].phases(1)] == pytest.approx([0.4, 0.4, 0.2])


def test_a_name_shows_what_is_not_the_default_and_gives_the_same_method_again() -> None:
    method = METHODS["rigl:t_end=75%, delta_t=1k"]
    assert method.name == "rigl:delta_t=1000,t_end=0.75"
    assert METHODS[method.name] == method
    assert METHODS["rigl:delta_t=100"] == METHODS["rigl"]
    assert METHODS["rigl"].but(delta_t=200).but(delta_t=100) == METHODS["rigl"]
    assert method.family == "rigl"


def test_a_method_with_parameters_comes_back_from_a_pickle() -> None:
    method = METHODS["pruning:every=0.125"]
    assert pickle.loads(pickle.dumps(method)) == method
    assert method != METHODS["pruning"]
    assert METHODS["pruning:every=0.125"] == method


def test_a_method_can_have_sparsities_of_its_own() -> None:
    method = METHODS["spdf:weights=75%,dense_share=0.1"]
    assert (method.name, method.targets) == ("spdf:dense_share=0.1,weights=0.75", {"weights": 0.75})
    assert METHODS[method.name] == method
    assert method.but(weights=0.5).but(dense_share=0.0).name == "spdf:weights=0.5"
    assert method.but(weights=0.0, dense_share=0.0) == METHODS["spdf"]
    assert METHODS["swat:weights=0.9,acts=0.8"].targets == {"weights": 0.9, "acts": 0.8}  # of a method without any
    assert METHODS["slope:n=1"].asked_targets == {}  # it defines its own
    assert pickle.loads(pickle.dumps(method)) == method


def test_its_own_sparsity_is_the_estimates() -> None:
    asked = swatcost.estimate("cifar_resnet18", weights=0.9, method="rigl")
    assert swatcost.estimate("cifar_resnet18", method="rigl:weights=0.9").costs == asked.costs
    with pytest.raises(
        SwatcostError, match=r"weights 0.8: method 'rigl:weights=0.9' sets it, leave one of the two out"
    ):
        swatcost.estimate("cifar_resnet18", weights=0.8, method="rigl:weights=0.9")
    found = compare("cifar_resnet18", methods=["rigl:weights=0.9", "set", "sr-ste:n=1"], weights=0.5)
    plans = {name: under["swat"].plan for name, under in found.estimates.items()}
    assert {name: each.weights for name, each in plans.items()} == {
        "rigl:weights=0.9": 0.9,
        "set": 0.5,
        "sr-ste:n=1": 0.5,
    }
    assert "weights 50 or 90 % sparse" in repr(found)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spdf:weights=1", "weights=1: give a number from 0 to 0.9999"),
        ("slope:weights=0.75", "method 'slope' has no parameter 'weights': choose from rank, adapted, n, m"),
        ("set:acts=0.5", "method 'set' has no parameter 'acts': choose from weights"),
        ("rigl:delta=3", "method 'rigl' has no parameter 'delta': did you mean delta_t?"),
        ("rigl:delta_t=0", "delta_t=0: give a whole number from 1"),
        ("rigl:delta_t=0.5", "delta_t=0.5: give a whole number from 1"),
        ("rigl:t_end=1.5", "t_end=1.5: give a number from 0 to 1"),
        ("rigl:t_end=soon", "t_end=soon: give a number from 0 to 1"),
        ("rigl:delta_t", "method 'rigl': 'delta_t' is not NAME=VALUE, such as delta_t=100"),
        ("rigl:", "method 'rigl': '' is not NAME=VALUE, such as delta_t=100"),
        ("rigl:delta_t=1,delta_t=2", "method 'rigl': delta_t is given twice, give it once"),
        ("dense:rank=4", "method 'dense' has no parameters: leave 'rank' out"),
        ("riggl:delta_t=1", "unknown method 'riggl': did you mean rigl or srigl or rigl-itop?"),
        ("pruning:begin=0.9", "method 'pruning': it begins at 0.9 and ends at 0.78125, give begin below end"),
    ],
)
def test_what_is_refused_in_one_line(name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SwatcostError) as raised:
        METHODS[name]
    assert str(raised.value) == message
    assert main(["cifar_resnet18", "--weights", "0.8", "--method", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_types_are_the_defaults() -> None:
    word = Parameter(name="kind", default="a", choices=("a", "b"), meaning="", source="")
    assert word.read("b") == "b"
    answer = Parameter(name="merged", default=False, meaning="", source="")
    assert [answer.read(each) for each in ("yes", "false")] == [True, False]
    for parameter, value in [(word, "c"), (answer, "maybe"), (answer, "1")]:
        with pytest.raises(SwatcostError, match=parameter.name):
            parameter.read(value)
    for wrong in (True, "200", 1.5):
        with pytest.raises(SwatcostError, match="delta_t"):
            METHODS["rigl"].but(delta_t=wrong)
    with pytest.raises(ValueError, match="its default"):
        Parameter(name="rank", default=0, least=1, meaning="", source="")


def _made(*, rank: int) -> Method:
    return Method(name="mine", title="", citation="", sparse=sparse_in(), departures=f"of rank {rank}")


def test_anybody_can_write_one() -> None:
    method = with_parameters(_made, Parameter(name="rank", default=4, least=0, meaning="of each branch", source="us"))
    assert method.but(rank=8).departures == "of rank 8"
    assert method.but(rank=8).name == "mine:rank=8"
    assert bound(_made, rank=1) == bound(_made, rank=1)


def test_several_methods_with_commas() -> None:
    assert names_from("set,rigl:delta_t=200,t_end=0.75,swat") == ["set", "rigl:delta_t=200,t_end=0.75", "swat"]
    found = compare("cifar_resnet18", weights=0.8, methods=["rigl", "rigl:delta_t=200"])
    assert list(found.estimates) == ["rigl", "rigl:delta_t=200"]


def test_the_command_line_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--method", "rigl:delta_t=200", "--convention", "exact"]
    assert main(["cifar_resnet18", "--weights", "0.8", *asked, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["method"] == found["setting"]["method"] == "rigl:delta_t=200"
    expected = swatcost.estimate("cifar_resnet18", weights=0.8, method="rigl:delta_t=200", convention="exact")
    assert found["totals"]["training_reduction"] == expected.training_reduction
    assert "--method rigl:delta_t=200" in " ".join(expected.setting.words())
    methods = "set,rigl:delta_t=200,t_end=0.75,swat"
    assert main(["sweep", "cifar_resnet18", "--weights", "0.8", "--method", methods, "--format", "csv"]) == 0
    assert '"rigl:delta_t=200,t_end=0.75"' in capsys.readouterr().out


def test_one_method_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "methods", "--method", "rigl:delta_t=200"]) == 0
    shown = capsys.readouterr().out
    for words in ("Rigging the lottery", "Evci et al., ICML 2020", "delta_t", "200", "t_end", "0.7812"):
        assert words in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["list", "methods", "--method", "pruning"]) == 0
    assert "to 34.4 %: dense" in capsys.readouterr().out  # 11 of 32 intervals: the curve is 0 at its beginning
    assert main(["list", "models", "--method", "rigl"]) == 2
    assert "write swatcost list methods" in capsys.readouterr().err
