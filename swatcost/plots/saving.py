"""Writing a figure to a file."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_bytes_atomically
from swatcost.plots.canvas import CAPTION, TITLE, matplotlib_or_error, said_above, untitled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Text stays text in an SVG, to be searched and edited; a PDF embeds TrueType fonts (42), which journals ask for.
_FONTS = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "swatcost"}
_UNDATED: dict[str, dict[str, Any]] = {  # the same numbers give the same file
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
_METADATA = {  # what each format calls them
    ".png": {TITLE: "Title", CAPTION: "Description"},
    ".svg": {TITLE: "Title", CAPTION: "Description"},
    ".pdf": {TITLE: "Title", CAPTION: "Subject"},
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


def save(figure: Figure, path: Path | str, *, title: bool = True) -> None:
    """Writes the figure as the ending says: the whole file or none. A .png has the figure's own dots per inch.

    Without title the plot's title and caption are left out, for a paper, which has a caption of its own. Either way
    the file's metadata have both. Raises SwatcostError for another ending and for a file that cannot be written.
    """
    path = Path(path)
    check_path(path)
    matplotlib = matplotlib_or_error()
    ending = path.suffix.lower()
    words = said_above(figure)
    metadata = _UNDATED[ending] | {_METADATA[ending][each]: text for each, text in words.items()}
    drawn = io.BytesIO()
    shown = nullcontext() if title or not words else untitled(figure)
    with _writing, matplotlib.rc_context(_FONTS), shown:  # savefig takes fonts from the settings; they are put back
        figure.savefig(drawn, dpi=figure.dpi, format=ending.removeprefix("."), metadata=metadata)
    write_bytes_atomically(path, drawn.getvalue())
