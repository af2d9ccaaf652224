"""How long to wait before a lost connection is tried again. Pure module: chance is handed in."""

from __future__ import annotations

from collections.abc import Callable

FIRST_S = 0.25
LONGEST_S = 10.0


def backoff_s(failures: int, chance: Callable[[], float]) -> float:
    """Seconds before the next try: 250 ms, doubled with every failure in a row up to 10 s, half of it by chance, so
    that clients which were cut together do not come back together.

    Args:
        failures: in a row, this one included; from 1.
        chance: from 0 to 1.
    """
    whole_s = min(LONGEST_S, FIRST_S * float(1 << min(failures - 1, 16)))
    return whole_s / 2 + chance() * whole_s / 2
