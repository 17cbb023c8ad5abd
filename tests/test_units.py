"""Amounts as people write them."""

from __future__ import annotations

import pytest

from swatcost.common.errors import SwatcostError
from swatcost.common.units import (
    bytes_from,
    count_from,
    counts_from,
    factor_from,
    fraction_from,
    fractions_from,
    names_from,
    price_from,
)  # fmt: skip


def test_fractions_as_people_write_them() -> None:
    assert fraction_from("80%") == fraction_from("0.8") == fraction_from(" .8 ") == 0.8
    assert fraction_from("1e-1") == 0.1


def test_a_range_includes_both_ends_without_rounding_errors() -> None:
    # 0.5, 0.55, …, 0.95: (0.95 − 0.5) / 0.05 + 1 = 10
    assert fractions_from("0.5:0.95:0.05") == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert fractions_from("50%:95%:5%") == fractions_from("0.5:0.95:0.05")
    assert fractions_from("0:0.25:0.1,0.9") == [0.0, 0.1, 0.2, 0.9]


def test_counts_as_people_write_them() -> None:
    assert [count_from(each) for each in ("1k", "1K", "2.5M", "1_000", "1B", "7")] == [
        1000, 1000, 2_500_000, 1000, 10**9, 7,
    ]  # fmt: skip
    assert counts_from("1,10,100,1k") == [1, 10, 100, 1000]


@pytest.mark.parametrize("text", ["", "a", "0.8x", "nan", "inf", "80%%", "1e999999"])
def test_text_that_is_not_a_fraction_is_refused(text: str) -> None:
    with pytest.raises(SwatcostError, match="not a fraction"):
        fraction_from(text)


@pytest.mark.parametrize("text", ["", "1.5", "k", "1kk", "1e400", "0x10", "."])
def test_text_that_is_not_a_count_is_refused(text: str) -> None:
    with pytest.raises(SwatcostError, match="not a whole number"):
        count_from(text)


@pytest.mark.parametrize("text", ["0.5:0.9", "0.9:0.5:0.1", "0.5:0.9:0", "0.5:0.9:-0.1", "1:2:3:4"])
def test_text_that_is_not_a_range_is_refused(text: str) -> None:
    with pytest.raises(SwatcostError, match="not a range"):
        fractions_from(text)


def test_a_range_of_too_many() -> None:
    with pytest.raises(SwatcostError, match="larger step"):
        fractions_from("0:0.9:0.0000001")


def test_factors_as_the_output_prints_them() -> None:
    assert [factor_from(each) for each in ("4", "4x", "4X", "4.00×", " 2.5 × ")] == [4, 4, 4, 4, 2.5]


@pytest.mark.parametrize("text", ["", "x", "4xx", "nan", "inf", "4 %"])
def test_text_that_is_not_a_factor_is_refused(text: str) -> None:
    with pytest.raises(SwatcostError, match="is not a factor"):
        factor_from(text)


def test_prices_as_the_output_prints_them() -> None:
    assert [price_from(each) for each in ("2", "$2", "2.50 USD", "€ 3", "3£", "10 CHF")] == [
        (2, None), (2, "USD"), (2.5, "USD"), (3, "EUR"), (3, "GBP"), (10, "CHF"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "$", "USD", "$2 EUR", "2 dollars", "nan", "two"])
def test_text_that_is_not_a_price_is_refused(text: str) -> None:
    with pytest.raises(SwatcostError, match="is not a price"):
        price_from(text)


def test_names() -> None:
    assert names_from("swat, rigl") == ["swat", "rigl"]
    with pytest.raises(SwatcostError, match="has no names"):
        names_from(" , ")


def test_bytes() -> None:
    assert bytes_from("11GB") == 11_000_000_000
    assert bytes_from("1GiB") == 2**30
