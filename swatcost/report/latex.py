"""A report as LaTeX tables (booktabs), to be read into a paper."""

from typing import Any

from tabulate import LATEX_ESCAPE_RULES, tabulate

from swatcost.report.sheet import Sheet, Table, View

# What our cells and footnotes use that LaTeX prints as something else; tabulate escapes its own characters.
_COMMANDS = {
    "--": "-{}-", "×": r"$\times$", "↓": r"$\downarrow$", "µ": r"$\mu$", "−": "$-$", "→": r"$\rightarrow$", "–": "--",
    "²": "$^2$", "…": r"\dots{}", "₂": "$_2$", "⟨": r"$\langle$", "⟩": r"$\rangle$", "σ": r"$\sigma$",
}  # fmt: skip
_NO_BREAK_SPACE = "\ue000"  # stands for it while tabulate strips blanks


def render(report: Any, result: Any, view: View) -> str:
    sheet: Sheet = report.sheet(result, view.layers)
    summary = (f"{each.label}: {each.value} {each.remark}".rstrip() for each in sheet.summary)
    comments = [*sheet.opening, *summary, *sheet.notes, r"Needs \usepackage{booktabs}."]
    comments = [each.replace("\N{NO-BREAK SPACE}", " ") for each in comments]
    layers = sheet.widest(view.fold) if sheet.shows_layers else None
    tables = [layers] if layers else sheet.tables
    tables = [sheet.paper] if sheet.paper else tables
    return "\n\n".join(["\n".join(f"% {comment}" for comment in comments), *map(lay_out, tables)])


def lay_out(table: Table) -> str:
    """A table of cells in this form."""
    header = [heading.replace("\n", " ") for heading in table.header]
    rows = [[cell.replace("\N{NO-BREAK SPACE}", _NO_BREAK_SPACE) for cell in row] for row in table.rows]
    text = tabulate(rows, headers=header, tablefmt="latex_booktabs", disable_numparse=True, colalign=table.alignment)
    if table.footnote:
        escaped = "".join(LATEX_ESCAPE_RULES.get(character, character) for character in table.footnote)
        text += f"\n\n\\smallskip\n{{\\footnotesize {escaped}\\par}}"
    for character, command in {**_COMMANDS, _NO_BREAK_SPACE: "~"}.items():
        text = text.replace(character, command)
    return text
