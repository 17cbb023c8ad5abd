"""Adapts Sphinx to this code's names and docstrings.

A name may be documented under another path than the one that defines it: swatcost.estimate.Estimate as
swatcost.Estimate. Docstrings are plain text with `code`, doctests and |x|, which Sphinx would read as a substitution.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes

from docs.making.api import aliases


def resolve(app: Any, env: Any, node: Any, contents: nodes.Node) -> nodes.Node | None:
    """Where a name in a signature is documented, given where it is defined."""
    target = aliases().get(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or target is None:
        return None
    domain = env.get_domain("py")
    found: nodes.Node | None = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, contents)
    return found


def plain(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Escapes the bars of an absolute value."""
    lines[:] = [line if ">>>" in line else re.sub(r"\|(?=\S)([^|`]+)(?<=\S)\|", r"\\|\1\\|", line) for line in lines]


def qualified(
    app: Any, what: str, name: str, of: Any, options: Any, signature: str, gives: str
) -> tuple[str, str] | None:
    """Full names of keyword types where Sphinx could not evaluate a signature: several classes are called Settings."""
    names = getattr(of, "__globals__", {})

    def full(match: re.Match[str]) -> str:
        found = names.get(match[1])
        return match[0] if found is None else f"Unpack[{found.__module__}.{match[1]}]"

    return (re.sub(r"\bUnpack\[(\w+)\]", full, signature), gives) if signature else None


def setup(app: Any) -> dict[str, Any]:
    """Registers `resolve` for names that Sphinx does not find, `plain` for docstrings, `qualified` for signatures."""
    app.connect("autodoc-process-docstring", plain)
    app.connect("autodoc-process-signature", qualified)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
