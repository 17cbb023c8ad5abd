"""Every published cell about cost, against what the program gives."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import swatcost
from swatcost.cli import main
from swatcost.published import REPRODUCED, Cell, Reproduction, cells, estimate_of, reproduce, stated_numbers
from swatcost.published.quantities import BN_FLOPS_PER_ELEMENT, QUANTITIES
from swatcost.report.published import counts_line


@cache
def reproductions() -> dict[str, Reproduction]:
    return {each.cell.identity: each for each in reproduce()}


def _params() -> list[object]:
    """Cells that something explains are strict xfails: coming out after all is news, and fails the test."""
    params = []
    for cell in cells():
        explained = pytest.mark.xfail(strict=True, raises=AssertionError, reason=f"{cell.status}: {cell.reason}")
        if cell.status != "quoted" and cell.row:
            marks = [explained] if cell.status in ("statistic", "contradiction") else []
            params.append(pytest.param(cell, id=cell.identity, marks=marks))
    return params


@pytest.mark.parametrize("cell", _params())
def test_cell(cell: Cell) -> None:
    computed = reproductions()[cell.identity].computed
    if computed is None:
        raise ValueError("nothing was computed")
    assert cell.nearness(computed), f"printed {cell.printed}, computed {computed}"


def _above_supplied(cell: Cell) -> float:
    found = reproductions()[cell.identity]
    assert isinstance(found.computed, float)
    assert found.supplied is not None
    return found.computed - found.supplied


def _activation_share(cell: Cell) -> float:
    """The share of the saved elements that the sparsity of activations acts on."""
    estimate = estimate_of(cell.row)
    assert estimate.plan.acts
    return estimate.activation_reduction / estimate.plan.acts


# What a reason states, other than the cell's own quantity.
STATED: dict[str, Callable[[Cell], float]] = {
    "exact_training_reduction": lambda cell: 100 * estimate_of(cell.row).exact.training.reduction,
    "activation_share": _activation_share,
    "above_supplied": _above_supplied,
    "supplied_default_act_sparsity": lambda cell: estimate_of(cell.supplied_row).default_act_sparsity,
    "bn_flops_per_element": lambda cell: BN_FLOPS_PER_ELEMENT,
}


@pytest.mark.parametrize(
    ("cell", "quantity", "stated"),
    [
        pytest.param(cell, quantity, stated, id=f"{cell.identity}-{quantity}")
        for cell, numbers in stated_numbers()
        for quantity, stated in numbers.items()
    ],
)
def test_reasons_state_what_the_program_gives(cell: Cell, quantity: str, stated: str) -> None:
    computed = reproductions()[cell.identity].computed if quantity == cell.quantity else STATED[quantity](cell)
    assert f"{computed:.{len(stated.partition('.')[2])}f}" == stated
    assert stated in cell.reason


def test_what_cannot_be_computed_lacks_momentum_shares() -> None:
    for each in reproductions().values():
        if each.verdict == "not computable":
            assert each.cell.method == "SWAT-M"
            assert each.computed is None


def test_cells_have_names_of_their_own_and_reasons() -> None:
    every = cells()
    assert len({cell.identity for cell in every}) == len(every)
    assert all(cell.reason for cell in every if cell.status)
    assert {cell.status for cell in every} == {"", "statistic", "contradiction", "construction", "quoted"}


def test_no_cell_is_an_unexplained_mismatch() -> None:
    assert not [name for name, each in reproductions().items() if each.verdict == "MISMATCH"]


def test_tolerances_are_those_of_the_printed_precision() -> None:
    for cell in cells():
        if cell.status != "quoted" and cell.unit == "%" and cell.relation == "=":
            close = cell.network in ("ResNet-50", "WRN-50-2") or cell.table in ("4", "5", "8")
            assert cell.tolerance <= (0.5 if cell.table == "abstract" else 0.1 if close else 0.15)


@pytest.mark.parametrize("network", ["ResNet-50", "WRN-50-2"])
def test_every_flop_cell_of_swat_on_imagenet_is_reproduced(network: str) -> None:
    found = [
        each
        for each in reproductions().values()
        if each.cell.network == network
        and each.cell.table in ("3", "5")
        and each.cell.method.startswith("SWAT")
        and each.cell.quantity in ("training_reduction", "inference_reduction")
    ]
    assert len(found) == 7  # two of Table 3's rows with two FLOP columns each, three of Table 5's with one
    assert {each.verdict for each in found} <= set(REPRODUCED)


@pytest.mark.parametrize(
    ("name", "supplied"),
    [
        # with the fitted default activation sparsity of 0.459 and, for SNFS and DSR, per-layer sparsities
        ("3/ResNet-50/RigL/80/training_reduction", 67.20),
        ("3/ResNet-50/RigL/90/training_reduction", 74.00),
        ("3/ResNet-50/SET/80/training_reduction", 58.19),
        ("3/ResNet-50/SET/90/training_reduction", 63.85),
        ("3/ResNet-50/SNFS/80/training_reduction", 45.80),
        ("3/ResNet-50/SNFS/90/training_reduction", 58.03),
        ("3/ResNet-50/DSR/80/training_reduction", 51.35),
        ("3/ResNet-50/DSR/90/training_reduction", 58.08),
    ],
)
def test_with_the_statistic_that_is_missing(name: str, supplied: float) -> None:
    found = reproductions()[name]
    assert found.supplied == pytest.approx(supplied, abs=0.02)
    assert isinstance(found.computed, float)
    assert found.computed > found.supplied  # the stated 0.5 gives more


def test_the_command_ends_with_the_counts(capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counter(each.verdict for each in reproductions().values())
    others = ("consistent", "inconsistent", "by construction", "quoted")
    assert main(["tables", "all"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    last = " ".join(out.rpartition("\n\n")[2].split())
    costs = sum(counts.values()) - sum(counts[each] for each in others)
    assert last.startswith(
        f"{sum(counts.values())} cells: {sum(counts[each] for each in REPRODUCED)} of {costs} costs reproduced "
        f"({counts['equal']} equal to the printed digits, {counts['within tolerance']} within tolerance, "
    )
    assert last.endswith(f"; {', '.join(f'{counts[each]} {each}' for each in others)}.")
    assert main(["tables", "3", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(cell["table"] == "3" for cell in found["cells"])
    for format in ("csv", "markdown", "latex"):
        assert main(["tables", "5", "--format", format]) == 0
        assert "WRN-50-2" in capsys.readouterr().out


def test_the_documentation_states_the_counts() -> None:
    """The page and README say how many cells come out, as the command does."""
    line = counts_line(list(reproductions().values()))
    root = Path(__file__).parent.parent
    page = " ".join((root / "docs" / "published.md").read_text(encoding="utf-8").split())
    assert line in page
    reproduced = line.partition(": ")[2].partition(" (")[0]
    assert reproduced in " ".join((root / "README.md").read_text(encoding="utf-8").split())


def _cell(printed: str, **fields: object) -> Cell:
    found = {"relation": "=", "printed": float(printed), "as_printed": printed, "tolerance": 0.1, **fields}
    return replace(cells("Eq. 8")[0], **found)


@pytest.mark.parametrize(
    ("printed", "computed", "near"),
    [
        ("49.8", 49.8499, "equal"),
        ("49.8", 49.86, "within tolerance"),  # rounds to 49.9
        ("49.8", 49.89, "within tolerance"),
        ("49.8", 49.91, None),
        ("90.0", 89.96, "equal"),
        ("90", 89.6, "equal"),  # printed without decimals
        ("90", 89.4, None),
    ],
)
def test_equal_is_what_rounds_to_the_printed_digits(printed: str, computed: float, near: str | None) -> None:
    assert _cell(printed).nearness(computed) == near


@pytest.mark.parametrize(
    ("relation", "computed", "near"),
    [("<=", 5.0, "bound holds"), ("<", 5.0, None), ("<", 4.9, "bound holds"), (">=", 4.9, None)],
)
def test_bounds_have_no_tolerance(relation: str, computed: float, near: str | None) -> None:
    assert _cell("5", relation=relation).nearness(computed) == near


def test_within_tolerance_are_the_six_that_do_not_round_to_the_printed_digit() -> None:
    found = {
        round(each.best, 2) for each in reproductions().values() if each.best and each.verdict == "within tolerance"
    }
    assert found == {91.29, 89.64, 49.86, 44.07, 89.07, 33.07}  # printed 91.4, 89.7, 49.8, 44.0, 89.0, 33.0


# Another CIFAR network and another ImageNet network than a row's own, to see what depends on the network.
OTHERS = ("cifar_resnet50", "cifar_vgg16", "resnet101")


def _holds_elsewhere(cell: Cell) -> bool:
    estimate = estimate_of(cell.row)
    return all(
        cell.nearness(QUANTITIES[cell.quantity](swatcost.estimate(other, **estimate.setting.asked))) == "equal"
        for other in OTHERS
    )


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(each, id=each.identity)
        for each in cells()
        if each.quantity in ("model_compression", "inference_reduction", "channels_pruned", "training_reduction")
        and each.status in ("", "construction")
        and each.row != "printed"
    ],
)
def test_by_construction_is_what_every_network_gives(cell: Cell) -> None:
    assert _holds_elsewhere(cell) == (cell.status == "construction")


@pytest.mark.parametrize(
    ("name", "conventions"),
    [
        # 12.266 GMAC dense, 3.847 GMAC sparse: 3.189 as in Section 4.3, where swat gives 2.994 (100 / (100 − 66.6))
        ("4.3/ResNet-50/SWAT-U/70/training_flops_ratio", {"exact": "equal"}),
        ("2/VGG-16/SWAT-U/90/training_reduction", {"exact": "equal"}),
    ],
)
def test_a_verdict_names_the_convention_that_gives_the_number(
    name: str, conventions: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = reproductions()[name]
    assert found.verdict == "other convention"
    assert found.elsewhere == conventions
    assert main(["tables", found.cell.table]) == 0
    assert "under exact" in capsys.readouterr().out


def test_by_convention_is_what_an_estimate_gives_under_each() -> None:
    for each in reproductions().values():
        if each.by_convention and each.cell.row != "*" and each.cell.status != "statistic":
            assert each.by_convention[each.own_convention] == each.computed
    found = reproductions()["3/ResNet-50/SWAT-U/80/training_reduction"].by_convention
    settings = {"weights": 0.8, "acts": 0.8}
    assert found == {
        name: 100 * swatcost.estimate("resnet50", convention=name, **settings).training_reduction for name in found
    }
    assert found["exact"] == pytest.approx(78.45, abs=0.005)  # FACTS: the table of three ways to count


@pytest.mark.parametrize(
    ("name", "computed", "verdict"),
    [
        ("4.2/WRN-16-8/SWAT-M/against SNFS/fewer_flops", 100 * (1 - 13.7 / 18.2), "inconsistent"),  # 24.7, not 33
        ("4.2/WRN-16-8/SWAT-M/against DST/fewer_flops", 100 * (1 - 13.7 / 16.7), "inconsistent"),  # 18.0, not 22
        # 2 / (10.3 / 43.0 + 10.0 / 18.2) and 2 / (10.3 / 24.3 + 10.0 / 16.7)
        ("4.2/VGG-16, WRN-16-8/SWAT-U/against SNFS/times_fewer_flops", 2 / (10.3 / 43 + 10 / 18.2), "consistent"),
        ("4.2/VGG-16, WRN-16-8/SWAT-U/against DST/times_fewer_flops", 2 / (10.3 / 24.3 + 10 / 16.7), "consistent"),
        ("A.5/ResNet-50/passes 1:1/80/step_speedup", 2 / (1 / 3.3 + 1 / 3.4), "consistent"),  # 3.35
        ("A.5/ResNet-50/passes 1:2/80/step_speedup", 3 / (1 / 3.3 + 2 / 3.4), "inconsistent"),  # 3.37
        ("A.5/ResNet-50/passes 1:1/90/step_speedup", 2 / (1 / 5.6 + 1 / 6.3), "consistent"),  # 5.93
        ("A.5/ResNet-50/passes 1:2/90/step_speedup", 3 / (1 / 5.6 + 2 / 6.3), "inconsistent"),  # 6.05
        ("abstract/ResNet-50/SWAT/80/step_speedup", 3 / (1 / 3.3 + 2 / 3.4), "inconsistent"),
        ("introduction/ResNet-50/SWAT/90/step_speedup", 3 / (1 / 5.6 + 2 / 6.3), "inconsistent"),
        ("4.4/ResNet-50/SWAT/80/step_speedup", 3 / (1 / 3.3 + 2 / 3.4), "inconsistent"),
        ("9/introselect/1000/instructions_per_element", 15_215 / 1000, "consistent"),
        ("9/introselect/1000000/instructions_per_element", 12_454_369 / 1_000_000, "inconsistent"),  # 12.45, not 12.6
        # WRN-28-10: conv1 16·3·3·3 = 432; the classifier 640·10 + 10 or 640·100 + 100
        ("13/WRN-28-10/CIFAR-10/first_and_last_parameters", 100 * (432 + 6_410) / 36_479_194, "bound holds"),
        ("13/WRN-28-10/CIFAR-100/first_and_last_parameters", 100 * (432 + 64_100) / 36_536_884, "not reproducible"),
        ("3.3.3/ResNet-18/SWAT/CIFAR-100/iterations_per_epoch", 391, "by construction"),  # 50,000 / 128 = 390.6
        # Eqs. 4 to 6 for ResNet-50: 2 · x / f with x, f as in FACTS: 6.409 G and 4.089 G
        ("A.3/ResNet-50/dense/conv/backward_over_forward", 2 * 6.409 / 4.089, "other convention"),
        ("1//RigL//sparse_grad_weight", "No", "by construction"),
    ],
)
def test_numbers_of_the_text(name: str, computed: float | str, verdict: str) -> None:
    found = reproductions()[name.replace("//", "/")]
    assert found.verdict == verdict
    assert found.computed == (computed if isinstance(computed, str) else pytest.approx(computed, rel=2e-4))


SPELT = {
    "Table 3": "3", "section 4.2": "4.2", "Section A.9": "A.9", "appendix A.9": "A.9", "eq 7": "Eq. 7",
    "Equation 8": "Eq. 8", "section 3.3": "3.3.3", "rigl": "RigL",
    "section 1": "introduction", "6": "11", "table 6": "11",
}  # fmt: skip


@pytest.mark.parametrize(("spelt", "table"), SPELT.items())
def test_a_table_may_be_spelt_as_in_a_sentence(spelt: str, table: str) -> None:
    assert {each.table for each in cells(spelt)} == {table}


@pytest.mark.parametrize("table", [*map(str, range(1, 15)), "figure 6", "section 4.2", "4.1", "abstract", "A.5"])
def test_every_table_and_figure_of_costs_answers_in_80_columns(
    table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(
        "swatcost.cli.tables.reproduce", lambda name: [reproductions()[c.identity] for c in cells(name)]
    )
    assert main(["tables", *table.split()]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert " cells: " in out
    for format in ("json", "csv"):
        assert main(["tables", table, "--format", format]) == 0
        text = capsys.readouterr().out
        shown = json.loads(text)["cells"] if format == "json" else list(csv.DictReader(io.StringIO(text)))
        assert [row["as_printed"] for row in shown] == [cell.as_printed for cell in cells(table)]


def test_a_section_has_its_parts() -> None:
    assert {each.table for each in cells("section 4")} == {"4.2", "4.3", "4.4"}
    assert {each.table for each in cells("appendix A")} == {"A.3", "A.4", "A.5", "A.9"}
    assert {each.table for each in cells("4")} == {"4"}


def test_figure_6_is_table_3s_resnet_50() -> None:
    found = cells("Figure 6")
    assert {(each.table, each.network) for each in found} == {("3", "ResNet-50")}
    assert len(found) == 2 * 12  # an accuracy and a reduction for each of 6 methods at 2 sparsities


@pytest.mark.parametrize("figure", [1, 2, 3, 4, 5, 7, 8, 9, 10, 11])
def test_figures_without_costs_say_what_they_show(figure: int) -> None:
    with pytest.raises(swatcost.SwatcostError, match=f"Figure {figure} has no costs: it "):
        cells(f"figure {figure}")


def test_an_unknown_table_is_named() -> None:
    for name in ("15", "figure 12", "section 9", "4.9", "tables"):
        with pytest.raises(swatcost.SwatcostError, match=f"unknown table '{name}'"):
            cells(name)
