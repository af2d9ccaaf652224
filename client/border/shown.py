"""Upstream's words fit to be shown: in one line, bounded, without pages and keys. Pure module."""

from __future__ import annotations

import re
from typing import Any

from client.border.fit import fit_text, number_of
from client.border.redaction import NOTHING_TO_HIDE, REMOVED, Redaction

MAX_TEXT = 500
"""Characters of any upstream text that are passed on."""

_MAX_METADATA = 2_000
"""Characters of upstream's metadata that are passed on, names and texts together."""

_MAX_METADATA_ITEMS = 40
_DEEPEST = 4
_SECRET = re.compile(r"sk-[A-Za-z0-9_-]{8,}|(?i:bearer)\s+\S{8,}")


def clean_text(text: str, limit: int = MAX_TEXT, hide: Redaction = NOTHING_TO_HIDE) -> str:
    """Upstream text fit to show: one line, no keys, no HTML page, at most `limit` characters."""
    text = fit_text(" ".join(text[: 20 * limit].split()))
    if is_page(text):
        return ""
    text = _SECRET.sub(REMOVED, hide.text(text))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_page(text: str) -> bool:
    """Whether the text is a web page."""
    head = text[:400].lower()
    return any(mark in head for mark in ("<html", "<!doctype", "<head", "<body", "<title"))


def bounded(value: Any, hide: Redaction = NOTHING_TO_HIDE, most: int = _MAX_METADATA) -> Any:
    """A copy of upstream's metadata that is safe to show: texts cleaned, and some `most` characters in all.

    What is nested too deeply, and what comes after the last character, is left out.
    """
    return _Copy(hide, most).of(value, 0)


class _Copy:
    """One copy under way; it knows how much of it may still follow."""

    def __init__(self, hide: Redaction, most: int) -> None:
        self._hide = hide
        self._left = most

    def of(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, MAX_TEXT)
        if isinstance(value, dict):
            return self._object(value, depth)
        if isinstance(value, list):
            copied = []
            for item in value[:_MAX_METADATA_ITEMS] if depth < _DEEPEST else ():
                if self._left <= 0:
                    break
                copied.append(self.of(item, depth + 1))
            return copied
        self._left -= 8
        if isinstance(value, bool) or value is None:
            return value
        number = number_of(value)
        return None if number is None or abs(number) >= 2**64 else self._hide.number(number)

    def _object(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        for name, item in list(value.items())[:_MAX_METADATA_ITEMS] if depth < _DEEPEST else ():
            if self._left <= 0:
                break
            copied[self._text(str(name), 100)] = self.of(item, depth + 1)
        return copied

    def _text(self, text: str, limit: int) -> str:
        text = clean_text(text, min(limit, max(1, self._left)), self._hide)
        self._left -= len(text) + 4
        return text
