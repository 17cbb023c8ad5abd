"""How a program ends that is asked to: quietly, at any time, and its worker processes with it.

Importing this from the command line (as `swatcost` or `python -m swatcost`) already has it end so at a signal, before
`heeded` runs: it is imported first.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
if hasattr(signal, "SIGHUP"):  # not on Windows
    _WORDS[signal.SIGHUP] = "terminated, the terminal is gone"
_WATCH_SECONDS = 0.5


def exit_code(number: int) -> int:
    """What a shell reports of a program that a signal ended."""
    return 128 + number


def said(number: int) -> str:
    """What a signal did, in words."""
    return _WORDS[signal.Signals(number)]


@contextlib.contextmanager
def heeded() -> Iterator[list[int]]:
    """Turns Ctrl-C and requests to end into KeyboardInterrupt; yields the numbers of the signals that came.

    Libraries turn the exception into others or lose it in callbacks: what came is known all the same, and a lost one is
    raised again. Signals that are ignored stay ignored.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def hear(number: int, frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def lost(report: Any) -> None:
        if came and issubclass(report.exc_type, KeyboardInterrupt):
            _thread.interrupt_main(signal.Signals(came[-1]))
        else:
            shown(report)

    before = {each: signal.getsignal(each) for each in _WORDS}
    shown, sys.unraisablehook = sys.unraisablehook, lost
    for each, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(each, hear)
    try:
        yield came
    finally:
        for each, handler in before.items():
            if handler is not None:
                signal.signal(each, handler)
        sys.unraisablehook = shown


def end_with(parent: int) -> None:
    """Ends this process when its parent, of this number, ends, however that ends; to be called in a worker process.

    A thread looks every half second: compiled kernels release the interpreter's lock.
    """
    if os.getpid() == parent or any(each.name == _watch.__name__ for each in threading.enumerate()):
        return
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), name=_watch.__name__, daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def _is_command_line() -> bool:
    started = (
        sys.orig_argv[1:3] if sys.orig_argv[1:2] == ["-m"] else [os.path.basename(sys.argv[0] if sys.argv else "")]
    )
    return started in (["-m", "swatcost"], ["swatcost"], ["swatcost.exe"])


def _end_at_once(number: int, frame: Any) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, f"swatcost: {said(number)}\n".encode())
    os._exit(exit_code(number))


if _is_command_line():
    for _each in _WORDS:
        if signal.getsignal(_each) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(_each, _end_at_once)
