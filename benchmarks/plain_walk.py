"""The rule of swatcost.accelerator.schedule as a plain compiled loop: per tile, row and lane, without packed bits."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit
def plain_walk(kept: Any, rows: int, lookahead: int, ahead: Any, aside: Any) -> Any:
    """Cycles of each tile, int64 [tiles]; consumes `kept`, bool [filters, T, lanes]."""
    filters, T, lanes = kept.shape
    cycles = np.zeros(-(-filters // rows), dtype=np.int64)
    for tile in range(len(cycles)):
        first, last = tile * rows, min((tile + 1) * rows, filters)
        free = 0
        for t in range(T):
            empty = True
            for row in range(first, last):
                for lane in range(lanes):
                    if kept[row, t, lane]:
                        empty = False
            if empty and free < lookahead:
                free += 1
                continue
            free = 0
            cycles[tile] += 1
            for row in range(first, last):
                while True:
                    slot, most = -1, 0
                    for lane in range(lanes):
                        if kept[row, t, lane]:
                            continue
                        candidates = 0
                        for each in range(len(ahead)):
                            later = t + ahead[each]
                            if later < T and kept[row, later, (lane + aside[each]) % lanes]:
                                candidates += 1
                        if candidates > most:
                            slot, most = lane, candidates
                    if slot < 0:
                        break
                    for each in range(len(ahead)):
                        later, lane = t + ahead[each], (slot + aside[each]) % lanes
                        if later < T and kept[row, later, lane]:
                            kept[row, later, lane] = False
                            kept[row, t, slot] = True
                            break
    return cycles
