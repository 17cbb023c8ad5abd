"""Writing a figure to a file."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_bytes_atomically
from swatcost.plots.canvas import matplotlib_or_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Text stays text in an SVG, to be searched and edited; a PDF embeds TrueType fonts (42), which journals ask for.
_FONTS = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "swatcost"}
_UNDATED: dict[str, dict[str, Any]] = {  # the same numbers give the same file
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
ENDINGS = tuple(_UNDATED)
"""Endings of files that a plot can be saved in."""
_writing = threading.Lock()


def check_path(path: Path | str) -> None:
    """SwatcostError unless a plot can be saved there: to be called before anything is computed.

    The ending says the format; the folder has to be there, and matplotlib.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise SwatcostError(f"{path}: a plot is a .png, .svg or .pdf file")
    if not path.parent.is_dir():
        raise SwatcostError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise SwatcostError(f"cannot write {path}: it is a folder")
    matplotlib_or_error()


def save(figure: Figure, path: Path | str) -> None:
    """Writes the figure as the ending says: the whole file or none. A .png has the figure's own dots per inch.

    Raises SwatcostError for another ending and for a file that cannot be written.
    """
    path = Path(path)
    check_path(path)
    matplotlib = matplotlib_or_error()
    ending = path.suffix.lower()
    drawn = io.BytesIO()
    with _writing, matplotlib.rc_context(_FONTS):  # savefig takes these from the settings alone; they are put back
        figure.savefig(drawn, dpi=figure.dpi, format=ending.removeprefix("."), metadata=_UNDATED[ending])
    write_bytes_atomically(path, drawn.getvalue())
