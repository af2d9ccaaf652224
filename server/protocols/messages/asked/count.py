"""How many tokens a request may have, before anybody has counted them: a quarter of the bytes of its text.

An estimate, for clients that show how full a context is. What a budget reserves is reckoned elsewhere, and higher.
Pure module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_BYTES_PER_TOKEN = 4
_MEDIUM_TOKENS = 1_600
"""A picture of the largest size that Anthropic does not make smaller; a page or two of a document."""
_NO_TEXT: Final = frozenset({"type", "role", "id", "tool_use_id", "cache_control", "signature", "media_type"})
_MOST_VALUES = 200_000


def estimated_tokens(body: Mapping[str, Any]) -> int:
    """At least one."""
    size_bytes, media, seen = 0, 0, 0
    todo: list[Any] = [body.get(name) for name in ("system", "messages", "tools")]
    while todo and seen < _MOST_VALUES:
        value = todo.pop()
        seen += 1
        if isinstance(value, str):
            size_bytes += len(value.encode("utf-8", "surrogatepass"))
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, dict):
            source = value.get("source")
            if isinstance(source, dict) and source.get("type") in ("base64", "url", "file"):
                media += 1
            elif "input_schema" in value:
                todo += (
                    [*value["input_schema"], value["input_schema"]] if isinstance(value["input_schema"], dict) else []
                )
                todo += [value.get("name"), value.get("description")]
            else:
                todo += [item for name, item in value.items() if name not in _NO_TEXT]
    return max(1, -(-size_bytes // _BYTES_PER_TOKEN) + media * _MEDIUM_TOKENS)
