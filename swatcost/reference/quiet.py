"""Whether anything else was running on a processor while something was measured."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

DISTURBED = 0.1  # share of the processors that others may have had [-]
_PAUSES = (0.0, 1.0, 3.0)  # before further tries [s]
_SHORTEST = 0.1  # of what the system's clock, with a tick of 10 ms, can say something of [s]


@dataclass(frozen=True)
class _Clock:
    """Time on all processors, and on this process, since some moment [s]."""

    wall: float
    busy: float
    own: float


def _clock() -> _Clock | None:
    """None where the system does not say it (Linux does)."""
    try:
        with open("/proc/stat", encoding="ascii") as lines:
            user, nice, system, _, _, irq, soft_irq, steal, *_ = map(int, lines.readline().split()[1:])
    except (OSError, ValueError):
        return None
    own = os.times()
    busy = (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
    return _Clock(time.monotonic(), busy, own.user + own.system + own.children_user + own.children_system)


def watched(run: Callable[[], T]) -> tuple[T, float]:
    """What `run` returns and the share of the processors that other programs had meanwhile [-].

    The share is 0 where the system does not say it, and where it took too little time to tell.
    """
    before = _clock()
    result = run()
    return result, _others(before, _clock())


def quietest(run: Callable[[], T]) -> tuple[T, float]:
    """The same as `watched`. Where others had more than DISTURBED, it is run again, a few times, and the result of the
    quietest run is kept.
    """
    found: list[tuple[float, T]] = []
    for pause in (None, *_PAUSES):
        if pause is not None:
            time.sleep(pause)
        result, others = watched(run)
        found.append((others, result))
        if found[-1][0] <= DISTURBED:
            break
    share, result = min(found, key=lambda each: each[0])
    return result, share


def _others(before: _Clock | None, after: _Clock | None) -> float:
    if before is None or after is None or after.wall - before.wall < _SHORTEST:
        return 0.0
    others = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, others / (after.wall - before.wall) / (os.cpu_count() or 1))
