"""Responses as a strict client reads them: every rule of the protocol about order, places and numbers is held."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from client.translation.foreign.fronts import CHAT
from tests.support.serving import Api

ASKED: dict[str, Any] = {"model": "acme/m", "input": "Why?"}
_EVENT = re.compile(rb"event: ([a-z_.]+)\ndata: ([^\n]*)\n\n")
_PINGS = re.compile(rb"^: ping\n\n", re.MULTILINE)
FIELDS = (
    *("id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "metadata", "model"),
    *(
        "output",
        "parallel_tool_calls",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
        "usage",
        "background",
        "store",
    ),
)
ENDS = ("response.completed", "response.incomplete", "response.failed")
USAGE_FIELDS = ("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens")

Event = tuple[str, dict[str, Any]]


def asking(**more: Any) -> dict[str, Any]:
    """A request for events."""
    return {**ASKED, "stream": True, **more}


def events_in(body: bytes, after: int = -1) -> list[Event]:
    """The events of a body, whose numbers follow `after` without gaps."""
    rest = _PINGS.sub(b"", body)
    events: list[Event] = []
    while rest:
        match = _EVENT.match(rest)
        assert match, rest[:200]
        kind, data = match[1].decode(), json.loads(match[2])
        assert data.pop("type") == kind
        assert data.pop("sequence_number") == after + 1 + len(events)
        events.append((kind, data))
        rest = rest[match.end() :]
    return events


@dataclass
class Reader:
    """One client's picture of an answer.

    Attributes:
        output: items, as the events built them.
        response: of the event that ended it; None until then.
    """

    output: list[dict[str, Any]] = field(default_factory=list)
    response: dict[str, Any] | None = None
    kinds: list[str] = field(default_factory=list)
    _open: set[int] = field(default_factory=set)

    def read(self, events: list[Event]) -> Reader:
        """Takes events from the first on."""
        for kind, data in events:
            assert self.response is None, f"{kind} behind the end"
            self._take(kind, deepcopy(data))
            self.kinds.append(kind)
        return self

    def _take(self, kind: str, data: dict[str, Any]) -> None:
        place = len(self.kinds)
        if place < 2:
            assert kind == ("response.created", "response.in_progress")[place]
        if kind in ("response.created", "response.in_progress", *ENDS):
            assert place < 2 or kind in ENDS
            response_in(data["response"])
            if kind in ENDS:
                self._end(kind, data["response"])
            else:
                assert (data["response"]["status"], data["response"]["output"]) == ("in_progress", [])
            return
        index = data["output_index"]
        if kind == "response.output_item.added":
            assert index == len(self.output)
            self.output.append({**data["item"]})
            self._open.add(index)
            return
        assert index in self._open, f"{kind} for an item that is not open"
        item = self.output[index]
        if kind == "response.output_item.done":
            assert data["item"]["id"] == item["id"]
            self._open.remove(index)
            if item["type"] != "image_generation_call":
                for name in ("content", "summary", "arguments"):
                    assert data["item"].get(name) == item.get(name), name
            self.output[index] = data["item"]
            return
        assert data["item_id"] == item["id"]
        self._piece(kind.removeprefix("response."), data, item)

    def _end(self, kind: str, response: dict[str, Any]) -> None:
        self.response = response
        status = kind.removeprefix("response.")
        assert response["status"] == status or (kind == "response.failed" and response["status"] == "cancelled")
        assert (response["error"] is not None) == (status == "failed")
        assert (response["incomplete_details"] is not None) == (status == "incomplete")
        assert [each["id"] for each in response["output"]] == [each["id"] for each in self.output]
        for index, item in enumerate(response["output"]):
            if index not in self._open:
                assert item == self.output[index]
            else:
                assert item["status"] == "incomplete"
        assert not self._open or status != "completed"

    def _piece(self, kind: str, data: dict[str, Any], item: dict[str, Any]) -> None:
        match kind:
            case "reasoning_summary_part.added":
                assert data["summary_index"] == len(item["summary"])
                assert data["part"] == {"type": "summary_text", "text": ""}
                item["summary"].append(data["part"])
            case "reasoning_summary_text.delta":
                item["summary"][data["summary_index"]]["text"] += _some(data["delta"])
            case "reasoning_summary_text.done":
                assert item["summary"][data["summary_index"]]["text"] == data["text"]
            case "reasoning_summary_part.done":
                assert item["summary"][data["summary_index"]] == data["part"]
            case "content_part.added":
                assert data["content_index"] == len(item["content"])
                assert data["part"] in (
                    {"type": "output_text", "text": "", "annotations": [], "logprobs": []},
                    {"type": "refusal", "refusal": ""},
                )
                item["content"].append(data["part"])
            case "output_text.delta":
                part = item["content"][data["content_index"]]
                part["text"] += _some(data["delta"])
                part["logprobs"] += data["logprobs"]
            case "output_text.annotation.added":
                part = item["content"][data["content_index"]]
                assert data["annotation_index"] == len(part["annotations"])
                assert {"type", "url", "title", "start_index", "end_index"} <= data["annotation"].keys()
                part["annotations"].append(data["annotation"])
            case "output_text.done":
                part = item["content"][data["content_index"]]
                assert (part["text"], part["logprobs"]) == (data["text"], data["logprobs"])
            case "refusal.delta":
                item["content"][data["content_index"]]["refusal"] += _some(data["delta"])
            case "refusal.done":
                assert item["content"][data["content_index"]]["refusal"] == data["refusal"]
            case "content_part.done":
                assert item["content"][data["content_index"]] == data["part"]
            case "function_call_arguments.delta":
                item["arguments"] += _some(data["delta"])
            case "function_call_arguments.done":
                assert (item["arguments"], item["name"]) == (data["arguments"], data["name"])
            case _:
                raise AssertionError(kind)


def _some(delta: str) -> str:
    assert delta
    return delta


def response_in(found: dict[str, Any]) -> dict[str, Any]:
    """A Response object, proved to have what the SDKs want."""
    assert set(FIELDS) <= found.keys()
    assert found["object"] == "response"
    assert found["id"].startswith("resp_")
    assert type(found["created_at"]) is int
    assert found["status"] in ("queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
    assert len({each["id"] for each in found["output"]}) == len(found["output"])
    if found["usage"] is not None:
        assert set(USAGE_FIELDS) <= found["usage"].keys()
    return found


def texts_in(response: dict[str, Any], kind: str = "output_text") -> str:
    """All text of the messages."""
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part.get("text", part.get("refusal")) for part in parts if part["type"] == kind)


async def respond(
    api: Api, body: dict[str, Any] | None = None, mount: str = "/v1", **headers: str
) -> tuple[aiohttp.ClientResponse, bytes]:
    """Asks, and reads to the end."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.http.post(f"{api.url}{mount}/responses", json=body or asking(), headers=named) as response:
        return response, await response.read()


class Kept:
    """A stream with such a log, as its readers must know it."""

    id, created_s, requested_model, asked, protocol = "s", 7.0, "acme/m", b'{"metadata":{"a":"b"}}', "responses"
    upstream_protocol = CHAT

    def __init__(self, *, holds_chunks: bool) -> None:
        self.holds_chunks = holds_chunks
