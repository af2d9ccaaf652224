"""The items of an answer, one class each: how one begins, goes on and ends, and what it looks like so far.

Events are given without what the stream adds to each (`type` in the data, `sequence_number`). Pure module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from client.translation.events import ToolCall
from client.translation.reasoning import ReasoningMerger
from server.protocols.responses.reasoning import sealed

Event = tuple[str, dict[str, Any]]
"""Its type, and the fields of its data."""


class Item(Protocol):
    """One item of the output."""

    def snapshot(self, status: str) -> dict[str, Any]:
        """What it holds so far; `status` is that of an item that is open."""

    def close(self, status: str) -> list[Event]:
        """The events that end it."""


class _Item(ABC):
    """What they share.

    Args:
        id: of the item.
        index: its place in the output.
    """

    def __init__(self, id: str, index: int) -> None:
        self.id = id
        self.index = index
        self._ended: dict[str, Any] | None = None

    def snapshot(self, status: str) -> dict[str, Any]:
        """What it holds so far, or held at its end; `status` is that of an item that is open."""
        return self._so_far(status) if self._ended is None else self._ended

    @abstractmethod
    def _so_far(self, status: str) -> dict[str, Any]:
        """What it holds while it is open."""

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index}

    def _added(self, item: dict[str, Any]) -> Event:
        return "response.output_item.added", {"output_index": self.index, "item": item}

    def _done(self, item: dict[str, Any]) -> Event:
        self._ended = item
        return "response.output_item.done", {"output_index": self.index, "item": item}


class Reasoning(_Item):
    """Thinking: its text as a summary, and the model's own entries sealed."""

    def __init__(self, id: str, index: int) -> None:
        super().__init__(id, index)
        self.entries = ReasoningMerger()
        self._pieces: list[str] = []

    def open(self) -> list[Event]:
        """The events that begin it."""
        return [self._added({**self.snapshot("in_progress"), "summary": []})]

    def add(self, text: str) -> list[Event]:
        """The events of a piece of thinking."""
        at = {**self._place, "summary_index": 0}
        begun = [] if self._pieces else [("response.reasoning_summary_part.added", {**at, "part": _summary("")})]
        self._pieces.append(text)
        return [*begun, ("response.reasoning_summary_text.delta", {**at, "delta": text})]

    def close(self, status: str) -> list[Event]:
        """The events that end it."""
        events: list[Event] = []
        if self._pieces:
            at = {**self._place, "summary_index": 0}
            text = "".join(self._pieces)
            events.append(("response.reasoning_summary_text.done", {**at, "text": text}))
            events.append(("response.reasoning_summary_part.done", {**at, "part": _summary(text)}))
        return [*events, self._done(self.snapshot(status))]

    def _so_far(self, status: str) -> dict[str, Any]:
        summary = [_summary("".join(self._pieces))] if self._pieces else []
        item = {"id": self.id, "type": "reasoning", "status": status, "summary": summary}
        return {**item, "encrypted_content": sealed(self.entries.merged())} if self.entries else item


