"""Thinking, there and back: `reasoning_details` as what a reasoning item keeps encrypted, and such items as details.

Models take their own thinking back only as they gave it, entry by entry, signatures included. A reasoning item has
one opaque text for that, `encrypted_content`; so all entries go into it, and come out of it unaltered. It is hidden
from nobody: whoever reads the answer may see its thinking. Pure module.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from client.border.json_codec import decode_json, encode_json

_OURS = "reasoning_details:"
_FORMAT = "openai-responses-v1"


class Replayed(NamedTuple):
    """What a reasoning item says of the turn that it belongs to.

    Attributes:
        entries: of `reasoning_details`.
        is_exact: whether they are as the model gave them.
        is_sealed: whether there is anything in them beside text that everybody may read.
        text: what could be read of it.
    """

    entries: list[Any]
    is_exact: bool
    is_sealed: bool
    text: str


def sealed(entries: list[Any]) -> str:
    """Entries as one text."""
    return _OURS + base64.b64encode(encode_json(entries)).decode()


def replayed(item: Mapping[str, Any]) -> Replayed:
    """A reasoning item that came back; one of another server too."""
    texts = [*_texts(item.get("summary")), *_texts(item.get("content"))]
    content = item.get("encrypted_content")
    if isinstance(content, str) and content.startswith(_OURS):
        entries = _opened(content)
        if entries is not None:
            return Replayed(entries, is_exact=True, is_sealed=True, text="".join(texts))
    known = {"id": item["id"]} if isinstance(item.get("id"), str) else {}
    entries = [
        {"type": "reasoning.summary", "summary": text, "format": _FORMAT, "index": index, **known}
        for index, text in enumerate(texts)
    ]
    is_sealed = isinstance(content, str) and bool(content)
    if is_sealed:
        entries.append(
            {"type": "reasoning.encrypted", "data": content, "format": _FORMAT, "index": len(texts), **known}
        )
    return Replayed(entries, is_exact=False, is_sealed=is_sealed, text="".join(texts))


def unsealed(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """A reasoning item for an upstream that reads such items itself: what was sealed here it could not open."""
    content = item.get("encrypted_content")
    if not isinstance(content, str) or not content.startswith(_OURS):
        return item
    entries = [entry for entry in _opened(content) or () if isinstance(entry, dict)]
    data = (entry.get("data") or entry.get("signature") for entry in entries)
    return {**item, "encrypted_content": next((each for each in data if isinstance(each, str)), None)}


def _opened(content: str) -> list[Any] | None:
    """None for what was changed on its way."""
    try:
        found = decode_json(base64.b64decode(content.removeprefix(_OURS), validate=True))
    except (ValueError, binascii.Error):
        return None
    return found if isinstance(found, list) else None


def _texts(parts: Any) -> list[str]:
    if not isinstance(parts, list):
        return []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return [text for text in texts if isinstance(text, str) and text]
