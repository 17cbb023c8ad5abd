"""A report as LaTeX tables (booktabs), to be read into a paper."""

from typing import Any

from tabulate import tabulate

from swatcost.report.sheet import Sheet, Table

# Characters beyond ASCII that our cells use; tabulate escapes LaTeX's own.
_COMMANDS = {"×": r"$\times$", "↓": r"$\downarrow$", "µ": r"$\mu$", "…": r"\dots{}"}
_NO_BREAK_SPACE = "\ue000"  # stands for it while tabulate strips blanks


def render(report: Any, result: Any, layers: bool, width: int) -> str:
    sheet: Sheet = report.sheet(result, layers)
    comments = [*sheet.opening, *sheet.notes, r"Needs \usepackage{booktabs}."]
    tables = [sheet.widest] if sheet.widest and sheet.shows_layers else sheet.tables
    return "\n\n".join(["\n".join(f"% {comment}" for comment in comments), *map(lay_out, tables)])


def lay_out(table: Table) -> str:
    """A table of cells in this form."""
    header = [heading.replace("\n", " ") for heading in table.header]
    rows = [[cell.replace("\N{NO-BREAK SPACE}", _NO_BREAK_SPACE) for cell in row] for row in table.rows]
    text = tabulate(rows, headers=header, tablefmt="latex_booktabs", disable_numparse=True, colalign=table.alignment)
    for character, command in {**_COMMANDS, _NO_BREAK_SPACE: "~"}.items():
        text = text.replace(character, command)
    return text