def _summary(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


class _Part:
    """A part of a message: `output_text` or `refusal`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.annotations: list[Any] = []
        self.logprobs: list[Any] = []

    def snapshot(self) -> dict[str, Any]:
        text = "".join(self.pieces)
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": list(self.annotations),
            "logprobs": list(self.logprobs),
        }


class Message(_Item):
    """Text and refusals."""

    def __init__(self, id: str, index: int) -> None:
        super().__init__(id, index)
        self._parts: list[_Part] = []

    def open(self) -> list[Event]:
        """The events that begin it."""
        return [self._added(self.snapshot("in_progress"))]

    def add(self, kind: str, text: str, logprobs: list[Any]) -> list[Event]:
        """The events of a piece of text (`output_text`) or of a refusal (`refusal`)."""
        events = self._turn_to(kind)
        part = self._parts[-1]
        part.pieces.append(text)
        part.logprobs += logprobs
        if kind == "refusal":
            return [*events, ("response.refusal.delta", {**self._at, "delta": text})]
        delta = {**self._at, "delta": text, "logprobs": logprobs}
        return [*events, ("response.output_text.delta", delta)]

    def annotate(self, annotation: dict[str, Any]) -> list[Event]:
        """The events of a citation."""
        events = self._turn_to("output_text")
        known = self._parts[-1].annotations
        at = {**self._at, "annotation_index": len(known), "annotation": annotation}
        known.append(annotation)
        return [*events, ("response.output_text.annotation.added", at)]

    def close(self, status: str) -> list[Event]:
        """The events that end it."""
        return [*self._close_part(), self._done(self.snapshot(status))]

    def _so_far(self, status: str) -> dict[str, Any]:
        content = [part.snapshot() for part in self._parts]
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}

    @property
    def _at(self) -> dict[str, Any]:
        return {**self._place, "content_index": len(self._parts) - 1}

    def _turn_to(self, kind: str) -> list[Event]:
        if self._parts and self._parts[-1].kind == kind:
            return []
        events = self._close_part()
        self._parts.append(_Part(kind))
        return [*events, ("response.content_part.added", {**self._at, "part": self._parts[-1].snapshot()})]

    def _close_part(self) -> list[Event]:
        if not self._parts:
            return []
        part = self._parts[-1].snapshot()
        done: Event = (
            ("response.refusal.done", {**self._at, "refusal": part["refusal"]})
            if part["type"] == "refusal"
            else ("response.output_text.done", {**self._at, "text": part["text"], "logprobs": part["logprobs"]})
        )
        return [done, ("response.content_part.done", {**self._at, "part": part})]


class FunctionCall(_Item):
    """A call of one of the caller's functions.

    Attributes:
        whole: the call as it was found to be at the end; None until then.
    """

    def __init__(self, id: str, index: int, call_id: str, name: str) -> None:
        super().__init__(id, index)
        self.whole: ToolCall | None = None
        self._call_id = call_id
        self._name = name
        self._pieces: list[str] = []

    def open(self) -> list[Event]:
        """The events that begin it."""
        return [self._added(self.snapshot("in_progress"))]

    def add(self, arguments: str) -> list[Event]:
        """The events of a piece of its arguments."""
        self._pieces.append(arguments)
        return [("response.function_call_arguments.delta", {**self._place, "delta": arguments})]

    def close(self, status: str) -> list[Event]:
        """The events that end it; none for one that was cut off, which nobody may take for whole."""
        if self.whole is None or not self.whole.complete:
            return []
        arguments, name = self.whole.arguments, self.whole.name
        events = [] if self._pieces else self.add(arguments)
        done = {**self._place, "name": name, "arguments": arguments}
        return [*events, ("response.function_call_arguments.done", done), self._done(self.snapshot(status))]

    def _so_far(self, status: str) -> dict[str, Any]:
        whole = self.whole
        is_cut = whole is not None and not whole.complete
        return {
            "id": self.id,
            "type": "function_call",
            "status": "incomplete" if is_cut else status,
            "call_id": self._call_id if whole is None else whole.id,
            "name": self._name if whole is None else whole.name,
            "arguments": "".join(self._pieces) if whole is None else whole.arguments,
        }


class Picture(_Item):
    """An image that the model has made."""

    def __init__(self, id: str, index: int, url: str) -> None:
        super().__init__(id, index)
        head, comma, data = url.partition(",")
        self._result = data if comma and head.startswith("data:") else url
        kind = head.removeprefix("data:image/").partition(";")[0]
        self._format = kind if head.startswith("data:image/") else None

    def open(self) -> list[Event]:
        """The events that begin it."""
        return [
            self._added({"id": self.id, "type": "image_generation_call", "status": "in_progress", "result": None})
        ]

    def close(self, status: str) -> list[Event]:
        """The events that end it: it comes in one piece."""
        return [self._done(self.snapshot(status))]

    def _so_far(self, status: str) -> dict[str, Any]:
        item = {"id": self.id, "type": "image_generation_call", "status": status, "result": self._result}
        return item if self._format is None else {**item, "output_format": self._format}
