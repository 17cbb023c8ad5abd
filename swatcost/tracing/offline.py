"""No network: a block in which the thread that runs it opens no connection."""

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

from swatcost.common.errors import SwatcostError

_CONNECTIONS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})
_OFFLINE: dict[int, str] = {}  # what each thread that is offline does


@contextlib.contextmanager
def offline(what: str) -> Iterator[None]:
    """Refuses connections that the block opens with SwatcostError, which names `what` would open them.

    An audit hook sees them, which stays installed but idle afterwards. Other threads are not concerned.
    """
    _install()
    thread = threading.get_ident()
    before = _OFFLINE.get(thread)
    _OFFLINE[thread] = what
    try:
        yield
    finally:
        if before is None:
            del _OFFLINE[thread]
        else:
            _OFFLINE[thread] = before


@functools.cache
def _install() -> None:
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _OFFLINE and event in _CONNECTIONS and (what := _OFFLINE.get(threading.get_ident())) is not None:
        raise SwatcostError(
            f"{what} cannot be built from its config alone: it needs a download, and swatcost makes none"
        )
