"""Ollama's messages to OpenRouter's. Pure module.

Its calls of tools have no ids, and results name the tool: they are matched by name and order.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from client.border.json_codec import encode_json

_BEGINNINGS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}
_LOOKED_AT = 16
"""Letters of base64 that tell what a picture is."""


def messages_of(found: Iterable[Any]) -> list[dict[str, Any]]:
    """The conversation."""
    messages: list[dict[str, Any]] = []
    open_calls: list[tuple[str, str]] = []  # id and name, in order
    for number, each in enumerate(found):
        if not isinstance(each, Mapping):
            continue
        role = each.get("role")
        if role == "assistant":
            message = _of_assistant(each, number)
            open_calls += [(call["id"], call["function"]["name"]) for call in message.get("tool_calls", ())]
            messages.append(message)
        elif role == "tool":
            call_id = _answered(each, open_calls) or f"call_{number}"
            messages.append({"role": "tool", "tool_call_id": call_id, "content": each.get("content") or ""})
        else:
            messages.append({"role": role or "user", "content": content_of(each.get("content"), each.get("images"))})
    return messages


def content_of(text: Any, images: Any) -> Any:
    """Text alone stays text; with pictures both become parts."""
    pictures = [image for image in images if isinstance(image, str) and image] if isinstance(images, list) else []
    if not pictures:
        return "" if text is None else text
    said = [{"type": "text", "text": text}] if text else []
    return [*said, *({"type": "image_url", "image_url": {"url": url_of_picture(picture)}} for picture in pictures)]


def url_of_picture(picture: str) -> str:
    """Clients send base64 without a word of what it is; an address stays as it is."""
    if picture.startswith(("data:", "http://", "https://")):
        return picture
    try:
        first = binascii.a2b_base64(picture[:_LOOKED_AT])
    except binascii.Error:
        first = b""
    kind = next((kind for beginning, kind in _BEGINNINGS.items() if first.startswith(beginning)), "png")
    return f"data:image/{kind};base64,{picture}"


def _of_assistant(found: Mapping[str, Any], number: int) -> dict[str, Any]:
    listed = found.get("tool_calls")
    calls = [
        _call_of(call, f"call_{number}_{place}")
        for place, call in enumerate(listed if isinstance(listed, list) else ())
        if isinstance(call, Mapping) and isinstance(call.get("function"), Mapping)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": found.get("content") or (None if calls else "")}
    thinking = found.get("thinking")
    if isinstance(thinking, str) and thinking:
        message["reasoning"] = thinking
    if calls:
        message["tool_calls"] = calls
    return message


def _call_of(call: Mapping[str, Any], made_up_id: str) -> dict[str, Any]:
    function, given_id = call["function"], call.get("id")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = encode_json({} if arguments is None else arguments).decode()
    call_id = given_id if isinstance(given_id, str) and given_id else made_up_id
    name = function.get("name")
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name if isinstance(name, str) else "", "arguments": arguments},
    }


def _answered(result: Mapping[str, Any], open_calls: list[tuple[str, str]]) -> str | None:
    """The id of the call that it answers, which is open no longer; None when none is open."""
    given_id, name = result.get("tool_call_id"), result.get("tool_name") or result.get("name")
    named = [call for call in open_calls if call[0] == given_id] or [call for call in open_calls if call[1] == name]
    for call in named or open_calls:
        open_calls.remove(call)
        return call[0]
    return given_id if isinstance(given_id, str) and given_id else None
