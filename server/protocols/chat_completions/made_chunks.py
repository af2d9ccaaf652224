"""Any log as one of chunks, so that an answer that began as `POST /chat`, or that upstream gave in another protocol,
is read as Chat Completions.

Typed events have lost which text of the thinking belongs to which entry of `reasoning_details`. Each stretch of
thinking goes out as an entry of its own, and what the entries at the end add to them (signatures, encrypted data)
under their own index; text is never sent twice, since clients would show it twice. Pure module.
"""

from __future__ import annotations

from typing import Any

from client.border.json_codec import encode_json
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

_TEXT = "reasoning.text"
_SENT = ("text", "summary")
_SAYS_MORE = ("signature", "data")


class MadeChunks:
    """Makes the records of a log of chunks (`client.streams.raw_log` tells what these are) of the records of another.

    Args:
        events: those of the other log.
        created_s: epoch seconds, of every chunk.
    """

    def __init__(self, events: LogEvents, created_s: int) -> None:
        self._events = events
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": created_s, "model": ""}
        self._extra: dict[str, Any] = {}  # of the whole answer, to be told with the next chunk
        self._thoughts = 0  # stretches of thinking so far
        self._is_thinking = False
        self._fragments: list[Any] | None = None  # that are to go with the next piece of thinking
        self._has_fragments = False
        self._unsaid: set[int] = set()  # calls of whose arguments nothing has been told
        self._usage: UsageReport | None = None
        self._failure: Failure | None = None

    def __call__(self, records: bytes) -> bytes:
        """The chunks for whole records."""
        return b"".join(map(self._said, self._events.feed(records)))

    def _said(self, event: LogEvent) -> bytes:
        if isinstance(event, ReasoningFragments):
            told = self._untold_fragments()
            self._fragments, self._has_fragments = event.entries, True
            return told
        if isinstance(event, ReasoningDelta):
            return self._thought(event)
        self._is_thinking = False
        return self._untold_fragments() + self._other(event)

    def _untold_fragments(self) -> bytes:
        """Fragments without text of their own, such as a signature."""
        entries, self._fragments = self._fragments, None
        return self._delta({"content": "", "reasoning_details": entries}) if entries else b""

    def _other(self, event: LogEvent) -> bytes:
        match event:
            case StreamStarted():
                self._begin(event)
            case ContentDelta():
                return self._delta({"content": event.text}, event.logprobs, event.extra)
            case RefusalDelta():
                return self._delta({"content": "", "refusal": event.text}, event.logprobs, event.extra)
            case ToolCallDelta():
                return self._call_piece(event)
            case ToolCall():
                return self._rest_of(event)
            case Annotation(found):
                return self._delta({"content": "", "annotations": [found]})
            case Image(found):
                return self._delta({"content": "", "images": [found]})
            case Audio(found):
                return self._delta({"content": "", "audio": found})
            case ReasoningDetails(entries):
                return self._details(entries)
            case UsageReport():
                self._usage = event  # it stands behind the finish, which is told with the end
            case StreamFailed(failure):
                self._failure = failure
            case Done():
                return self._end(event)
        return b""

    # -- what is said ---------------------------------------------------------------------------------------------

    def _begin(self, event: StreamStarted) -> None:
        known = {"id": event.generation_id, "model": event.model, "provider": event.provider}
        self._head |= {name: value for name, value in known.items() if value is not None}
        self._extra |= event.extra or {}

    def _thought(self, event: ReasoningDelta) -> bytes:
        if not self._is_thinking:
            self._is_thinking = True
            self._thoughts += 1
        entries, self._fragments = self._fragments, None
        if not self._has_fragments:
            entries = [{"type": _TEXT, "text": event.text, "index": self._thoughts - 1}]
        told = {"reasoning_details": entries} if entries else {}
        said = {"content": "", "reasoning": event.text, **told}
        return self._delta(said, event.logprobs, event.extra)

    def _details(self, entries: list[Any]) -> bytes:
        """What has not been sent of them; where no text was, they go out as they are."""
        if self._has_fragments:
            return b""
        if not self._thoughts:
            return self._delta({"content": "", "reasoning_details": entries}) if entries else b""
        rest = [entry for entry in map(_without_text, entries) if entry is not None]
        return self._delta({"content": "", "reasoning_details": rest}) if rest else b""

    def _call_piece(self, piece: ToolCallDelta) -> bytes:
        fragment: dict[str, Any] = {"index": piece.index}
        function: dict[str, Any] = {"arguments": piece.arguments}
        if piece.id is not None:
            fragment |= {"id": piece.id, "type": "function"}
            function = {"name": piece.name, **function}
            self._unsaid.add(piece.index)
        if piece.arguments:
            self._unsaid.discard(piece.index)
        return self._fragment({**fragment, "function": function}, piece.logprobs, piece.extra)

    def _rest_of(self, call: ToolCall) -> bytes:
        """No arguments at all are an empty object."""
        if call.index not in self._unsaid or not call.complete:
            return b""
        return self._fragment({"index": call.index, "function": {"arguments": call.arguments}})

    def _fragment(self, fragment: dict[str, Any], logprobs: Any = None, extra: dict[str, Any] | None = None) -> bytes:
        return self._delta({"content": None, "tool_calls": [fragment]}, logprobs, extra)

    # -- the end --------------------------------------------------------------------------------------------------

    def _end(self, done: Done) -> bytes:
        self._extra |= done.extra or {}
        ended = b""
        if self._failure is None and done.completed and done.finish_reason is not None:
            ended = self._delta({"content": ""}, finish=(done.finish_reason, done.native_finish_reason))
        if self._usage is not None:
            self._extra |= self._usage.extra or {}
            ended += self._chunk({"choices": [], "usage": self._usage.usage}) + _ours(b"usage", self._usage)
        if self._failure is not None:
            ended += _ours(b"error", {"failure": self._failure, "is_upstreams": False})
        return ended + _ours(b"done", done)

    # -- bytes ----------------------------------------------------------------------------------------------------

    def _delta(
        self,
        delta: dict[str, Any],
        logprobs: Any = None,
        extra: dict[str, Any] | None = None,
        finish: tuple[str | None, str | None] = (None, None),
    ) -> bytes:
        choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish[0]}
        choice |= {"native_finish_reason": finish[1], "logprobs": logprobs}
        return self._chunk({**(extra or {}), "choices": [choice]})

    def _chunk(self, said: dict[str, Any]) -> bytes:
        extra, self._extra = self._extra, {}
        return b"data: " + encode_json({**extra, **self._head, **said}) + b"\n\n"


def _without_text(entry: Any) -> Any:
    """What an entry adds to the text that was sent; None where that is nothing."""
    if not isinstance(entry, dict) or not any(name in entry for name in _SENT):
        return entry
    if not any(entry.get(name) for name in _SAYS_MORE):
        return None
    return {name: value for name, value in entry.items() if name not in _SENT}


def _ours(name: bytes, data: Any) -> bytes:
    return b"event: " + name + b"\ndata: " + encode_json(data) + b"\n\n"
