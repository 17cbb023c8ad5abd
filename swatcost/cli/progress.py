"""Progress on standard error, for people who wait; nothing if that is not a terminal."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import click

from swatcost.common.printing import printable_lines
from swatcost.report.numbers import seconds

_PATIENCE_SECONDS = 0.4  # shorter waits show nothing
_ENOUGH_SECONDS = 2.0  # of even work, to extrapolate from


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


class LongWork:
    """Says on standard error what is about to be done, for how long, and how far it is; a context manager.

    If all units of work take `even` time, the time left is extrapolated from the first ones: on a terminal it stands
    beside the bar, elsewhere it is printed once.
    """

    def __init__(self, label: str, described: Callable[[Any], str] = str, *, even: bool = True) -> None:
        self._label, self._described = label, described
        self._told = not even or not unattended()
        self._stack = ExitStack()
        self._bar: Any = None
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> LongWork:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._stack.close()

    def reached(self, done: int, item: Any = None, *, of: int, sentence: str) -> None:
        """`done` of all units are done; the first call begins with a sentence on what is done and where it goes."""
        now = time.monotonic()
        if self._bar is None:
            say(sentence)
            self._bar = self._stack.enter_context(progress_bar(of, self._label, self._described))
        elif self._first is None:
            self._first = done, now  # the first unit has set things up
        elif not self._told and now - self._first[1] >= _ENOUGH_SECONDS:
            before, began = self._first
            left = (now - began) / (done - before) * (of - done)
            say(f"about {seconds(left)} left")
            self._told = True
        self._bar.update(done - self._bar.pos, item)


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
