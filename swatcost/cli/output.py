"""Where a command's output goes, in which form, and how wide."""

import os
import shutil
import sys
from pathlib import Path

import click

from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_atomically
from swatcost.common.result import Result
from swatcost.report import render

_UNATTENDED_WIDTH = 80
_OTHER_FILES = {".xlsx", ".xls", ".ods", ".html", ".htm", ".pdf", ".docx", ".png", ".svg", ".jpg", ".parquet", ".toml"}
_SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}


def form(format: str | None, output: Path | None) -> str:
    """The output form that was asked for, or that the file's ending says."""
    if format or output is None:
        return format or "table"
    ending = output.suffix.lower()
    if ending in _SUFFIXES:
        return _SUFFIXES[ending]
    if ending in _OTHER_FILES:
        raise SwatcostError(f"--output {output}: {ending} is none of the forms, choose one with --format")
    return "table"


def width(output: Path | None) -> int:
    """Columns to print in: the terminal's, or what COLUMNS says, or 80."""
    attended = output is None and sys.stdout is not None and sys.stdout.isatty()
    return max(40, shutil.get_terminal_size().columns) if attended or "COLUMNS" in os.environ else _UNATTENDED_WIDTH


def show(text: str, output: Path | None) -> None:
    """Prints, or writes to a file."""
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text)


def show_result(
    result: Result, format: str | None, output: Path | None, *, layers: bool = False, relative: bool = False
) -> None:
    """Prints a result's report, or writes it to a file."""
    show(render(result, form(format, output), layers=layers, relative=relative, width=width(output)), output)
