"""What upstream's events held, for whoever passes it on as it is.

All of it is kept as it came, but what no reader of JSON takes: that is left out, or said so that all can read it.
Pure module.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from client.border.fit import fit_json
from client.border.json_codec import encode_json


class Payloads:
    """The data of events since it was last asked for, in order.

    Attributes:
        alone: that of the last read, where it was one event that nothing is to be done with, and nothing else is
            kept; else None. Given out like the others, too; whoever takes it from here sets it to None.
    """

    __slots__ = ("_cut", "_instead", "_kept", "alone")

    def __init__(self) -> None:
        self.alone: bytes | None = None
        self._cut: bytes | None = None
        self._kept: list[bytes] = []
        self._instead: dict[int, tuple[bytes, ...]] = {}  # by `id`: what is kept lives as long

    def __bool__(self) -> bool:
        if self.alone is not None:
            return True
        return any(_resolved(payload, self._instead) for payload in self._kept) if self._instead else bool(self._kept)

    def add(self, payloads: Sequence[bytes]) -> None:
        """Keeps what one read brought."""
        self._keep_alone()
        self._kept += payloads

    def add_alone(self, payload: bytes) -> None:
        """Keeps the only one of a read, with which nothing is to be done."""
        if self._kept or self.alone is not None:
            self.add((payload,))
        else:
            self.alone = payload

    def _keep_alone(self) -> None:
        if self.alone is not None:
            self._kept.append(self.alone)
            self.alone = None

    def drop(self, payload: bytes) -> None:
        """This one is no chunk, or came too late."""
        if self._kept and self._kept[-1] is payload:  # as `[DONE]` is
            del self._kept[-1]
        else:
            self._instead[id(payload)] = ()

    def put(self, payload: bytes, *instead: bytes) -> None:
        """These stand in its place; each of them may be dropped or replaced in turn."""
        self._instead[id(payload)] = instead

    def make_readable(self, payload: bytes, found: Any) -> None:
        """Its JSON (`found`) is odd: it stays as it came where every reader takes it, such as half a surrogate."""
        if not _is_for_all(payload):
            self.put(payload, encode_json(fit_json(found)))

    def cut_behind(self, payload: bytes) -> None:
        """What follows this one is given out apart; the first such word stands."""
        if self._cut is None:
            self._cut = payload

    def take_plain(self) -> list[bytes] | None:
        """Gives out what is kept, if it is as it was added and there is no cut; else None, and it stays."""
        self._keep_alone()
        if self._instead or self._cut is not None:
            return None
        taken, self._kept = self._kept, []
        return taken

    def take(self) -> tuple[list[bytes], list[bytes]]:
        """Gives out what is kept, and what of it stands behind the cut; keeps it no longer."""
        self._keep_alone()
        taken, self._kept = self._kept, []
        instead, self._instead = self._instead, {}
        behind: list[bytes] = []
        if self._cut is not None:
            place = next((place for place, each in enumerate(taken, 1) if each is self._cut), len(taken))
            taken, behind = taken[:place], taken[place:]
        if not instead:
            return taken, behind
        return _all_resolved(taken, instead), _all_resolved(behind, instead)


def _all_resolved(payloads: list[bytes], instead: dict[int, tuple[bytes, ...]]) -> list[bytes]:
    return [each for payload in payloads for each in _resolved(payload, instead)]


def _resolved(payload: bytes, instead: dict[int, tuple[bytes, ...]]) -> list[bytes]:
    if id(payload) not in instead:
        return [payload]
    return [found for each in instead[id(payload)] for found in _resolved(each, instead)]


def _is_for_all(payload: bytes) -> bool:
    try:
        json.loads(payload.decode(), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return False
    return True


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
