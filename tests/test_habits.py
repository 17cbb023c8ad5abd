"""What people expect of a command line: amounts as they write them, defaults of their own, completion, quiet pipes."""

from __future__ import annotations

import json

import click
import pytest

from swatcost.cli import main
from swatcost.cli.options import CountsType, CountType, FractionsType, FractionType, NamesType


def converted(kind: click.ParamType, value: object) -> object:
    return kind.convert(value, None, None)


def test_amounts_as_people_write_them_reach_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    people = [
        "resnet50",
        "--weights",
        "80%",
        "--acts",
        "70 %",
        "--period",
        "1k",
        "--batch-size",
        "1_0",
        "--steps",
        "2k",
    ]
    plain = ["resnet50", "--weights", "0.8", "--acts", "0.7", "--period", "1000", "--batch-size", "10"]
    plain += ["--steps", "2000"]
    outputs = []
    for arguments in (people, plain):
        assert main([*arguments, "--default-act-sparsity", "50%", "--format", "json"]) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0] == outputs[1]
    assert outputs[0]["targets"] == {"weights": 0.8, "acts": 0.7, "grads": None}
    assert (outputs[0]["topk_period"], outputs[0]["batch_size"]) == (1000, 10)
    assert outputs[0]["default_act_sparsity"] == 0.5


def test_several_values_in_one_option() -> None:
    assert converted(FractionsType(), "50%:80%:10%,0.9") == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert converted(CountsType(), "1,10,1k") == [1, 10, 1000]
    assert converted(NamesType(), "swat,rigl") == ["swat", "rigl"]
    # from a file of defaults, and click converts what it has converted before
    assert converted(FractionsType(), [0.5, 0.8]) == [0.5, 0.8]
    assert converted(CountsType(), [1, 10]) == [1, 10]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (CountType(), 64.5), (CountType(), True), (CountType(), "1.5"), (CountType(), "9" * 5000),
        (FractionType(), True), (FractionType(), "80%%"),
        (FractionsType(), "0.9:0.5:0.1"), (FractionsType(), [True]), (CountsType(), "1,x"),
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(kind: click.ParamType, value: object) -> None:
    with pytest.raises(click.BadParameter):
        converted(kind, value)
