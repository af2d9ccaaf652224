"""How far a JSON text that comes in pieces has come, without reading any of it twice. Pure module."""

from __future__ import annotations

import re

_STRUCTURE = re.compile(r'["{}\[\]]').search
_STRING_END = re.compile(r'["\\]').search


class JsonProgress:
    """Follows the nesting of one value.

    Attributes:
        has_ended: the object, array or string at the top has been closed. A number never ends: it may go on.
    """

    __slots__ = ("_depth", "_in_string", "_is_escaped", "has_ended")

    def __init__(self) -> None:
        self.has_ended = False
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def feed(self, text: str) -> None:
        """Goes on by a piece; what follows the end is not looked at."""
        at = 0
        while not self.has_ended and at < len(text):
            if self._is_escaped:
                self._is_escaped = False
                at += 1
                continue
            found = (_STRING_END if self._in_string else _STRUCTURE)(text, at)
            if found is None:
                return
            at = found.end()
            self._take(found[0])

    def _take(self, mark: str) -> None:
        if mark == "\\":
            self._is_escaped = True
            return
        if mark == '"':
            self._in_string = not self._in_string
        else:
            self._depth += 1 if mark in "{[" else -1
        self.has_ended = self._depth <= 0 and not self._in_string
