"""What callers have spent on the days that a budget may still be asked about, in memory."""

from __future__ import annotations

from collections import OrderedDict

_MOST_DAYS = 16
"""Days that are kept. They are those that were counted on last and not the last ones of the calendar: a clock that is
set forward and back forgets nothing."""


class Spent:
    """Nano-USD by day and caller, estimates included."""

    def __init__(self) -> None:
        self._days: OrderedDict[str, dict[str, int]] = OrderedDict()  # the one that was counted on last is the last

    def add(self, day: str, caller: str, nano: int) -> None:
        """Counts; a difference on a day that is not kept has nothing that it could be taken from."""
        if nano < 0 and day not in self._days:
            return
        spent = self._days.setdefault(day, {})
        spent[caller] = spent.get(caller, 0) + nano
        self._days.move_to_end(day)
        if len(self._days) > _MOST_DAYS:
            self._days.popitem(last=False)

    def of(self, day: str, caller: str) -> int:
        """What a caller has spent on a day; never below zero."""
        return max(self._days.get(day, {}).get(caller, 0), 0)
