"""Builds the documentation into a folder: python -m docs.build build/docs.

The pages of docs/, the notebooks with their committed output, and the pages generated from the program's own data are
put together in a folder beside the output, from which Sphinx builds. A warning is an error, and so is a page that would
load anything from a network.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from docs.making import pages

DOCS = Path(__file__).parent
ROOT = DOCS.parent


def put_together(into: Path) -> None:
    """Copies the pages written by hand and writes the generated ones."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(DOCS, into, ignore=shutil.ignore_patterns("__pycache__", "*.py", "making", "style"))
    (into / "notebooks").mkdir(exist_ok=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, into / "notebooks")
    for name, text in pages().items():
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


_LOADED = re.compile(
    r"<(?:script|img|iframe|source|embed|audio|video)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"' >]+)"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon)\b[^>]*\bhref=[\"']?((?:https?:)?//[^\"' >]+)"
    r"|@import\s+(?:url\()?[\"']?((?:https?:)?//[^\"')]+)"
    r"|url\(\s*[\"']?((?:https?:)?//[^\"')]+)",
    re.IGNORECASE,
)


def loaded_from_network(built: Path) -> list[str]:
    """What pages and styles of the built site would load from a network, as `file: address`."""
    files = [path for path in sorted(built.rglob("*")) if path.suffix in (".html", ".css")]
    return [
        f"{path.relative_to(built)}: {next(filter(None, match.groups()))}"
        for path in files
        for match in _LOADED.finditer(path.read_text(encoding="utf-8"))
    ]


def main(output: str) -> int:
    """Puts the pages together, builds, and looks for anything that a page would load from a network."""
    from sphinx.cmd.build import main as sphinx

    built = Path(output)
    source = built.with_name(f"{built.name}-source")
    put_together(source)
    shutil.rmtree(built, ignore_errors=True)
    options = [
        "-c",
        str(DOCS),
        "-b",
        "html",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        str(built.with_name(f"{built.name}-doctrees")),
    ]
    if failed := sphinx([*options, str(source), str(built)]):
        return failed
    for each in (missed := loaded_from_network(built)):
        print(f"needs a network: {each}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
