"""What a person who waits is shown on standard error; nothing where that is no terminal."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

_PATIENCE_SECONDS = 0.4  # what is done before needs no word


def unattended() -> bool:
    """Whether nobody looks at a progress bar: standard error is no terminal."""
    return sys.stderr is None or not sys.stderr.isatty()


def progress_bar(length: int, label: str, said: Callable[[Any], str] = str) -> Any:
    """click's bar, on standard error; `said` puts what it is moved with into words."""
    return click.progressbar(
        length=length, label=label, file=sys.stderr, hidden=unattended(),
        item_show_func=lambda item: None if item is None else said(item),
    )  # fmt: skip


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Shows `label …` on standard error if what is done takes a while, and wipes it out afterwards."""
    if unattended():
        yield
        return
    text = f"{label} …"[: shutil.get_terminal_size().columns - 1]
    shown = threading.Event()

    def show() -> None:
        shown.set()
        _write(text)

    word = threading.Timer(_PATIENCE_SECONDS, show)
    word.daemon = True
    word.start()
    try:
        yield
    finally:
        word.cancel()
        word.join()
        if shown.is_set():
            _write(f"\r{' ' * len(text)}\r")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
