"""An answer's events as those of Responses.

Items follow one another: thinking ends when something else begins, a message when a call or thinking does. Calls end
all together, since nobody knows before the answer's end whether they are whole; until then others may begin beside
them. What is told after that is decided by the end: a whole answer closes everything, a broken one closes nothing.
Whoever reads, whenever, gets the same events: ids are made of the stream's and of places in it. Pure module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.errors import Failure
from client.streams.log_events import LogEvent, ReasoningFragments
from client.translation.events import (
    Annotation,
    ContentDelta,
    Done,
    Image,
    ReasoningDelta,
    ReasoningDetails,
    RefusalDelta,
    StreamFailed,
    StreamStarted,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from server.protocols.responses.output_items import Event, FunctionCall, Item, Message, Picture, Reasoning
from server.protocols.responses.response_object import error_of, error_of_stop, response_object

_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Composer:
    """Takes an answer's events in order, and tells them.

    Attributes:
        status: `in_progress`, and at the end `completed`, `incomplete`, `failed` or `cancelled`.
        has_usage: whether the answer said what it cost.

    Args:
        model: the one asked for, until another answers.
        asked: what is repeated of the request.
    """

    def __init__(self, stream_id: str, *, created_s: float, model: str, asked: Mapping[str, Any]) -> None:
        self.status = "in_progress"
        self._stream_id = stream_id
        self._created_s = created_s
        self._model = model
        self._asked = asked
        self._has_begun = False
        self._items: list[Item] = []
        self._open: Reasoning | Message | None = None
        self._calls: dict[int, FunctionCall] = {}
        self._loose: list[Any] = []  # entries of thinking that no item holds yet
        self._had_fragments = False
        self._citations: list[dict[str, Any]] = []  # that came before any text
        self._usage: dict[str, Any] | None = None
        self._failure: Failure | None = None
        self._more: dict[str, Any] = {}

    @property
    def has_usage(self) -> bool:
        """Whether upstream told of any."""
        return self._usage is not None

    def response(self, usage: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object so far; `usage` where it was found out later."""
        item_status = {"in_progress": "in_progress", "completed": "completed"}.get(self.status, "incomplete")
        return response_object(
            self._stream_id,
            created_s=self._created_s,
            model=self._model,
            status=self.status,
            asked=self._asked,
            output=[item.snapshot(item_status) for item in self._items],
            usage=self._usage or usage,
            **self._more,
        )

    def item(self, item_id: str) -> dict[str, Any] | None:
        """The item of that id; None where there is none."""
        found = (item.snapshot("completed") for item in self._items)
        return next((item for item in found if item["id"] == item_id), None)

    def take(self, event: LogEvent) -> list[Event]:
        """What a reader is told of one event."""
        match event:
            case ContentDelta(text, logprobs):
                return self._say("output_text", text, _tokens_of(logprobs))
            case ReasoningDelta(text):
                return self._think(text)
            case ToolCallDelta():
                return self._call(event)
            case RefusalDelta(text):
                return self._say("refusal", text, [])
            case ReasoningFragments(entries):
                self._had_fragments = True
                self._keep(entries)
            case ReasoningDetails(entries):
                if not self._had_fragments:
                    self._keep(entries)
            case Annotation(annotation):
                return self._cite(annotation)
            case Image(image):
                return self._show(image)
            case ToolCall():
                return self._note_call(event)
            case StreamStarted(_, model, _, extra):
                self._model = model or self._model
                self._note(extra)
                return self.begin()
            case UsageReport():
                self._usage = event.usage
                self._note(event.extra)
            case StreamFailed(failure):
                self._failure = failure
            case Done():
                return self._end(event)
        return []

    # -- pieces -------------------------------------------------------------------------------------------------

    def _say(self, kind: str, text: str, logprobs: list[Any]) -> list[Event]:
        if not text:
            return []
        events = self._message()
        assert isinstance(self._open, Message)  # noqa: S101
        return [*events, *self._open.add(kind, text, logprobs)]

    def _message(self) -> list[Event]:
        """Opens a message, unless one is open, with the citations that waited for it."""
        if isinstance(self._open, Message):
            return []
        events = self._turn()
        message = self._open = Message(self._id("msg"), len(self._items))
        self._items.append(message)
        events += message.open()
        for citation in self._citations:
            events += message.annotate(citation)
        self._citations = []
        return events

    def _think(self, text: str) -> list[Event]:
        if not text:
            return []
        events = [] if isinstance(self._open, Reasoning) else self._reasoning()
        assert isinstance(self._open, Reasoning)  # noqa: S101
        return [*events, *self._open.add(text)]

    def _reasoning(self) -> list[Event]:
        events = [*self.begin(), *self._close_open()]
        item = self._open = Reasoning(self._id("rs"), len(self._items))
        self._items.append(item)
        events += item.open()
        item.entries.add(self._loose)
        self._loose = []
        return events

    def _keep(self, entries: list[Any]) -> None:
        if isinstance(self._open, Reasoning):
            self._open.entries.add(entries)
        else:
            self._loose += entries

    def _call(self, delta: ToolCallDelta) -> list[Event]:
        events: list[Event] = []
        call = self._calls.get(delta.index)
        if call is None:
            events = self._turn()
            call = FunctionCall(self._id("fc"), len(self._items), delta.id or "", delta.name or "")
            self._calls[delta.index] = call
            self._items.append(call)
            events += call.open()
        return [*events, *call.add(delta.arguments)] if delta.arguments else events

    def _note_call(self, whole: ToolCall) -> list[Event]:
        """It is told of at the end, when it is known that the answer did not break off."""
        events: list[Event] = []
        if whole.index not in self._calls:
            events = self._call(ToolCallDelta(whole.index, whole.id, whole.name, ""))
        self._calls[whole.index].whole = whole
        return events

    def _cite(self, annotation: dict[str, Any]) -> list[Event]:
        citation = _citation_of(annotation)
        if citation is None:
            return []
        if isinstance(self._open, Message):
            return self._open.annotate(citation)
        self._citations.append(citation)
        return []

    def _show(self, image: dict[str, Any]) -> list[Event]:
        url = image.get("image_url")
        url = url.get("url") if isinstance(url, dict) else url
        if not isinstance(url, str):
            return []
        events = self._turn()
        picture = Picture(self._id("ig"), len(self._items), url)
        self._items.append(picture)
        return [*events, *picture.open(), *picture.close("completed")]

    def _note(self, extra: dict[str, Any] | None) -> None:
        tier = (extra or {}).get("service_tier")
        if isinstance(tier, str):
            self._more["service_tier"] = tier

    def _id(self, kind: str) -> str:
        return f"{kind}_{self._stream_id}_{len(self._items)}"

    # -- turns and ends -----------------------------------------------------------------------------------------

    def begin(self) -> list[Event]:
        """What comes first, unless it was told before."""
        if self._has_begun:
            return []
        self._has_begun = True
        return [(f"response.{kind}", {"response": self.response()}) for kind in ("created", "in_progress")]

    def _turn(self) -> list[Event]:
        """Something else than thinking begins; entries that no text came with are an item of their own before it."""
        events = self.begin()
        if self._loose and not self._items:
            events += self._reasoning()
        return [*events, *self._close_open()]

    def _close_open(self, status: str = "completed") -> list[Event]:
        if self._open is None:
            return []
        item, self._open = self._open, None
        return item.close(status)

    def _end(self, done: Done) -> list[Event]:
        if self._failure is not None or not done.completed:
            return self._break_off(done)
        is_cut = any(call.whole is None or not call.whole.complete for call in self._calls.values())
        reason = _CUT.get(done.finish_reason or "", "max_output_tokens" if is_cut else None)
        self._note(done.extra)
        events = self.begin()
        if self._citations:
            events += self._message()
        events += self._close_open("completed" if reason is None else "incomplete")
        for call in self._calls.values():
            events += call.close("completed")
        if self._loose:
            events += [*self._reasoning(), *self._close_open()]
        if reason is None:
            self.status = "completed"
        else:
            self.status = "incomplete"
            self._more["incomplete_details"] = {"reason": reason}
        return [*events, (f"response.{self.status}", {"response": self.response()})]

    def _break_off(self, done: Done) -> list[Event]:
        events = self.begin()
        is_cancelled = self._failure is None and done.finish_reason == "cancelled"
        self.status = "cancelled" if is_cancelled else "failed"
        self._more["error"] = error_of_stop(done) if self._failure is None else error_of(self._failure)
        return [*events, ("response.failed", {"response": self.response()})]


def _citation_of(annotation: dict[str, Any]) -> dict[str, Any] | None:
    """Flat, as Responses have it; None for what they have no word for."""
    said = annotation.get("url_citation")
    if annotation.get("type") != "url_citation" or not isinstance(said, dict) or not isinstance(said.get("url"), str):
        return None
    places = {name: said[name] if isinstance(said.get(name), int) else 0 for name in ("start_index", "end_index")}
    title = said["title"] if isinstance(said.get("title"), str) else ""
    return {**said, "type": "url_citation", "url": said["url"], "title": title, **places}


def _tokens_of(logprobs: Any) -> list[Any]:
    """Those that have the fields which clients insist on."""
    found = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
    if not isinstance(found, list):
        return []
    return [
        {"top_logprobs": [], **each}
        for each in found
        if isinstance(each, dict) and {"token", "logprob"} <= each.keys()
    ]
