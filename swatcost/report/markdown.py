"""A report as GitHub-flavoured Markdown."""

from typing import Any

from tabulate import tabulate

from swatcost.report.sheet import Caveat, Figure, Sheet, Table, View


def render(report: Any, result: Any, view: View) -> str:
    sheet: Sheet = report.sheet(result, view.layers)
    if sheet.paper:
        caveats = "\n".join(f"- {_plain(note)}" for note in sheet.notes if isinstance(note, Caveat))
        return f"{lay_out(sheet.paper)}\n\n{_plain(sheet.paper.footnote)}\n\n{caveats}".rstrip().replace("_", r"\_")
    first, *rest = map(_plain, sheet.opening)
    blocks = ["  \n".join([f"**{first}**", *rest]), "\n".join(map(_listed, sheet.summary))]
    layers = sheet.widest(view.fold) if sheet.shows_layers else None
    blocks += map(lay_out, [*([layers] if layers else []), *sheet.tables])
    blocks.append("\n".join(f"- {_plain(note)}" for note in sheet.notes))
    return "\n\n".join(each for each in blocks if each).replace("_", r"\_")


def _listed(figure: Figure) -> str:
    line = f"- {_plain(figure.label)}: **{_plain(figure.value)}** {_plain(figure.remark)}".rstrip()
    return line.replace("\N{NO-BREAK SPACE}", " ")


def _plain(text: str) -> str:
    """Text without the beginnings of HTML and of links: a name from outside is only read."""
    return text.replace("<", "&lt;").replace("[", r"\[")


def lay_out(table: Table) -> str:
    """A table of cells in this form."""
    header = [heading.replace("\n", " ") for heading in table.header]
    rows = [[_cell(each) for each in row] for row in table.rows]
    return tabulate(rows, headers=header, tablefmt="pipe", disable_numparse=True, colalign=table.alignment)


def _cell(text: str) -> str:
    return _plain(text).replace("|", r"\|").replace("\N{NO-BREAK SPACE}", "&nbsp;")
