"""Asks as the AI SDK's `useChat` does, and reads its message stream more strictly than any of its versions."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from tests.support.serving import Api

_FIELDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    name: (frozenset(needed.split()), frozenset(optional.split()))
    for name, needed, optional in (
        ("start", "", "messageId messageMetadata"),
        ("finish", "", "finishReason messageMetadata"),
        ("message-metadata", "messageMetadata", ""),
        ("start-step", "", ""),
        ("finish-step", "", ""),
        ("text-start", "id", ""),
        ("text-delta", "id delta", ""),
        ("text-end", "id", "providerMetadata"),
        ("reasoning-start", "id", ""),
        ("reasoning-delta", "id delta", ""),
        ("reasoning-end", "id", "providerMetadata"),
        ("tool-input-start", "toolCallId toolName", ""),
        ("tool-input-delta", "toolCallId inputTextDelta", ""),
        ("tool-input-available", "toolCallId toolName input", ""),
        ("tool-input-error", "toolCallId toolName input errorText", ""),
        ("source-url", "sourceId url", "title"),
        ("file", "url mediaType", ""),
        ("data-audio", "data", ""),
        ("data-image", "data", ""),
        ("data-annotation", "data", ""),
        ("error", "errorText", ""),
        ("abort", "", ""),
    )
}
"""What versions 5, 6 and 7 all know: of each part the fields that it must have, and those that it may have."""
_FINISHES = {"stop", "length", "content-filter", "tool-calls", "error", "other"}
_OBJECTS = {"messageMetadata", "providerMetadata", "data"}
_ENDS = {"finish", "error", "abort"}


def user(content: str, **more: Any) -> dict[str, Any]:
    """A user's message."""
    return {"id": "m1", "role": "user", "parts": [{"type": "text", "text": content}], **more}


def posting(*messages: dict[str, Any], id: str = "chat-1", **more: Any) -> dict[str, Any]:
    """The body that `DefaultChatTransport` posts."""
    asked = list(messages) or [user("Why?")]
    return {"id": id, "messages": asked, "trigger": "submit-message", "model": "acme/m", **more}


async def ask(api: Api, *messages: dict[str, Any], **more: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    """An answer, read to its end."""
    async with api.http.post(f"{api.url}/api/chat", json=posting(*messages, **more)) as response:
        return response, await response.read()


def parts_in(body: bytes) -> list[dict[str, Any]]:
    """The parts, proved to be such as every version reads to the end, in an order that none refuses."""
    assert body.endswith(b"\n\n")
    blocks = [block for block in body.removesuffix(b"\n\n").split(b"\n\n") if block != b": ping"]
    assert blocks.pop() == b"data: [DONE]"
    assert all(block.startswith(b"data: ") and b"\n" not in block for block in blocks), body
    parts = [json.loads(block.removeprefix(b"data: "), parse_constant=_refuse) for block in blocks]
    for part in parts:
        _check_part(part)
    _check_order(parts)
    return parts


def text_in(parts: list[dict[str, Any]], kind: str = "text") -> str:
    """The text of all parts of a kind."""
    return "".join(part["delta"] for part in parts if part["type"] == f"{kind}-delta")


def _check_part(part: dict[str, Any]) -> None:
    needed, optional = _FIELDS[part["type"]]
    fields = part.keys() - {"type"}
    assert needed <= fields <= needed | optional, part
    for name in fields - {"input"}:
        assert isinstance(part[name], dict if name in _OBJECTS else str), part
    assert part.get("finishReason", "stop") in _FINISHES
    assert part.get("delta") != ""
    if "providerMetadata" in part:
        assert all(isinstance(each, dict) for each in part["providerMetadata"].values())


def _check_order(parts: list[dict[str, Any]]) -> None:
    """One message of one step; what begins ends, and what an error cuts is closed before it."""
    kinds = [part["type"] for part in parts]
    assert kinds[:2] == ["start", "start-step"]
    assert [kind for kind in kinds if kind in _ENDS] == kinds[-1:]
    assert kinds.count("start") == kinds.count("start-step") == 1
    assert kinds.count("finish-step") == (kinds[-1] == "finish")
    is_open: str | None = None
    seen: set[str] = set()
    calls: dict[str, bool] = {}
    for part in parts:
        kind, _, step = part["type"].rpartition("-")
        if kind in ("text", "reasoning"):
            if step == "start":
                assert is_open is None
                assert part["id"] not in seen
                seen.add(part["id"])
            else:
                assert is_open == kind + part["id"]
            is_open = None if step == "end" else kind + part["id"]
        elif kind == "tool-input":
            assert (part["toolCallId"] in calls) == (step != "start")
            assert not calls.get(part["toolCallId"])
            calls[part["toolCallId"]] = step in ("available", "error")
        elif part["type"] in _ENDS or part["type"] == "finish-step":
            assert is_open is None
    assert all(calls.values())


def _refuse(name: str) -> None:
    raise ValueError(name)
