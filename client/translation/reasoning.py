"""Merging `reasoning_details` fragments for replay.

The rule: walk the entries in arrival order; an entry of the same type and index as the last merged one
continues it, anything else starts a new entry; drop nothing, keep the order. Claude and Gemini reject a turn whose
entries were altered. Pure module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_IN_PIECES = ("reasoning.text", "reasoning.summary", "reasoning.encrypted")
_APPENDED = ("text", "summary", "data")
_OVERWRITTEN = ("signature", "id", "format")


class ReasoningMerger:
    """Collects the entries of one answer."""

    __slots__ = (
        "_entries",
        "_pieces",
        "_repeated",
    )

    def __init__(self) -> None:
        self._entries: list[Any] = []
        self._pieces: dict[str, list[str]] = {}  # of the last entry, by field: joined once, not per fragment
        self._repeated: dict[str, Any] | None = None  # one that continues the last entry

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entries: list[Any]) -> None:
        """Takes the `reasoning_details` of one chunk."""
        self._repeated = None
        for entry in entries:
            if not isinstance(entry, dict):
                self._start(entry)
            elif self._continues(entry):
                self._continue(entry)
            else:
                self._start(dict(entry))

    def add_texts(self, entry: dict[str, Any], field: str, texts: Sequence[str]) -> None:
        """Takes an entry that was taken before, again and again, with other texts in one of its fields."""
        if self._repeated is not entry:
            self.add([{**entry, field: texts[0]}])
            texts = texts[1:]
            if field not in self._pieces or not self._continues(entry):  # one piece more is as good as another entry
                self.add([{**entry, field: text} for text in texts])
                return
            self._repeated = entry
        self._pieces[field] += texts

    def merged(self) -> list[Any]:
        """The merged entries so far."""
        self._repeated = None
        self._join()
        return self._entries

    def _continues(self, entry: dict[str, Any]) -> bool:
        """Server tool calls are whole objects, told apart by their id; unknown types are kept as they are."""
        last = self._entries[-1] if self._entries else None
        kind = entry.get("type")
        if not isinstance(last, dict) or not isinstance(kind, str) or kind not in _IN_PIECES:
            return False
        if last.get("type") != kind:
            return False
        id_, last_id = entry.get("id"), last.get("id")
        return _is_same(last.get("index"), entry.get("index")) and (not id_ or not last_id or _is_same(last_id, id_))

    def _start(self, entry: Any) -> None:
        self._join()
        self._entries.append(entry)

    def _continue(self, entry: dict[str, Any]) -> None:
        last = self._entries[-1]
        for field, value in entry.items():
            if field in _APPENDED and isinstance(value, str):
                pieces = self._pieces.get(field)
                if pieces is None:
                    pieces = self._pieces[field] = [_text(last.get(field))]
                pieces.append(value)
            elif field in _OVERWRITTEN:
                if value:
                    last[field] = value
            elif last.get(field) is None:
                last[field] = value

    def _join(self) -> None:
        for field, pieces in self._pieces.items():
            self._entries[-1][field] = "".join(pieces)
        self._pieces = {}


def _is_same(one: Any, other: Any) -> bool:
    """Whether two scalars are equal; lists and objects are no ids, and may be nested too deeply to be compared."""
    return not isinstance(one, list | dict) and not isinstance(other, list | dict) and one == other


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def text_of(entries: list[Any]) -> str:
    """The readable text of a chunk's entries, for chunks that have no `reasoning` of their own."""
    pieces = (_text(entry.get("text")) or _text(entry.get("summary")) for entry in entries if isinstance(entry, dict))
    return "".join(pieces)
