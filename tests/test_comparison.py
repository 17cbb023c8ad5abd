"""What a comparison selects, says, and gives to a paper."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.methods import METHODS
from swatcost.network import Network
from swatcost.planning import Comparison, NetworkComparison, compare, compare_networks
from swatcost.report import comparison as report
from swatcost.report import render
from swatcost.report.sheet import Table
from tests.test_methods import NAMES

CIFAR = "cifar_resnet18"


PER_SAMPLE = ["swat", "equations", "exact", "rigl", "rigl-padded"]


def cells(table: Table) -> dict[str, list[str]]:
    """A table's rows by their first cell."""
    return {row[0]: row[1:] for row in table.rows}


def headed(found: Comparison, heading: str, relative: bool = False) -> Table:
    """The table of a comparison's report with this first heading."""
    sheet = (report.relative_sheet if relative else report.sheet)(found)
    return next(each for each in sheet.tables if each.header[0] == heading)


def test_methods_and_conventions_are_selected_in_the_order_given() -> None:
    found = compare(CIFAR, weights=0.8, methods=["swat", "dense", "set"], conventions=["rigl", "exact"])
    assert list(found.estimates) == ["swat", "dense", "set"]
    assert [list(each) for each in found.estimates.values()] == [["rigl", "exact"]] * 3
    assert (found.method, found.convention) == ("swat", "rigl")  # rigl is not there; the first convention
    assert list(found.by_method) == list(found.estimates)
    assert list(found.by_convention) == ["rigl", "exact"]
    assert compare(CIFAR, methods=["dense", "rigl"]).method == "rigl"
    assert compare(CIFAR, methods=["dense", "set"]).method == "set"  # dense makes nothing sparse
    assert compare(CIFAR, methods="dense", conventions="exact").method == "dense"
    assert compare(CIFAR, conventions=["swat", "exact"], convention="exact").convention == "exact"


def test_without_a_selection_everything_is_compared() -> None:
    found = compare(CIFAR, weights=0.8)
    assert [each for each in METHODS.names() if each not in found.refused] == list(found.estimates)
    assert {tuple(each) for each in found.estimates.values()} == {tuple(PER_SAMPLE)}
    assert (found.method, found.convention) == ("rigl", "swat")


def test_another_convention_is_another_estimate() -> None:
    found = compare(CIFAR, weights=0.8, acts=0.9, methods=["swat", "pruning"])
    for method, under in found.estimates.items():
        for convention, one in under.items():
            given = {"weights": 0.8} if method == "pruning" else {"weights": 0.8, "acts": 0.9}
            alone = swatcost.estimate(CIFAR, method=method, convention=convention, **given)  # type: ignore[arg-type]
            ours, theirs = one.to_dict(), alone.to_dict()
            # the comparison asks for the targets of every operand, and None where the method has none
            assert ours == theirs | {"setting": ours["setting"]}
            assert ours["setting"]["convention"] == convention


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"methods": ["rigl", "swta"]}, "unknown method 'swta': did you mean swat"),
        ({"methods": ["rigl", "set", "rigl"]}, "method 'rigl' is given twice: give each once"),
        ({"methods": []}, "no method is selected: choose from ac-dc, "),
        ({"methods": ["set"], "method": "rigl"}, "method 'rigl' is not among those selected: choose from set"),
        ({"conventions": ["exat"]}, "unknown convention 'exat': did you mean exact"),
        ({"conventions": ["exact", "exact"]}, "convention 'exact' is given twice: give each once"),
        (
            {"conventions": ["rigl-padded", "exact"], "convention": "rigl"},
            "convention 'rigl' is not among those selected: did you mean rigl-padded",
        ),
    ],
)
def test_names_that_cannot_be_used_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SwatcostError, match=f"^{re.escape(words)}"):
        compare(CIFAR, weights=0.8, **given)
    if "method" not in given:
        with pytest.raises(SwatcostError, match=f"^{re.escape(words)}"):
            compare_networks([CIFAR, "cifar_vgg16"], weights=0.8, **given)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("cifar_resnet18 --methods rigl,swta", "unknown method 'swta': did you mean swat or str or set?"),
        ("cifar_resnet18 cifar_vgg16 --methods swta", "unknown method 'swta': did you mean swat or str or set?"),
        ("cifar_resnet18 cifar_resnet18", "model 'cifar_resnet18' is given twice: give each once"),
        ("cifar_resnet18 --methods set --method rigl", "method 'rigl' is not among those selected: choose from set"),
        (
            "cifar_resnet18 cifar_vgg16 --method rigl,swat",
            "method: with several networks every method is compared; --methods selects some",
        ),
        (
            "cifar_resnet18 --relative --format json",
            "relative: json holds reductions, and a share is 1 minus that; leave it out",
        ),
    ],
)
def test_one_line_says_what_was_wrong(args: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *args.split()]) == 2
    assert capsys.readouterr() == ("", f"swatcost: {words}\n")


