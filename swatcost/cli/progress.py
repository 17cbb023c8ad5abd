"""Progress on standard error, for people who wait; nothing if that is not a terminal."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from swatcost.common.printing import printable_lines

_PATIENCE_SECONDS = 0.4  # shorter waits show nothing


def unattended() -> bool:
    """Whether standard error is not a terminal, so that nobody sees a progress bar."""
    return sys.stderr is None or not sys.stderr.isatty()


def to_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def progress_bar(length: int, label: str, described: Callable[[Any], str] = str) -> Any:
    """click's bar, on standard error; `described` turns the current item into words."""
    return click.progressbar(
        length=length, label=label, file=sys.stderr, hidden=unattended(),
        item_show_func=lambda item: None if item is None else described(item),
    )  # fmt: skip


def say(line: str) -> None:
    """One line on standard error, whatever the names in it hold; nothing if nobody can read it."""
    with suppress(OSError):
        click.echo(f"swatcost: {printable_lines(' '.join(line.split()))}", err=True)


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Shows `label …` on standard error while a slow block runs, and erases it afterwards."""
    if unattended():
        yield
        return
    text = f"{label} …"[: shutil.get_terminal_size().columns - 1]
    shown = threading.Event()

    def show() -> None:
        shown.set()
        _write(text)

    timer = threading.Timer(_PATIENCE_SECONDS, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if shown.is_set():
            _write(f"\r{' ' * len(text)}\r")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
