"""A log as the events of AG-UI.

Rules of this module: `RUN_STARTED` is first and one of `RUN_FINISHED` and `RUN_ERROR` last; thinking and text are
messages of their own that never overlap; what was opened is closed before the run is finished; optional fields are
absent, never null. A call that was cut off is neither pending nor, where the run fails, ended. Pure module.
"""

from __future__ import annotations

from typing import Any

from client.border.json_codec import decode_json, encode_json
from client.errors import Failure
from client.streams.log_events import LogEvent, LogEvents
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
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from server.protocols.ag_ui.messages import message_id_of
from server.protocols.ag_ui.request import Asked
from server.protocols.ag_ui.usage import full_usage_of, usage_of
from server.protocols.event_view import EventView

PROTOCOL_VERSION = "1.0"
_ORDINARY = (None, "stop", "tool_calls")
"""Ways to finish of which nothing needs to be said."""
_CUT = {"openrouter": {"complete": False}}


class AgUiView(EventView):
    """One reader's events.

    Args:
        asked: what the request said that began the run.
        stream_id: of ids that are made up here.
        after: number of the last event that the reader has.
        has_ids: whether events carry theirs, `<stream_id>:<n>`, n from 1.
    """

    def __init__(
        self, events: LogEvents, asked: Asked, stream_id: str, *, after: int = 0, has_ids: bool = False
    ) -> None:
        super().__init__(events)
        self._run = {"threadId": asked.thread_id, "runId": asked.run_id}
        self._is_resumable = asked.is_resumable
        self._stream_id = stream_id
        self._after = after
        self._has_ids = has_ids
        self._count = 0
        self._messages = 0
        self._open: tuple[str, str] | None = None  # kind and id of the message under way
        self._text_id: str | None = None  # of the message that speaks, to which calls belong
        self._thought_id: str | None = None
        self._calls: dict[int, str] = {}
        self._unsaid: set[str] = set()  # calls of whose arguments nothing has been told
        self._cut: list[str] = []
        self._pending: list[str] = []
        self._usage: list[dict[str, Any]] = []
        self._failure: Failure | None = None

    def say(self, event: LogEvent) -> bytes:
        """The bytes for one event; maybe none."""
        return self._begin() + self._said(event)

    def _begin(self) -> bytes:
        return b"" if self._count else self._event("RUN_STARTED", **self._run, protocolVersion=PROTOCOL_VERSION)

    def jump(self, behind: int) -> bytes:
        """What is open is not closed any more: how much of it there was differs from reader to reader."""
        begun = self._begin()
        self._count, self._open = behind, None
        return begun

    def _said(self, event: LogEvent) -> bytes:
        match event:
            case ContentDelta(text) | RefusalDelta(text):
                return self._text(text)
            case ReasoningDelta(text):
                return self._thought(text)
            case ToolCallDelta():
                return self._call_piece(event)
            case ToolCall():
                return self._call(event)
            case Annotation(found):
                return self._custom("openrouter.annotation", found)
            case Image(found):
                return self._custom("openrouter.image", found)
            case Audio(found):
                return self._custom("openrouter.audio", found)
            case ReasoningDetails(entries):
                return self._close() + self._details(entries)
            case UsageReport():
                self._usage = usage_of(event)
                return self._custom("openrouter.usage", full_usage_of(event))
            case StreamFailed(failure):
                self._failure = failure  # the figures may come behind it; nothing may come behind the run's end
            case Done():
                return self._close() + self._end(event)
        return b""

    # -- messages -----------------------------------------------------------------------------------------------

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        begun = b""
        if self._open is None or self._open[0] != "text":
            begun, self._text_id = self._close(), self._new_id()
            self._open = "text", self._text_id
            begun += self._event("TEXT_MESSAGE_START", messageId=self._text_id, role="assistant")
        return begun + self._event("TEXT_MESSAGE_CONTENT", messageId=self._text_id, delta=text)

    def _thought(self, text: str) -> bytes:
        if not text:
            return b""
        begun = b""
        if self._open is None or self._open[0] != "thought":
            begun = self._close() + self._begin_thought()
        return begun + self._event("REASONING_MESSAGE_CONTENT", messageId=self._thought_id, delta=text)

    def _begin_thought(self) -> bytes:
        self._thought_id = self._new_id()
        self._open = "thought", self._thought_id
        begun = self._event("REASONING_START", messageId=self._thought_id)
        return begun + self._event("REASONING_MESSAGE_START", messageId=self._thought_id, role="reasoning")

    def _close(self) -> bytes:
        """Ends the message under way."""
        if self._open is None:
            return b""
        (kind, message_id), self._open = self._open, None
        if kind == "text":
            return self._event("TEXT_MESSAGE_END", messageId=message_id)
        ended = self._event("REASONING_MESSAGE_END", messageId=message_id)
        return ended + self._event("REASONING_END", messageId=message_id)

    def _details(self, entries: list[Any]) -> bytes:
        """What has to come back unaltered is kept by the client with the thought, or else with what was said."""
        begun = b""
        entity_id = self._thought_id or self._text_id
        if entity_id is None:
            begun = self._begin_thought()
            entity_id, begun = str(self._thought_id), begun + self._close()
        value = encode_json(entries).decode()
        return begun + self._event(
            "REASONING_ENCRYPTED_VALUE", subtype="message", entityId=entity_id, encryptedValue=value
        )

    # -- calls --------------------------------------------------------------------------------------------------

    def _call_piece(self, piece: ToolCallDelta) -> bytes:
        begun = b""
        if piece.index not in self._calls:
            begun = self._begin_call(piece.index, piece.id or f"call_{piece.index}", piece.name or "")
        return begun + self._arguments(self._calls[piece.index], piece.arguments)

    def _arguments(self, call_id: str, text: str) -> bytes:
        if not text:
            return b""
        self._unsaid.discard(call_id)
        return self._event("TOOL_CALL_ARGS", toolCallId=call_id, delta=text)

    def _begin_call(self, index: int, call_id: str, name: str) -> bytes:
        begun = self._close()
        if self._text_id is None:
            self._text_id = self._new_id()
        self._calls[index] = call_id
        self._unsaid.add(call_id)
        return begun + self._event(
            "TOOL_CALL_START", toolCallId=call_id, toolCallName=name, parentMessageId=self._text_id
        )

    def _call(self, call: ToolCall) -> bytes:
        """A call as a whole: what is for the application to run."""
        begun = b"" if call.index in self._calls else self._begin_call(call.index, call.id, call.name)
        call_id = self._calls[call.index]
        if not call.complete:
            self._cut.append(call_id)
            return begun
        self._pending.append(call_id)
        if call_id in self._unsaid:  # none at all are an empty object
            begun += self._arguments(call_id, call.arguments)
        ended = begun + self._event("TOOL_CALL_END", toolCallId=call_id)
        if not self._is_resumable:
            return ended
        given = {"toolCallId": call_id, "toolName": call.name, "input": decode_json(call.arguments.encode())}
        return ended + self._custom("tool-input-available", given)  # what TanStack AI runs the client's tools by

    # -- the end ------------------------------------------------------------------------------------------------

    def _end(self, done: Done) -> bytes:
        used = {"usage": self._usage} if self._usage else {}
        if self._failure is None and not done.completed and done.finish_reason != "cancelled":
            self._failure = _stopped(done)
        if self._failure is not None:
            failure = self._failure
            return self._event("RUN_ERROR", message=failure.error, code=failure.type, **used, rawEvent=failure)
        ended = b"".join(self._event("TOOL_CALL_END", toolCallId=each, metadata=_CUT) for each in self._cut)
        return ended + self._event("RUN_FINISHED", **self._run, **self._outcome(done), **used)

    def _outcome(self, done: Done) -> dict[str, Any]:
        if not done.completed:
            return {"outcome": {"type": "cancelled"}}
        outcome: dict[str, Any] = {"type": "success"}
        if self._pending:
            outcome["pendingToolCallIds"] = self._pending
        if done.finish_reason in _ORDINARY:
            return {"outcome": outcome}
        return {"outcome": outcome, "result": {"finishReason": done.finish_reason}}

    # -- bytes --------------------------------------------------------------------------------------------------

    def _new_id(self) -> str:
        self._messages += 1
        return message_id_of(self._stream_id, self._messages)

    def _custom(self, name: str, value: Any) -> bytes:
        return self._event("CUSTOM", name=name, value=value)

    def _event(self, type_: str, **fields: Any) -> bytes:
        self._count += 1
        if self._count <= self._after:
            return b""
        data = b"data: " + encode_json({"type": type_, **fields}) + b"\n\n"
        return b"id: %b:%d\n" % (self._stream_id.encode(), self._count) + data if self._has_ids else data


def _stopped(done: Done) -> Failure:
    reason = done.finish_reason or "interrupted"
    return Failure(
        error=f"The answer was stopped ({reason}) before it was whole.",
        type="stream_interrupted",
        status=502,
        retryable=True,
    )
