"""Names that callers imported before modules were grouped by room."""

from __future__ import annotations

from importlib import import_module

import pytest

import swatcost
from swatcost.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_same_module(old: str) -> None:
    module = import_module(f"swatcost.{old}")
    assert module is import_module(f"swatcost.{MOVED[old]}")
    assert module.__spec__ is not None
    assert module.__name__ == module.__spec__.name == f"swatcost.{MOVED[old]}"


def test_a_module_whose_old_name_is_a_function_today_is_both() -> None:
    import_module("swatcost.conventions")
    found = swatcost.conventions("cifar_resnet18")
    assert found.of("exact").flops == found.flops


def test_what_readme_documentation_and_notebooks_imported_is_where_it_was() -> None:
    from swatcost.conventions import CONVENTIONS, Convention
    from swatcost.costs import PASSES
    from swatcost.errors import SwatcostError
    from swatcost.planning.comparing import remaining, where_they_differ
    from swatcost.step import training_memory

    from swatcost import macs, topk
    from swatcost.accelerator import MaskSource, from_checkpoint, parse_shape, simulate
    from swatcost.memory import activation_reduction
    from swatcost.report.numbers import percent, scaled, seconds, times

    assert macs.conv_forward(N=1, F=2, C=3, R=1, S=1, H=1, W=1) == 2 * 3
    assert topk.speedup_limit(0.75) == 4
    found = (
        MaskSource, from_checkpoint, parse_shape, simulate, CONVENTIONS, Convention, PASSES,
        activation_reduction, remaining, where_they_differ, percent, scaled, seconds, times, training_memory,
    )  # fmt: skip
    assert all(found)
    assert SwatcostError is swatcost.SwatcostError


def test_a_name_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("swatcost.nothing")


def test_a_distribution_takes_and_has_its_old_fields() -> None:
    from swatcost.distributions import Distribution, Request, Spread

    def spread(request: Request) -> dict[str, float]:
        return {layer.weight: 0.5 for layer in request.free}

    old: dict[str, object] = {"spread": spread, "bends": None}
    given = Distribution(name="half", title="half", citation="ours", **old)  # type: ignore[arg-type]
    assert Spread is Request
    assert given.allocate is getattr(given, "spread") is spread  # noqa: B009
    assert getattr(given, "bends") is getattr(given, "spread_acts") is None  # noqa: B009
