r"""Equations as MathML, generated when the pages are built: browsers draw it without scripts or a network."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging


def mathml(latex: str, display: str) -> str:
    """The equation as MathML. LaTeX that the converter leaves is a warning, which fails the build."""
    found = convert(latex, display=display)
    try:
        left = [text for text in ElementTree.fromstring(found).itertext() if "\\" in text]
    except ElementTree.ParseError as error:
        left = [str(error)]
    if left:
        logging.getLogger(__name__).warning("cannot be converted to MathML: %s (%s)", latex, left[0])
    return found


def inline(self: Any, node: nodes.math) -> None:
    """An equation within a line."""
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block(self: Any, node: nodes.math_block) -> None:
    """An equation on a line of its own, which scrolls where the line is too short."""
    label = f' id="{node["ids"][0]}"' if node["ids"] else ""
    self.body.append(f'<div class="math"{label}>{mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Registers the renderer that conf.py names."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
