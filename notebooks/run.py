"""Runs every notebook in a fresh kernel.

`python notebooks/run.py` writes the output into the notebooks. With --check it leaves them unchanged, and fails if a
cell raises or its text output differs from the committed one (plots may differ between machines).
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def text_of(notebook: nbformat.NotebookNode) -> list[str]:
    """Each cell's text output, in one string however it was printed."""
    return ["".join(map(text_in, cell.get("outputs", []))) for cell in notebook.cells]


def text_in(output: nbformat.NotebookNode) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def main(check: bool) -> int:
    failures = []
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        committed = text_of(notebook)
        NotebookClient(notebook, timeout=1800, record_timing=False, resources={"metadata": {"path": FOLDER}}).execute()
        if not check:
            nbformat.write(notebook, path)
        elif text_of(notebook) != committed:
            failures.append(path.name)
        print(f"{path.name}: {'differs from the committed output' if path.name in failures else 'ran'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
