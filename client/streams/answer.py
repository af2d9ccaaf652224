"""A whole answer, put together from the events of its log. Pure module."""

from __future__ import annotations

import re
from typing import Any

from client.border.base64_pieces import join_base64
from client.border.json_codec import decode_json

_EVENT = re.compile(rb"event: (\w+)\nid: [^\n]*\ndata: ([^\n]*)\n\n")

_WITH_MORE = frozenset({"start", "content", "reasoning", "refusal", "tool_call_delta", "usage", "done"})
"""Events that may hold what else upstream said."""


class Answer:
    """Takes the bytes of a stream's events in order, whole events at a time.

    Attributes:
        error: data of the `error` event; None without one.
        done: data of the `done` event; None until it came.
        usage: data of the `usage` event; None without one.
        start: data of the `start` event; None without one.
        created_s: epoch seconds as upstream said; None where it did not, and where its chunks are not kept.
    """

    def __init__(self) -> None:
        self.start: dict[str, Any] | None = None
        self.created_s: int | None = None
        self.usage: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.done: dict[str, Any] | None = None
        self._texts: dict[str, list[str]] = {"content": [], "reasoning": [], "refusal": []}
        self._lists: dict[str, list[Any]] = {"annotation": [], "image": [], "audio": [], "tool_call": []}
        self._reasoning_details: list[Any] = []
        self._logprobs: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}

    def feed(self, events: bytes) -> None:
        """Adds events."""
        for name, payload in _EVENT.findall(events):
            self._take(name.decode(), decode_json(payload))

    def text(self, kind: str = "content") -> str:
        """The text so far: `content`, `reasoning` or `refusal`."""
        pieces = self._texts[kind]
        if len(pieces) > 1:
            pieces[:] = ["".join(pieces)]
        return pieces[0] if pieces else ""

    @property
    def images(self) -> list[Any]:
        """Image objects so far."""
        return self._lists["image"]

    def to_result(self) -> dict[str, Any]:
        """The reply of `stream=false`."""
        start = self.start or {}
        done = self.done or {}
        result = {
            "id": start.get("generation_id"),
            "model": start.get("model"),
            "provider": start.get("provider"),
            "content": self.text("content"),
            "reasoning": self.text("reasoning") or None,
            "reasoning_details": self._reasoning_details,
            "refusal": self.text("refusal") or None,
            "tool_calls": [_tool_call(call) for call in self._lists["tool_call"]],
            "annotations": self._lists["annotation"],
            "images": self._lists["image"],
            "finish_reason": done.get("finish_reason"),
            "native_finish_reason": done.get("native_finish_reason"),
            "usage": self.usage,
        }
        if self._lists["audio"]:
            result["audio"] = _joined_audio(self._lists["audio"])
        if self._logprobs:
            result["logprobs"] = self._logprobs
        if self._extra:
            result["extra"] = self._extra
        return result

    def _take(self, name: str, data: Any) -> None:
        if name in self._texts:
            self._texts[name].append(data["text"])
        elif name in self._lists:
            self._lists[name].append(data)
        elif name == "reasoning_details":
            self._reasoning_details = data["reasoning_details"]
        elif name in ("start", "usage", "error", "done"):
            setattr(self, name, data)
        if name in _WITH_MORE:
            _add(self._extra, data.get("extra"))
            logprobs = data.get("logprobs")
            _add(self._logprobs, {"content": logprobs} if isinstance(logprobs, list) else logprobs)


def _add(known: dict[str, Any], new: Any) -> None:
    """Puts together what came piece by piece: lists go on, unless a later one begins with all that was there."""
    if not isinstance(new, dict):
        return
    for name, value in new.items():
        before = known.get(name)
        if isinstance(before, list) and isinstance(value, list) and not _begins_with(value, before):
            before.extend(value)
        elif value is not None or name not in known:
            known[name] = list(value) if isinstance(value, list) else value


def _begins_with(whole: list[Any], beginning: list[Any]) -> bool:
    return len(whole) >= len(beginning) > 0 and whole[: len(beginning)] == beginning


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    """In OpenAI's shape, ready to be sent back; a cut one says so."""
    shaped = {
        "index": call["index"],
        "id": call["id"],
        "type": "function",
        "function": {"name": call["name"], "arguments": call["arguments"]},
    }
    return shaped if call["complete"] else {**shaped, "complete": False}


def _joined_audio(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """One audio object: its data decoded piece by piece and encoded as one, its transcript as text."""
    joined: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    for piece in pieces:
        for field, value in piece.items():
            if field in ("data", "transcript") and isinstance(value, str):
                texts.setdefault(field, []).append(value)
            elif value is not None:
                joined[field] = value
    for field, values in texts.items():
        joined[field] = join_base64(values) if field == "data" else "".join(values)
    return joined
