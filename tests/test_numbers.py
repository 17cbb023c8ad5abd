"""Numbers as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swatcost.report.numbers import scaled, seconds
from swatcost.report.sheet import Table
from swatcost.report.table import lay_out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0 µs"),
        (2.5e-9, "2.5 ns"),
        (3.21e-6, "3.2 µs"),
        (0.0421, "42.1 ms"),
        (0.99999, "1.00 s"),
        (1.0, "1.00 s"),
        (59.4, "59.40 s"),
        (59.999, "1 min 0 s"),
        (125.0, "2 min 5 s"),  # 2 · 60 + 5
        (3599.8, "1 h 0 min"),
        (3 * 3600 + 12 * 60, "3 h 12 min"),
        (3 * 3600 + 59 * 60 + 45, "4 h 0 min"),
        (86_399.0, "1 d 0 h"),
        (2 * 86_400 + 4 * 3600, "2 d 4 h"),
        (1234 * 86_400, "1,234 d 0 h"),
    ],
)
def test_times(value: float, text: str) -> None:
    assert seconds(value) == text


_UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


@given(st.floats(1e-9, 1e9))
def test_a_time_read_back_is_the_time_to_the_last_digit_shown(value: float) -> None:
    parts = re.findall(r"([\d.,]+) (\S+)", seconds(value))
    read = sum(float(number.replace(",", "")) * _UNITS[unit] for number, unit in parts)
    number, unit = parts[-1]
    last_digit = 10 ** -len(number.partition(".")[2]) * _UNITS[unit]
    assert abs(read - value) <= last_digit * 0.5000001
    assert float(parts[0][0].replace(",", "")) < 1000 or unit == "h"


def test_prefixes() -> None:
    assert scaled(11e9, "B") == "11.000 GB"
    assert scaled(1500, "B") == "1.500 kB"
    assert scaled(32) == "32"


def test_a_table_is_broken_between_words_to_fit_the_terminal() -> None:
    table = Table(["what is pruned", "sparse share"], [["weights along both, transposable", "50.00 %"], ["all", "1 %"]])
    text = lay_out(table)
    assert "weights along both, transposable" in text
    assert lay_out(table, 80) == text
    narrow = lay_out(table, 30).splitlines()
    assert max(map(len, narrow)) <= 30
    words = {word for line in narrow for word in line.split()}
    assert {"what", "is", "pruned", "sparse", "share", "weights", "along", "both,", "transposable", "all"} <= words
    assert any(line.endswith("50.00 %") for line in narrow)  # numbers are in one piece


def test_a_methods_parameters_are_broken_between_them() -> None:
    table = Table(["method", "reduction"], [["rigl:delta_t=200,t_end=0.75", "77.85 %"]])
    assert lay_out(table, 26).splitlines()[2:] == ["rigl:            77.85 %", " delta_t=200,", " t_end=0.75"]
