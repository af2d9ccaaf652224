"""Answers of an upstream that speaks Responses itself: its events as they came, under our id and numbers.

`background` and `store` are what the caller asked for, since upstream keeps nothing and was not asked to; an end that
upstream did not tell is `response.failed`. Pure module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from client.border.json_codec import decode_json
from client.errors import Failure
from client.translation.events import Done
from server.protocols.responses.output_items import Event
from server.protocols.responses.response_object import error_of, error_of_stop, response_object

_PIECES = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "content",
    "response.reasoning_text.delta": "content",
    "response.reasoning_summary_text.delta": "summary",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}
"""In which field of an item its pieces belong; two of these are lists of parts."""
_PARTS = {
    "response.content_part.added": "content",
    "response.reasoning_summary_part.added": "summary",
}
_PLACES = {"content": "content_index", "summary": "summary_index"}
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class PassedAnswer:
    """Takes the records of a log in order, and tells their events (`server.protocols.responses.view.Answer`).

    Args:
        model: the one asked for, until upstream names another.
        asked: what is repeated of the request.
    """

    def __init__(self, stream_id: str, *, created_s: float, model: str, asked: Mapping[str, Any]) -> None:
        self._stream_id = stream_id
        self._created_s = created_s
        self._model = model
        self._asked = asked
        self._response: dict[str, Any] = {}
        self._items: dict[int, dict[str, Any]] = {}  # as they were begun, or ended
        self._parts: dict[tuple[int, str, int], dict[str, Any]] = {}  # of those that are not whole
        self._pieces: dict[tuple[int, str, int], list[str]] = {}
        self._failure: Failure | None = None
        self._is_over = False
        self._has_begun = False

    def take(self, name: str | None, data: bytes) -> list[Event]:
        """What a reader is told of one record."""
        if self._is_over:
            return []
        match name:
            case None:
                return self._pass(decode_json(data))
            case "error":
                self._failure = msgspec.convert(decode_json(data)["failure"], Failure)
            case "done":
                return self._end(msgspec.convert(decode_json(data), Done))
        return []

    def response(self, usage: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object so far; `usage`, in the words of chat completions, where it was found out later."""
        base = response_object(
            self._stream_id,
            created_s=self._created_s,
            model=self._model,
            status="in_progress",
            asked=self._asked,
            output=self._output(),
            usage=usage,
        )
        found = {name: value for name, value in self._response.items() if value is not None}
        is_untold = found.get("status") == "completed" and not found.get("output")  # having told every item before
        if is_untold or not self._is_over:
            found.pop("output", None)
        ours = {name: base[name] for name in ("id", "background", "store")}
        return {**base, **found, **ours}

    def item(self, item_id: str) -> dict[str, Any] | None:
        """The item of that id; None where there is none."""
        return next((item for item in self._output() if item.get("id") == item_id), None)

    def _output(self) -> list[dict[str, Any]]:
        return [self._so_far(index) for index in sorted(self._items)]

    def _so_far(self, index: int) -> dict[str, Any]:
        """An item with the pieces that came of it."""
        item = {**self._items[index]}
        for name in ("content", "summary"):
            places = sorted(place for at, kind, place in self._parts if (at, kind) == (index, name))
            if places:
                item[name] = [self._part(index, name, place) for place in places]
        for name in ("arguments", "input"):
            if (pieces := self._pieces.get((index, name, 0))) is not None:
                item[name] = "".join(pieces)
        return item

    def _part(self, index: int, name: str, place: int) -> dict[str, Any]:
        part = self._parts[index, name, place]
        pieces = self._pieces.get((index, name, place))
        field = "refusal" if part.get("type") == "refusal" else "text"
        return part if pieces is None else {**part, field: "".join(pieces)}

    def _pass(self, event: Any) -> list[Event]:
        """Upstream's `error` is told as ours, behind it; what comes behind a failure is of nobody's answer."""
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(kind, str) or kind == "error" or self._failure is not None:
            return []
        fields = {name: value for name, value in event.items() if name not in ("type", "sequence_number")}
        begun = [] if kind == "response.created" else self.begin()
        self._has_begun = True
        self._note(kind, fields)
        if isinstance(response := fields.get("response"), dict):
            self._response = response
            self._model = response["model"] if isinstance(response.get("model"), str) else self._model
            self._is_over = kind in _ENDS
            ours = self.response()
            fields["response"] = {**response, **{name: ours[name] for name in ("id", "background", "store")}}
        return [*begun, (kind, fields)]

    def _note(self, kind: str, fields: dict[str, Any]) -> None:
        """What an item holds so far is known by its pieces until it is whole."""
        index = fields.get("output_index")
        if not isinstance(index, int):
            return
        if isinstance(item := fields.get("item"), dict):
            self._items[index] = item
            if kind == "response.output_item.done":
                for known in (self._parts, self._pieces):
                    for key in [key for key in known if key[0] == index]:
                        del known[key]
        elif (name := _PARTS.get(kind)) is not None and isinstance(part := fields.get("part"), dict):
            self._parts[index, name, _place(fields, name)] = part
        elif (found := _PIECES.get(kind)) is not None and isinstance(piece := fields.get("delta"), str):
            self._pieces.setdefault((index, found, _place(fields, found)), []).append(piece)

    def begin(self) -> list[Event]:
        """What comes first, unless it was told before."""
        if self._has_begun:
            return []
        self._has_begun = True
        return [(f"response.{kind}", {"response": self.response()}) for kind in ("created", "in_progress")]

    def _end(self, done: Done) -> list[Event]:
        """Where upstream has not told it."""
        begun = self.begin()
        self._is_over = True
        if done.completed:
            self._response = {**self._response, "status": "completed", "output": self._output()}
            return [*begun, ("response.completed", {"response": self.response()})]
        is_cancelled = self._failure is None and done.finish_reason == "cancelled"
        error = error_of_stop(done) if self._failure is None else error_of(self._failure)
        status = "cancelled" if is_cancelled else "failed"
        output = [
            item if item.get("status") == "completed" else {**item, "status": "incomplete"} for item in self._output()
        ]
        self._response = {**self._response, "status": status, "error": error, "output": output}
        return [*begun, ("response.failed", {"response": self.response()})]


def _place(fields: dict[str, Any], name: str) -> int:
    place = fields.get(_PLACES.get(name, ""))
    return place if isinstance(place, int) else 0
