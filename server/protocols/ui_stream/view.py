"""Events to the parts of a UI message stream, as versions 5, 6 and 7 of the AI SDK all read them.

Rules of this module: no type of part, no finish reason and no field that one of those versions does not know, since
each ends the stream there; no null for what is optional; no delta or end without its start, and no part left open,
since it would look busy for ever. Behind an error nothing is read. Pure module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from client.border.json_codec import decode_either_way, encode_json, encode_text
from client.errors import Failure
from client.streams.log_events import LogEvent, LogEvents, ReasoningFragments
from client.translation.events import (
    Annotation,
    Audio,
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
from client.translation.reasoning import ReasoningMerger
from server.protocols.event_view import EventView
from server.protocols.stopped import stopped
from server.protocols.ui_stream.media import may_be_followed, media_type_of, url_of_image
from server.protocols.ui_stream.messages import ANNOTATION, METADATA

CUT_CALL = "The call was cut off before it was whole; it must not be run."
_FINISHES = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
}
_OTHER = "other"
_DONE = b"data: [DONE]\n\n"
_TEXT, _REASONING = b"text", b"reasoning"
_FIGURES = ("total_cost", "duration_ms", "time_to_first_token_ms", "tokens_per_second")


@dataclass(slots=True)
class _OpenCall:
    """A call whose arguments still come."""

    id: str
    name: str
    arguments: list[str]


class UiView(EventView):
    """One reader's stream of parts.

    Args:
        message_id: of the message that the parts make up; None where the reader knows it.
        facts: what the message's metadata says from the first.
    """

    def __init__(self, events: LogEvents, *, message_id: str | None, facts: dict[str, Any]) -> None:
        super().__init__(events)
        self._message_id = message_id
        self._facts = facts
        self._has_begun = self._has_refused = self._has_failed = False
        self._block: bytes | None = None
        self._block_id = b""
        self._blocks = self._sources = 0
        self._calls: dict[int, _OpenCall] = {}
        self._details = ReasoningMerger()
        self._has_fragments = False
        self._usage: dict[str, Any] | None = None

    def say(self, event: LogEvent) -> bytes:
        """The parts for one event."""
        match event:
            case ContentDelta(text):
                return self._delta(_TEXT, text)
            case ReasoningDelta(text):
                return self._delta(_REASONING, text)
            case RefusalDelta(text):
                self._has_refused = True
                return self._delta(_TEXT, text)
            case ToolCallDelta():
                return self._tool_delta(event)
            case ToolCall():
                return self._tool_call(event)
            case ReasoningFragments(entries):
                self._has_fragments = True
                self._details.add(entries)
            case ReasoningDetails(entries):
                if not self._has_fragments:
                    self._details.add(entries)
            case UsageReport():
                self._usage = _usage_of(event)
            case StreamStarted():
                return self._begin(event)
            case StreamFailed(failure):
                return self._fail(failure)
            case Done():
                return self._end(event)
            case Annotation() | Image() | Audio():
                return self._begin() + b"".join(map(_frame, self._beside(event)))
        return b""

    def _begin(self, start: StreamStarted | None = None) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        named = (
            {} if start is None else {name: getattr(start, name) for name in ("generation_id", "model", "provider")}
        )
        part: dict[str, Any] = {"type": "start"}
        if self._message_id is not None:
            part["messageId"] = self._message_id
        known = {name: value for name, value in {**self._facts, **named}.items() if value is not None}
        return _frame({**part, "messageMetadata": known}) + _frame({"type": "start-step"})

    # -- text and thinking --------------------------------------------------------------------------------------

    def _delta(self, kind: bytes, text: str) -> bytes:
        if not text:
            return b""
        opening = b"" if self._block is kind else self._open(kind)
        return opening + b'data: {"type":"%b-delta","id":"%b","delta":%b}\n\n' % (
            kind,
            self._block_id,
            encode_text(text),
        )

    def _open(self, kind: bytes) -> bytes:
        closing = self._begin() + self._close(keeps_details=kind is _REASONING)
        self._blocks += 1
        self._block, self._block_id = kind, b"%b-%d" % (kind, self._blocks)
        return closing + b'data: {"type":"%b-start","id":"%b"}\n\n' % (kind, self._block_id)

    def _close(self, *, keeps_details: bool = False) -> bytes:
        """Ends the part that is open; what has come of `reasoning_details` goes with it, but for what belongs to the
        thinking that follows."""
        if self._block is None:
            return b""
        part: dict[str, Any] = {"type": f"{self._block.decode()}-end", "id": self._block_id.decode()}
        self._block = None
        if self._details and not keeps_details:
            part["providerMetadata"] = {METADATA: {"reasoning_details": self._details.merged()}}
            self._details = ReasoningMerger()
        return _frame(part)

    def _close_all(self) -> bytes:
        """The same, with a part of its own for details that came without any text."""
        closed = self._close()
        return closed + self._open(_REASONING) + self._close() if self._details else closed

    # -- tools --------------------------------------------------------------------------------------------------

    def _tool_delta(self, event: ToolCallDelta) -> bytes:
        said = b""
        if event.id is not None and event.name is not None:
            said = self._open_call(event.index, event.id, event.name)
        call = self._calls.get(event.index)
        if call is None or not event.arguments:
            return said
        call.arguments.append(event.arguments)
        delta = {"type": "tool-input-delta", "toolCallId": call.id, "inputTextDelta": event.arguments}
        return said + _frame(delta)

    def _open_call(self, index: int, call_id: str, name: str) -> bytes:
        self._calls[index] = _OpenCall(call_id, name, [])
        closed = self._begin() + self._close_all()
        return closed + _frame({"type": "tool-input-start", "toolCallId": call_id, "toolName": name})

    def _tool_call(self, event: ToolCall) -> bytes:
        call = self._calls.get(event.index)
        opening = (
            b"" if call is not None and call.id == event.id else self._open_call(event.index, event.id, event.name)
        )
        del self._calls[event.index]
        part: dict[str, Any] = {"toolCallId": event.id, "toolName": event.name}
        given, is_json = decode_either_way(event.arguments.encode(errors="surrogatepass") or b"{}")
        if event.complete and (is_json or given is not None):
            return opening + _frame({"type": "tool-input-available", **part, "input": given})
        return opening + _cut_call(event.id, event.name, event.arguments)

    def _cut_calls(self) -> bytes:
        calls, self._calls = self._calls, {}
        return b"".join(_cut_call(call.id, call.name, "".join(call.arguments)) for call in calls.values())

    # -- what stands beside them --------------------------------------------------------------------------------

    def _beside(self, event: Annotation | Image | Audio) -> Iterator[dict[str, Any]]:
        match event:
            case Annotation(annotation):
                source = _source_of(annotation)
                if source is None:
                    yield {"type": ANNOTATION, "data": annotation}
                else:
                    self._sources += 1
                    yield {"type": "source-url", "sourceId": f"source-{self._sources}", **source}
            case Image(image):
                url = url_of_image(image)
                if url is None:
                    yield {"type": "data-image", "data": image}
                else:
                    yield {"type": "file", "url": url, "mediaType": media_type_of(url, "image/png")}
            case Audio(audio):
                yield {"type": "data-audio", "data": audio}

    # -- the end ------------------------------------------------------------------------------------------------

    def _close_message(self) -> bytes:
        return self._begin() + self._close_all() + self._cut_calls()

    def _fail(self, failure: Failure) -> bytes:
        self._has_failed = True
        return self._close_message() + self._figures() + _frame({"type": "error", "errorText": failure.error})

    def _figures(self) -> bytes:
        if self._usage is None:
            return b""
        return _frame({"type": "message-metadata", "messageMetadata": {"usage": self._usage}})

    def _end(self, done: Done) -> bytes:
        if self._has_failed:
            return _DONE
        if done.completed:
            return self._close_message() + _frame({"type": "finish-step"}) + self._finish(done) + _DONE
        if done.finish_reason == "cancelled":
            return self._close_message() + self._figures() + _frame({"type": "abort"}) + _DONE
        return self._fail(stopped(done)) + _DONE

    def _finish(self, done: Done) -> bytes:
        reason = _FINISHES.get(done.finish_reason or "", _OTHER)
        if reason == "stop" and self._has_refused:
            reason = "content-filter"
        metadata: dict[str, Any] = {} if self._usage is None else {"usage": self._usage}
        if reason == _OTHER and done.finish_reason:
            metadata["finish_reason"] = done.finish_reason
        part: dict[str, Any] = {"type": "finish", "finishReason": reason}
        return _frame({**part, "messageMetadata": metadata} if metadata else part)


def _cut_call(call_id: str, name: str, arguments: str) -> bytes:
    part = {"type": "tool-input-error", "toolCallId": call_id, "toolName": name, "input": arguments}
    return _frame({**part, "errorText": CUT_CALL})


def _source_of(annotation: dict[str, Any]) -> dict[str, str] | None:
    """A citation's address and title; None for what is none."""
    cited = annotation.get("url_citation", annotation)
    url = cited.get("url") if isinstance(cited, dict) else None
    if not isinstance(url, str) or not may_be_followed(url):
        return None
    title = cited.get("title")
    return {"url": url, "title": title} if isinstance(title, str) and title else {"url": url}


def _usage_of(report: UsageReport) -> dict[str, Any]:
    """OpenRouter's object and our figures side by side, as in the `usage` event."""
    figures = {name: getattr(report, name) for name in _FIGURES}
    return report.usage | {name: value for name, value in figures.items() if value is not None}


def _frame(part: dict[str, Any]) -> bytes:
    return b"data: " + encode_json(part) + b"\n\n"
