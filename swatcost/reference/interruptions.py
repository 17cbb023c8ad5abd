"""Stopping between steps, not within one."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class StoppedError(KeyboardInterrupt):
    """A run was interrupted and can be resumed."""


@contextlib.contextmanager
def interruptions() -> Iterator[threading.Event]:
    """An event set by the first interruption, so that the current step finishes; a second one interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