def test_a_configured_default_gives_way_to_what_is_selected(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text('method = "swat"\nconvention = "exact"\n')
    monkeypatch.setenv("SWATCOST_CONFIG", str(tmp_path / "config.toml"))
    selected = ["--methods", "set,rigl", "--conventions", "swat,rigl"]
    assert main(["compare", CIFAR, "--weights", "0.8", "--format", "json", *selected]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert [json.loads(printed.out)[each] for each in ("method", "convention")] == ["rigl", "swat"]
    assert main(["compare", CIFAR, "cifar_vgg16", "--weights", "0.8", "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"swatcost: convention = exact from {tmp_path / 'config.toml'}\n"
    assert json.loads(printed.out)["convention"] == "exact"


def test_what_was_asked_is_recorded(resnet50: Network) -> None:
    asked: dict[str, Any] = {"weights": 0.9, "acts": 0.7, "period": 7, "convention": "exact"}
    several = compare_networks([resnet50, CIFAR], **asked).to_dict()["setting"]
    assert several | asked == several
    assert several["method"] is None  # all of them
    one = compare(resnet50, **asked).to_dict()["setting"]  # rigl uses no activations: they were asked for all the same
    assert one | asked == one
    assert one["method"] == "rigl"


@pytest.mark.parametrize("relative", [False, True])
def test_a_share_is_what_a_reduction_leaves(resnet50: Network, relative: bool) -> None:
    found = compare(resnet50, weights=0.8, methods=["dense", "swat"], conventions=["swat", "exact"])
    rows = cells(headed(found, "training (× dense)" if relative else "training reduction", relative))
    # Table 3: 76.1 % of FLOPs are saved at 80 %, and 1 − 0.761 = 0.239; exact is 78.45 %
    assert rows["swat"] == (["0.24×", "0.22×"] if relative else ["76.12 %", "78.45 %"])
    assert rows["dense"] == (["1.00×", "1.00×"] if relative else ["0.00 %", "0.00 %"])


def test_only_comparisons_show_shares() -> None:
    with pytest.raises(SwatcostError, match="only comparisons show shares"):
        render(swatcost.estimate(CIFAR), "table", relative=True)


def test_what_is_left_pass_by_pass_adds_up(resnet50: Network) -> None:
    found = compare(resnet50, weights=0.8, default_act_sparsity=0.459)
    for name, (differs, *passes, total) in cells(
        headed(found, "MACs left, share of dense training, method rigl")
    ).items():
        left, together = [float(each.rstrip(" %")) for each in passes], float(total.rstrip(" %"))
        assert sum(left) == pytest.approx(together, abs=0.02)  # each is rounded to 0.01
        assert together == pytest.approx(100 * (1 - found.by_convention[name].training_reduction), abs=0.005)
        assert differs == ("–" if name == "swat" else "grad_weight")


def test_the_cheapest_methods_under_each_convention(resnet50: Network) -> None:
    found = compare(resnet50, weights=0.8, default_act_sparsity=0.459, methods=sorted(NAMES))
    rows = cells(headed(found, "convention"))
    assert list(rows) == PER_SAMPLE
    first, then, in_pass, left = rows["swat"]
    assert (first, then, in_pass) == ("swat, swat-structured", "rigl, snfs", "grad_weight")
    # dense: 4.089 + 6.409 + 4.089 = 14.587 G; swat leaves 0.912 G of grad_weight, rigl 0.541 · 4.089 G = 2.212 G
    assert left == "6.25 % vs 15.17 %"
    assert rows["rigl"][:2] == ["rigl", "dsr, set"]


def test_notes_are_few(resnet50: Network) -> None:
    notes = report.notes(compare(resnet50, weights=0.8, methods=NAMES))
    assert len(notes) == 5
    assert sum("ideal speedup" in each.lower() for each in notes) == 1


def test_one_convention_needs_one_table() -> None:
    sheet = report.sheet(compare(CIFAR, weights=0.8, conventions=["exact"]))
    assert [each.header[0] for each in sheet.tables] == ["MAC reduction,\nconvention exact"]
    one_method = report.sheet(compare(CIFAR, weights=0.8, methods=["rigl"]))
    assert [each.header[0] for each in one_method.tables] == [
        "MAC reduction,\nmethod rigl",
        "MACs left, share of dense training, method rigl",
    ]


def test_a_simulated_speedup_is_not_called_ideal() -> None:
    network = swatcost.load(CIFAR)
    found = compare(network, weights=0.8, methods=["swat"], conventions=["exact"], device="bit-tactical")
    assert "simulated speedup" in render(found, "markdown")
    assert "ideal" not in render(found, "table").lower()


def one(**given: Any) -> Any:
    return compare(CIFAR, weights=0.8, methods=["set", "rigl"], **given)


def several(**given: Any) -> Any:
    return compare_networks([CIFAR, "cifar_vgg16"], weights=0.8, methods=["set", "rigl"], **given)


PAPERS: list[tuple[Callable[..., Any], list[str], list[str]]] = [
    (one, ["rigl-padded"],
     ["MAC reduction, convention rigl-padded", "forward", "grad_input", "grad_weight", "training", "inference",
      "attainable speedup", "ideal speedup"]),
    (one, ["swat", "exact"], ["training reduction", "swat", "exact"]),
    (several, ["exact"], ["training reduction", CIFAR, "cifar_vgg16"]),
    (several, ["exact", "rigl"], ["convention", "training reduction", CIFAR, "cifar_vgg16"]),
]  # fmt: skip


@pytest.mark.parametrize(("made", "conventions", "header"), PAPERS)
def test_a_paper_gets_the_table_that_was_asked_for(
    made: Callable[..., Any], conventions: list[str], header: list[str]
) -> None:
    found = made(conventions=conventions)
    table, _, footnote = render(found, "markdown").partition("\n\n")
    first, _, *rows = [
        [cell.strip().replace(r"\_", "_") for cell in line.strip("|").split("|")] for line in table.split("\n")
    ]
    assert first == header
    assert len(rows) == 2 * (len(conventions) if made is several else 1)
    said = [*conventions, "eights 80 % sparse", f"swatcost {swatcost.__version__}"]
    assert all(each in footnote for each in said)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("made", "conventions", "header"), PAPERS)
def test_a_papers_latex_is_well_formed(
    made: Callable[..., Any], conventions: list[str], header: list[str], relative: bool
) -> None:
    lines = render(made(conventions=conventions), "latex", relative=relative).splitlines()
    text = "\n".join(line for line in lines if not line.startswith("%"))
    assert text.isascii()
    assert (text.count(r"\begin{tabular}"), text.count(r"\end{tabular}")) == (1, 1)
    assert [text.count(each) for each in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert columns is not None
    assert len(columns[1]) == len(header)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(header) - 1}
    plain = re.sub(r"\$(\\times|-|\^2)\$|\\[%_&]|\\[a-z]+", "", text)
    assert plain.count("{") == plain.count("}")
    assert not set("%_#$^~\\") & set(plain.replace(r"\\", ""))
    _, _, footnote = text.partition(r"\end{tabular}")
    assert footnote.strip().startswith(r"\smallskip")
    assert footnote.rstrip().endswith(rf"swatcost {swatcost.__version__}.\par}}")


def test_frames_have_one_row_per_network_method_and_convention(resnet50: Network) -> None:
    found = compare_networks(
        [resnet50, CIFAR], weights=0.8, methods=["dense", "swat"], conventions=["swat", "exact"]
    ).to_frame()
    names = ["resnet50", CIFAR]
    assert list(zip(found["model"], found["method"], found["convention"], strict=True)) == [
        (model, method, convention)
        for model in names
        for method in ("dense", "swat")
        for convention in ("swat", "exact")
    ]
    swat = found.set_index(["model", "method", "convention"]).loc[("resnet50", "swat", "swat")]
    assert swat["training_reduction"] == pytest.approx(0.7612, abs=5e-5)  # Table 3: 76.1 %
    assert swat["training_sparse_macs"] / swat["training_dense_macs"] == pytest.approx(1 - swat["training_reduction"])
    assert swat["inference_dense_macs"] == 4_089_184_256  # as torch's counter has it
    one = compare(resnet50, weights=0.8, methods=["dense", "swat"], conventions=["swat", "exact"]).to_frame()
    assert one.equals(found[found["model"] == "resnet50"])


@pytest.fixture(scope="module")
def large(resnet50: Network) -> list[Comparison | NetworkComparison]:
    """Comparisons of everything with everything."""
    names = ["cifar_densenet121", "cifar_wrn_28_10", "wide_resnet50_2", CIFAR]
    networks = compare_networks([resnet50, *names], weights=0.8, conventions=["exact", "rigl-padded"])
    return [compare(resnet50, weights=0.8), networks]


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("relative", [False, True])
def test_it_fits(width: int, relative: bool, large: list[Comparison | NetworkComparison]) -> None:
    for found in large:
        lines = render(found, "table", relative=relative, width=width).splitlines()
        assert max(map(len, lines)) <= width


def test_a_wide_terminal_is_used(large: list[Comparison | NetworkComparison]) -> None:
    wide = render(large[0], "table", width=140)
    assert "grad_weight    training    inference    attainable speedup    ideal speedup    training MACs" in wide


def test_several_networks_have_the_caveats_of_one() -> None:
    """A convention's charge and the layers that a method's own runs keep dense change the numbers alike."""
    shown = [render(made(), "table", width=200) for made in (one, several)]
    for text in shown:
        assert "Convention swat charges set and rigl 50.00 % of dense grad_weight" in text
        assert "set keeps" in text
    assert "charges set and rigl" in render(one(conventions=["swat"]), "markdown")
