"""Where a command's output goes, in which form, and how wide."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from swatcost.common.errors import SwatcostError
from swatcost.common.files import check_writable, write_atomically
from swatcost.common.result import Result
from swatcost.report import render_as

_UNATTENDED_WIDTH = 80
_OTHER_FILES = {".xlsx", ".xls", ".ods", ".html", ".htm", ".pdf", ".docx", ".png", ".svg", ".jpg", ".parquet", ".toml"}
SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}


def form(format: str | None, output: Path | None) -> str:
    """The output form that was asked for, or that the file's ending says."""
    if format or output is None:
        return format or "table"
    ending = output.suffix.lower()
    if ending in SUFFIXES:
        return SUFFIXES[ending]
    if ending in _OTHER_FILES:
        raise SwatcostError(f"--output {output}: {ending} is none of the forms, choose one with --format")
    return "table"


def width(output: Path | None) -> int:
    """Columns to print in: the terminal's, or what COLUMNS says, or 80."""
    attended = output is None and sys.stdout is not None and sys.stdout.isatty()
    return max(40, shutil.get_terminal_size().columns) if attended or "COLUMNS" in os.environ else _UNATTENDED_WIDTH


def colourful(output: Path | None) -> bool:
    """Whether the output goes to a terminal that shows colours (no-color.org)."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return output is None and sys.stdout is not None and sys.stdout.isatty() and not plain


def show(text: str, output: Path | None) -> None:
    """Prints, or writes to a file."""
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text)


@dataclass(frozen=True, kw_only=True)
class Display:
    """The values of the options for a command's output."""

    format: str | None
    output: Path | None
    notes: bool
    quiet: bool

    def check(self) -> None:
        """Raises SwatcostError for an output that will be refused, before anything is computed or drawn."""
        if self.output is not None:
            check_writable(self.output)
            if self.output.suffix.lower() != ".parquet":  # which only a sweep writes
                form(self.format, self.output)

    @property
    def written_as(self) -> str:
        """The output form, or parquet."""
        parquet = self.format is None and self.output is not None and self.output.suffix.lower() == ".parquet"
        return "parquet" if parquet else form(self.format, self.output)

    def view(self, **more: Any) -> dict[str, Any]:
        """The fields of the view that reports are rendered in."""
        how = {"notes": self.notes, "quiet": self.quiet, "more": "--notes", "colour": colourful(self.output)}
        return {"width": width(self.output), **how, **more}

    def result(self, result: Result, **more: Any) -> None:
        """Shows a result's report."""
        self.report(result.report, result, **more)

    def text(self, result: Result, **more: Any) -> str:
        """A result's report."""
        return render_as(result.report, result, form(self.format, self.output), **self.view(**more))

    def report(self, report: str, value: Any, **more: Any) -> None:
        """Shows a report of this name."""
        show(render_as(report, value, form(self.format, self.output), **self.view(**more)), self.output)
