"""Thinking as blocks of Messages, and back: what a client sends back next turn must be what upstream said.

Anthropic's own entries of `reasoning_details` are blocks as they are. Those of other makers have more than a block
has room for: all but their text goes into the signature (or the data), which clients keep unread, as an *envelope*.
Pure module.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from client.border.json_codec import decode_json, encode_json
from client.translation.foreign.messages import FORMAT

TEXT, SUMMARY, ENCRYPTED = "reasoning.text", "reasoning.summary", "reasoning.encrypted"
TEXT_FIELDS: Final = {TEXT: "text", SUMMARY: "summary"}
"""By the type of an entry: the field of it that is shown as thinking."""
_ENVELOPE = "or1."
_OF_ANTHROPIC = frozenset({"type", "text", "signature", "format", "index", "data"})


def text_of(value: Any) -> str:
    """A text; empty for what is none, however deep that goes."""
    return value if isinstance(value, str) else ""


def signature_of(entry: dict[str, Any]) -> str | None:
    """The signature of the block that shows an entry's text; None where nothing must come back but that."""
    beside = {name: value for name, value in entry.items() if name not in TEXT_FIELDS.values() and value is not None}
    if entry.get("type") == TEXT and entry.get("format") == FORMAT and _OF_ANTHROPIC.issuperset(beside):
        signature = entry.get("signature")
        return text_of(signature) or None
    if not beside.keys() - {"type", "index"}:
        return None
    return _sealed(beside)


def data_of(entry: Any) -> str:
    """The data of the block that stands for an entry without text."""
    is_plain = isinstance(entry, dict) and entry.get("type") == ENCRYPTED and entry.get("format") == FORMAT
    if is_plain and _OF_ANTHROPIC.issuperset(entry) and isinstance(entry.get("data"), str):
        return str(entry["data"])
    return _sealed(entry)


def entries_of(blocks: list[dict[str, Any]]) -> tuple[list[Any], str]:
    """The entries that blocks of one turn stand for, and the thinking that has none, as text.

    A block of thinking without a signature and the next one, of a signature alone, are one entry: that is how a late
    signature was told.
    """
    entries: list[Any] = []
    unsigned: list[str] = []
    for block in blocks:
        if block.get("type") == "redacted_thinking":
            data = block.get("data")
            opened = _opened(data)
            entries.append({"type": ENCRYPTED, "data": data, "format": FORMAT} if opened is None else opened)
            continue
        text, signature = block.get("thinking"), block.get("signature")
        if not signature:
            unsigned += [text] if isinstance(text, str) and text else []
            continue
        if not text:
            text = unsigned.pop() if unsigned else ""
        beside = _opened(signature)
        if not isinstance(beside, dict):
            beside = {"type": TEXT, "signature": signature, "format": FORMAT}
        field = TEXT_FIELDS.get(text_of(beside.get("type")), "text")
        entries.append({**beside, field: text} if text else beside)
    return _numbered(entries), "".join(unsigned)


def _numbered(entries: list[Any]) -> list[Any]:
    return [
        {**entry, "index": place} if isinstance(entry, dict) and "index" not in entry else entry
        for place, entry in enumerate(entries)
    ]


def _sealed(value: Any) -> str:
    return _ENVELOPE + base64.urlsafe_b64encode(encode_json(value)).decode()


def _opened(text: Any) -> Any:
    """What is in an envelope; None where it is none."""
    if not isinstance(text, str) or not text.startswith(_ENVELOPE):
        return None
    try:
        return decode_json(base64.b64decode(text[len(_ENVELOPE) :].encode(), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
