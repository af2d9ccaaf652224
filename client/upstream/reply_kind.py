"""What a reply's body is, by how it begins: labels are wrong too often. Pure module."""

from __future__ import annotations

import enum
import re

_BLANKS = b"\xef\xbb\xbf \t\r\n"
_FIELD = re.compile(rb"(data|event|id|retry)[:\r\n]|:")
_LONGEST_FIELD = 6


class Kind(enum.Enum):
    """A kind of body."""

    EVENTS = "server-sent events"
    JSON = "one JSON value"
    OTHER = "a web page, or anything else"


EVENTS, JSON, OTHER = Kind
"""As names of their own: Python 3.11 finds members of an enum through a hook."""


def kind_of(head: bytes) -> Kind | None:
    """The kind of a body that begins like this; None when that is too little to tell."""
    head = head.lstrip(_BLANKS)
    if not head:
        return None
    if head[:1] in (b"{", b"["):
        return JSON
    if _FIELD.match(head):
        return EVENTS
    may_become_one = any(name.startswith(head) for name in (b"data", b"event", b"id", b"retry"))
    return None if len(head) < _LONGEST_FIELD and may_become_one else OTHER
