"""Reads runs strictly: by the grammar of their stream, and by the order that AG-UI demands."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp

from tests.protocols.wire_cases import Call, Said
from tests.support.serving import Api

USER = {"id": "u1", "role": "user", "content": "Why?"}
RUN: dict[str, Any] = {"threadId": "t1", "runId": "r1", "messages": [USER], "forwardedProps": {"model": "acme/m"}}
_EVENT = re.compile(r"(?:id: ([A-Za-z0-9_-]+:\d+)\n)?data: ([^\n\r]*)")


async def run(
    api: Api, headers: dict[str, str] | None = None, **more: Any
) -> tuple[aiohttp.ClientResponse, list[dict[str, Any]]]:
    """A run, read to its end; without ids in its events."""
    async with api.http.post(f"{api.url}/ag-ui", json={**RUN, **more}, headers=headers) as response:
        body = await response.read()
    found = parse(body)
    assert response.status == 200
    check_order([event for _, event in found])
    return response, [event for _, event in found]


def parse(body: bytes) -> list[tuple[str | None, dict[str, Any]]]:
    """Ids and events of a body that holds nothing else but pings."""
    assert not body or body.endswith(b"\n\n")
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        if block != ": ping":
            match = _EVENT.fullmatch(block)
            assert match is not None, block
            event = json.loads(match[2])
            assert None not in event.values(), event
            found.append((match[1], event))
    return found


_OPENS = {"TEXT_MESSAGE_START": "text", "REASONING_START": "span", "REASONING_MESSAGE_START": "thought"}
_GOES_ON = {"TEXT_MESSAGE_CONTENT": "text", "REASONING_MESSAGE_CONTENT": "thought", "TOOL_CALL_ARGS": "call"}
_CLOSES = {"TEXT_MESSAGE_END": "text", "REASONING_MESSAGE_END": "thought", "REASONING_END": "span"}


def check_order(events: list[dict[str, Any]]) -> None:
    """Fails unless the events are a run that the protocol's verifier takes."""
    assert [event["type"] for event in events].count("RUN_STARTED") == 1
    assert events[0]["type"] == "RUN_STARTED"
    assert events[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")
    assert not {"RUN_FINISHED", "RUN_ERROR"} & {event["type"] for event in events[:-1]}
    still_open: set[tuple[str, str]] = set()
    ids: list[str] = []
    for event in events:
        kind, key = event["type"], event.get("messageId") or event.get("toolCallId") or ""
        if kind in _OPENS or kind == "TOOL_CALL_START":
            still_open = _open(still_open, _OPENS.get(kind, "call"), key)
            ids += [key] if kind in ("TEXT_MESSAGE_START", "REASONING_START") else []
        elif kind in _GOES_ON:
            assert event["delta"]
            assert (_GOES_ON[kind], key) in still_open
        elif kind in _CLOSES or kind == "TOOL_CALL_END":
            still_open.remove((_CLOSES.get(kind, "call"), key))
    assert len(ids) == len(set(ids))
    left = {kind for kind, _ in still_open}
    assert not left or (events[-1]["type"] == "RUN_ERROR" and left == {"call"})


def _open(still_open: set[tuple[str, str]], kind: str, key: str) -> set[tuple[str, str]]:
    assert (kind, key) not in still_open
    messages = {opened for opened in still_open if opened[0] != "call"}
    if kind == "thought":
        assert messages == {("span", key)}
    elif kind != "call":
        assert not messages, "messages overlap"
    return still_open | {(kind, key)}


def said_by(events: list[dict[str, Any]]) -> Said:
    """What a run says."""

    def texts(kind: str) -> str:
        return "".join(event["delta"] for event in events if event["type"] == kind)

    names = [event.get("name") for event in events if event["type"] == "CUSTOM"]
    values = [event["encryptedValue"] for event in events if event["type"] == "REASONING_ENCRYPTED_VALUE"]
    last = events[-1]
    total = [usage.get("totalTokens") for usage in last.get("usage", ())]
    return Said(
        text=texts("TEXT_MESSAGE_CONTENT").encode("utf-16", "surrogatepass").decode("utf-16"),
        thinking=texts("REASONING_MESSAGE_CONTENT"),
        calls=tuple(_calls(events)),
        images=names.count("openrouter.image"),
        annotations=names.count("openrouter.annotation"),
        finish=_finish(last),
        error=last.get("code"),
        total_tokens=total[0] if total else None,
        details=tuple(entry for value in values for entry in json.loads(value)),
    )


def _calls(events: list[dict[str, Any]]) -> list[Call]:
    ended = {event["toolCallId"]: "metadata" not in event for event in events if event["type"] == "TOOL_CALL_END"}
    pending = events[-1].get("outcome", {}).get("pendingToolCallIds", [])
    calls = []
    for start in (event for event in events if event["type"] == "TOOL_CALL_START"):
        key = start["toolCallId"]
        pieces = [each["delta"] for each in events if each["type"] == "TOOL_CALL_ARGS" and each["toolCallId"] == key]
        calls.append(Call(start["toolCallName"], "".join(pieces), ended.get(key, False)))
        assert (key in pending) == (ended.get(key, False) and events[-1]["type"] == "RUN_FINISHED")
    return calls


def _finish(last: dict[str, Any]) -> str | None:
    if last["type"] == "RUN_ERROR":
        return None
    default = "tool_calls" if last["outcome"].get("pendingToolCallIds") else "stop"
    finish: str | None = last.get("result", {}).get("finishReason", default)
    return finish
