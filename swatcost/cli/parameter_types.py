"""Types of the command line's values: fractions, counts, shapes, files of plots, and several values at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from swatcost.common.errors import SwatcostError
from swatcost.common.units import NUMBER, count_from, counts_from, fraction_from, fractions_from, names_from

T = TypeVar("T")


class FractionType(click.ParamType[float]):
    """A fraction, such as 0.8 or 80%; its range is the library's to check."""

    name = "S"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return fraction_from(str(value))
        except SwatcostError:
            pass
        if str(value).strip(" +-").lower() not in ("nan", "inf") and not NUMBER.fullmatch(str(value)):
            self.fail(f"{value!r:.40} is not a number: give the fraction of zeros, such as 0.8 or 80%.", param, ctx)
        return float(str(value))  # which the library refuses by the setting's name


class FractionOrFileType(click.ParamType[Any]):
    """A fraction, or else the path of a file."""

    name = "S"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return fraction_from(str(value))
        except SwatcostError:
            return str(value)


class CountType(click.ParamType[int]):
    """A whole number, such as 1000 or 1k; its range is the library's to check."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        try:
            return int(text) if text.isascii() and text.strip().isdecimal() else count_from(text)
        except ValueError:
            self.fail(f"{value!r:.40} is not a valid integer: give one such as 1000 or 1k.", param, ctx)


class Several(click.ParamType[list[T]]):
    """Values with commas between them, or already a list of them."""

    def __init__(self, name: str, parse: Callable[[str], list[T]]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[T]:
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        try:
            return self._parse(text)
        except SwatcostError as error:
            self.fail(f"{error}.", param, ctx)


FRACTIONS = Several("S,S,…", fractions_from)
"""Fractions with commas between them, and ranges of them: 0.5,90% or 0.5:0.95:0.05."""

COUNTS = Several("N,N,…", counts_from)
"""Whole numbers with commas between them, and ranges of them: 1,10,1k or 32:128:32."""

NAMES = Several("NAME,…", names_from)
"""Names with commas between them: swat,rigl."""


class ShapeOfSample(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them."""

    name = "C,H,W"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(size) for size in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a shape: give whole numbers with commas, such as 3,224,224.", param, ctx)


class PlotPath(click.ParamType[Path]):
    """A file that a plot can be saved in."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from swatcost.plots import check_path

        path = Path(value)
        check_path(path)
        return path
