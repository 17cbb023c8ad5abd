"""Runs every notebook in a fresh kernel.

`python notebooks/run.py` writes the output into the notebooks. With --check it leaves them unchanged, and fails if a
cell raises or its text output differs from the committed one (plots and times may differ between machines); as many run
at a time as there are processors.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parent


def text_of(notebook: nbformat.NotebookNode) -> list[str]:
    """Each cell's text output, in one string however it was printed."""
    return ["".join(map(text_in, cell.get("outputs", []))) for cell in notebook.cells]


def text_in(output: nbformat.NotebookNode) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def ran(path: Path, check: bool) -> bool:
    """Runs a notebook; whether it did, and its output is the committed one if that is to be checked."""
    notebook = nbformat.read(path, as_version=4)
    committed = text_of(notebook)
    client = NotebookClient(notebook, timeout=1800, record_timing=False, resources={"metadata": {"path": FOLDER}})
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"{path.name}: {error}")
        return False
    if not check:
        nbformat.write(notebook, path)
    equal = not check or text_of(notebook) == committed
    print(f"{path.name}: {'ran' if equal else 'differs from the committed output'}")
    return equal


def main(check: bool) -> int:
    at_once = os.cpu_count() if check else 1  # some measure times, which are written
    if check:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ThreadPoolExecutor(at_once) as pool:
        return 0 if all([*pool.map(lambda path: ran(path, check), sorted(FOLDER.glob("*.ipynb")))]) else 1


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
