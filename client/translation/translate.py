"""OpenRouter's stream to typed events, as a pure object: bytes in, `ChatEvent`s out.

Rules of this module:

1. It never raises for anything upstream sends. What it does not know it passes on as it is (`extra`), never fails on.
   What cannot be read at all ends the answer as a failure of upstream's, if text may have been lost with it; what was
   read before it, in the same read too, is passed on.
2. Every stream of events ends with exactly one `Done`; `_NEXT` is the whole of what may follow what.
3. A deduced fact is never better than a stated one: usage is reported once, the last that upstream gave, and never
   made up.
4. One rule reads all: a chunk, a whole completion inside a stream and one instead of a stream (`chunks.chunk`). The
   short way (`recurrence`) takes only what that rule has read before but for its text.

The order upstream keeps to is comments, reasoning, content and tool calls in any mixture, a finish, usage, `[DONE]`;
each of them may be missing, doubled or share a chunk. A finish that more of the answer follows was none. The clock is
handed in; no I/O.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from client.border.fit import count_of, fit_json, fit_name
from client.border.json_codec import decode_either_way, decode_json, encode_json
from client.border.redaction import NOTHING_TO_HIDE, Redaction
from client.errors import Failure
from client.translation.chunks.chunk import Chunk, chunk_of, fit_chunk
from client.translation.chunks.ordinary import ordinary_chunk
from client.translation.chunks.plain import plain_content
from client.translation.errors.failures import failure_of_error
from client.translation.errors.shapes import bare_message_in, error_in
from client.translation.events import (
    ChatEvent,
    ContentDelta,
    Done,
    ReasoningDelta,
    ReasoningDetails,
    RefusalDelta,
    StreamFailed,
    StreamStarted,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)
from client.translation.payloads import Payloads
from client.translation.reasoning import ReasoningMerger
from client.translation.recurrence import Recurrences, Taker
from client.translation.sse import ErrorData, EventTooLarge, SSEDecoder
from client.translation.told import Told
from client.translation.tool_calls import ToolCallAssembler
from client.translation.usage import has_figures, tokens_per_second, usage_of_attempts


def _failure_of(error: Any, provider: str | None) -> Failure:
    return failure_of_error(error, provider=provider)


class State(enum.Enum):
    """How far a stream has come."""

    __hash__ = object.__hash__  # that of `Enum` is written in Python, and members are looked up for every event

    WAITING = "no chunk of the model yet"
    STREAMING = "the model has begun"
    FINISHED = "a finish reason came; usage and [DONE] may follow"
    FAILED = "an error was passed on; usage may follow"
    DONE = "the last event was passed on"


class Signal(enum.Enum):
    """What moves a stream on."""

    __hash__ = object.__hash__

    BEGIN = enum.auto()
    FINISH = enum.auto()
    RESUME = enum.auto()
    ERROR = enum.auto()
    END = enum.auto()


# As names of their own: looking into an enum costs, and is done for every chunk.
WAITING, STREAMING, FINISHED, FAILED, DONE = State
BEGIN, FINISH, RESUME, ERROR, END = Signal

_NEXT = {
    (WAITING, BEGIN): STREAMING,
    (WAITING, ERROR): FAILED,
    (WAITING, END): DONE,
    (STREAMING, FINISH): FINISHED,
    (STREAMING, ERROR): FAILED,
    (STREAMING, END): DONE,
    (FINISHED, RESUME): STREAMING,
    (FINISHED, ERROR): FAILED,
    (FINISHED, END): DONE,
    (FAILED, END): DONE,
}

_BROKEN_NATIVE = {"network_error", "error", "insufficient_system_resource"}
"""Providers' words for an answer that broke off, which arrive under the finish reason `stop`."""

_CUT_NATIVE = {"length", "max_output_tokens", "max_tokens", "MAX_TOKENS"}

EMPTY_REPLY = Failure(
    error="OpenRouter answered 200 and then nothing; try again.",
    type="upstream_protocol",
    status=502,
    retryable=True,
)
INTERRUPTED = Failure(
    error="The connection to OpenRouter ended in the middle of the answer; what came before is valid. Try again.",
    type="stream_interrupted",
    status=502,
    retryable=True,
)
UNREADABLE = Failure(
    error="OpenRouter sent a part of the answer that cannot be read; what came before is valid. Try again.",
    type="upstream_protocol",
    status=502,
    retryable=True,
)
OTHER_CHOICE = Failure(
    error="OpenRouter sent choices of other numbers than 0, and none of number 0; use another model.",
    type="upstream_protocol",
    status=502,
    retryable=False,
)
_MANY = 8
"""Payloads of one read from which on it is worth a look whether many are alike."""
_Text = ContentDelta | ReasoningDelta | RefusalDelta
_OF_TEXT = (ContentDelta, RefusalDelta, ReasoningDelta, ToolCallDelta)
"""Events that carry what was said beside a text; the first of these kinds that a chunk gives has its logprobs."""


Ways = tuple[Callable[[bytes], str | None] | None, bool, Sequence[Taker]]
"""Short ways that a payload may go: the text of one that recurs, whether a plain one is expected, and others."""
NO_WAYS: Ways = None, False, ()
_NO_CALLS = ToolCallAssembler()
"""Of all answers that call nothing, as most do."""
_NO_DECODER = SSEDecoder(0)
_NO_RECURRENCES = Recurrences(ReasoningMerger().add_texts)
"""Of all answers that have ended."""


class ChatTranslator:
    """Translates one upstream reply.

    Attributes:
        state: how far it has come.
        has_begun: whether `StreamStarted` was given out.
        started_s: clock reading at the beginning.
        generation_id, model, provider: as upstream's chunks name them; None until then.
        created_s: when the answer was begun, in epoch seconds, as its first chunk says; None where it does not.
        usage: upstream's last usage object; None until then.
        reckoned: what `UsageReport` said was used, and its cost in USD; None until then.
        first_token_s: clock reading at the first reasoning, content or tool call; None until then.
        last_read_s: clock reading at the last read, whatever it held; at first, at the beginning.
        last_event_s: the same for the last event of the model; comments and junk are none.
        finish_reason: that of `Done`; None until then.
        failure: that of `StreamFailed`; None without one.
        has_told_failure: whether upstream told of the failure where everybody looks for it, in `error`.
        payloads: what is kept of upstream's events; None where nothing is.
        same: what all chunks of the last read were like, which differ in nothing but a piece of the answer, or in one
            of thinking; None where one of them was not.
        skipped: events that were none of the model: no JSON object, not `[DONE]`, or one about something else; and
            those that could not be read.

    Args:
        read_error: makes a failure of an `error` value and the provider's name.
        hide: what must not be in any name or usage.
        earlier: usage of attempts that failed before this one.
        keeps_payloads: keeps the data of upstream's events until `take_payloads`.
    """

    # CPython keeps the attributes of an object in place up to 30 of them; these are more, and are looked at for every
    # event.
    __slots__ = (
        "_calls",
        "_clock",
        "_decoder",
        "_earlier",
        "_finish_reason",
        "_has_choice",
        "_has_other_choice",
        "_held",
        "_hide",
        "_junk",
        "_kinds",
        "_native_finish_reason",
        "_read_error",
        "_reasoning",
        "_recurrences",
        "_said",
        "_told",
        "_usage_reported",
        "_ways",
        "created_s",
        "failure",
        "finish_reason",
        "first_token_s",
        "generation_id",
        "has_begun",
        "has_told_failure",
        "last_event_s",
        "last_read_s",
        "model",
        "payloads",
        "provider",
        "reckoned",
        "same",
        "skipped",
        "started_s",
        "state",
        "usage",
    )

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        generation_id: str | None = None,
        max_event_bytes: int = 64 * 1024 * 1024,
        read_error: Callable[[Any, str | None], Failure] = _failure_of,
        hide: Redaction = NOTHING_TO_HIDE,
        earlier: Sequence[dict[str, Any]] = (),
        keeps_payloads: bool = False,
    ) -> None:
        self.state = WAITING
        self.has_begun = False
        self.generation_id = generation_id
        self.model: str | None = None
        self.provider: str | None = None
        self.created_s: int | None = None
        self.usage: dict[str, Any] | None = None
        self.reckoned: tuple[dict[str, Any], float | None] | None = None
        self.first_token_s: float | None = None
        self.finish_reason: str | None = None
        self.failure: Failure | None = None
        self.skipped = 0
        self.last_event_s = self.last_read_s = self.started_s = clock()
        self._clock = clock
        self._read_error = read_error
        self._hide = hide
        self._earlier = earlier
        self.has_told_failure = False
        self.payloads = Payloads() if keeps_payloads else None
        self._decoder = SSEDecoder(max_event_bytes)
        self._calls = _NO_CALLS
        self._reasoning = ReasoningMerger()
        self._recurrences = Recurrences(self._reasoning.add_texts)
        self._ways = NO_WAYS  # that the next payload may go
        self.same: object | None = None
        self._told = Told()
        self._held: dict[type[_Text], str] = {}
        self._kinds: tuple[type, ...] = ()  # kinds of pieces that came: few
        self._has_choice = self._has_other_choice = False
        self._finish_reason: str | None = None
        self._native_finish_reason: str | None = None
        self._usage_reported = False
        self._junk = 0  # events of the read under way that were none of the model
        self._said: Failure | None = None  # what may have been an error, if nothing better follows

    @property
    def is_lingering(self) -> bool:
        """True when all that matters has come and only the end of the connection is outstanding."""
        if self.state is FAILED:
            return True
        return self.state is FINISHED and self.usage is not None

    def receive_data(self, data: bytes) -> list[ChatEvent]:
        """The events that one read of the event stream amounts to."""
        self.last_read_s = self._clock()
        if self.state is DONE:
            return []
        try:
            payloads = self._decoder.receive_data(data)
        except EventTooLarge as exc:
            return self._take_payloads(exc.events) + self.close(_too_large(exc.max_event_bytes))
        return self._take_payloads(payloads)

    def _take_payloads(self, payloads: list[bytes]) -> list[ChatEvent]:
        """The events of what one read has brought."""
        content_in, _, others = self._ways
        events: list[ChatEvent] = []
        if len(payloads) == 1:  # as in most reads
            if content_in is not None and (text := content_in(payloads[0])):
                if self.payloads is not None:
                    self.payloads.add_alone(payloads[0])
                self._recurrences.was_seen = True
                self.same = content_in
                self.last_event_s = self.last_read_s
                return [ContentDelta(text)]
            if others and others[0].is_thinking and others[0].take(payloads[0], events):
                if self.payloads is not None:
                    self.payloads.add_alone(payloads[0])
                self._recurrences.was_seen = True
                self.same = others[0]
                self.last_event_s = self.last_read_s
                return events
        if self.payloads is not None:
            self.payloads.add(payloads)
        self.same = content_in
        if len(payloads) < _MANY:
            self._take_each(payloads, events)
        else:
            self._take_runs(payloads, events)
        if len(payloads) > self._junk:  # some were the model's
            self.last_event_s = self.last_read_s
        self._junk = 0
        return events

    def _take_runs(self, payloads: list[bytes], events: list[ChatEvent]) -> None:
        """Takes those that are all alike at once, the others one by one until there may be a run again."""
        at, count, recurrences = 0, len(payloads), self._recurrences
        while at < count:
            content_in, _, others = self._ways
            if content_in is recurrences.content_in and others is recurrences.others:
                run = recurrences.take_run(payloads, at)
                if run:
                    alike = content_in if type(run[0]) is ContentDelta else others[0]
                    self.same = alike if at == 0 or self.same is alike else None
                    events += run
                    at += len(run)
                    continue
            self._take_each(payloads[at : at + _MANY], events)
            at += _MANY

    def _take_each(self, payloads: list[bytes], events: list[ChatEvent]) -> None:
        """Takes one after the other."""
        recurrences = self._recurrences
        content_in, expects_content, others = self._ways
        same = content_in if self.same is content_in else None
        for payload in payloads:
            try:
                if content_in is not None and (text := content_in(payload)):
                    events.append(ContentDelta(text))
                    recurrences.was_seen = True
                    continue
                same = None
                if expects_content and (text := plain_content(payload)):
                    events.append(ContentDelta(text))
                    self._note_plain(payload)
                    if content_in is not recurrences.content_in or others is not recurrences.others:
                        content_in, expects_content, others = self._ways = self._expected()
                    continue
                for other in others:
                    if other.take(payload, events):
                        recurrences.was_seen = True
                        break
                else:
                    self._take(payload, events)
                    if self.failure is not None and self.payloads is not None:
                        self.payloads.cut_behind(payload)
                    content_in, expects_content, others = self._ways = self._expected()
            except Exception:  # the border: whatever it is, the events of this read go out, and an honest end
                same = None
                self._break_off(events)
                if self.payloads is not None:
                    self.payloads.drop(payload)
                    self.payloads.cut_behind(payload)
                content_in, expects_content, others = self._ways = self._expected()
        self.same = same

    def _expected(self) -> Ways:
        """The short ways that the next payload may go: none while something is outstanding that the next event must
        carry or follow."""
        if self.state is not STREAMING or self._held or self._told.pending is not None or self._calls.is_waiting:
            return NO_WAYS
        return self._recurrences.content_in, self._recurrences.expects_content, self._recurrences.others

    def _note_plain(self, payload: bytes) -> None:
        if self.first_token_s is None:
            self.first_token_s = self.last_read_s
        if ContentDelta not in self._kinds:
            self._kinds += (ContentDelta,)
        self._recurrences.note_plain(payload)

    def receive_eof(self) -> list[ChatEvent]:
        """The events that the end of the connection amounts to."""
        self.same = None
        events: list[ChatEvent] = []
        if self.state is DONE:
            return events
        try:
            for payload in self._decoder.receive_eof():
                if self.payloads is not None:
                    self.payloads.add([payload])
                self._take(payload, events, is_last=True)
        except Exception:
            self._break_off(events)
        failure = self._nothing_came(EMPTY_REPLY) if self.state is WAITING else self._said or INTERRUPTED
        return events + self.close(failure)

    def receive_completion(self, body: bytes) -> list[ChatEvent]:
        """The events of a whole `chat.completion`, which some upstreams send although a stream was asked for: those
        of a stream with this one event."""
        self.same = None
        events: list[ChatEvent] = []
        if self.payloads is not None:
            self.payloads.add([body])
        try:
            self._take(body, events, is_last=True)
        except Exception:
            self._break_off(events)
        if self.state is WAITING:
            return events + self.close(self._nothing_came(_no_choices()))
        if self.state is not DONE:
            self._end_safely(events)
        return events

    def close(self, failure: Failure | None, finish_reason: str | None = None) -> list[ChatEvent]:
        """Ends the stream from outside.

        With a failure (a reset, a time-out) that comes after the finish the answer is whole, and said to be so with
        a warning. `finish_reason` is our own word for an end that was asked for; without a failure it is a stop.
        """
        self.same = None
        events: list[ChatEvent] = []
        if self.state is DONE:
            return events
        stopped = finish_reason is not None
        if self.state is FINISHED and not stopped:
            self._end_safely(events, warning="missing_done_marker")
            return events
        if stopped:
            self._finish_reason = finish_reason
        elif self.state is not FAILED:
            self._finish_reason = None if self.state is WAITING else "interrupted"
        if failure is not None and self.state is not FAILED:
            try:
                self._fail(failure, events)
            except Exception:
                self._break_off(events)
        self._end_safely(events, stopped=stopped)
        return events

    @property
    def has_payloads(self) -> bool:
        """Whether `take_payloads` would give any."""
        return bool(self.payloads)

    def take_payloads(self) -> tuple[list[bytes], list[bytes]]:
        """The chunks of upstream's events since the last time, each JSON, without `[DONE]` and what follows it; apart
        from them those behind the one of which the answer failed."""
        return ([], []) if self.payloads is None else self.payloads.take()

    def take_plain_payloads(self) -> list[bytes] | None:
        """The same, where all of them are as they came and none stands behind a failure; else None, and they stay."""
        return None if self.payloads is None else self.payloads.take_plain()

    def _keep_not(self, payload: bytes) -> None:
        if self.payloads is not None:
            self.payloads.drop(payload)

    def flush(self) -> list[ChatEvent]:
        """What is held back for the end of the answer, when somebody else says that it has come."""
        events: list[ChatEvent] = []
        if self.state is not DONE:
            self._close_deltas(events)
            self._close_reasoning(events)
        return events

    def release(self) -> None:
        """Gives back what is kept of a stream that has ended; its facts remain."""
        self._decoder = _NO_DECODER
        self._calls = _NO_CALLS
        self._recurrences, self._ways, self.same = _NO_RECURRENCES, NO_WAYS, None
        self._kinds = ()

    # -- one event's data ---------------------------------------------------------------------------------------

    def _take(self, payload: bytes, events: list[ChatEvent], *, is_last: bool = False) -> None:
        if self.state is DONE:
            self._keep_not(payload)
            return
        if payload[:1] != b"{" and payload.strip(b' \t\r\n"') == b"[DONE]":
            self._keep_not(payload)
            self._take_done_marker(events)
            return
        ordinary = ordinary_chunk(payload)
        if ordinary is not None:
            self._said = None
            self._take_chunk(ordinary, events)
            if self.state is STREAMING:
                self._recurrences.note(payload, ordinary)
            return
        found, is_plain = decode_either_way(payload)
        if isinstance(found, dict):
            if not is_plain and self.payloads is not None:
                self.payloads.make_readable(payload, found)
            chunk = self._take_found(found, is_plain, events)
            if self.state is STREAMING and is_plain:
                self._recurrences.note(payload, chunk)
        elif isinstance(found, list) and any(isinstance(item, dict) for item in found):
            kept: list[bytes] = []
            for item in found:
                if isinstance(item, dict) and self.state is not DONE:
                    if self.payloads is not None:
                        kept.append(encode_json(fit_json(item)))
                    self._take_found(item, is_plain, events)
            if self.payloads is not None:
                self.payloads.put(payload, *kept)
        elif isinstance(payload, ErrorData) and payload.strip():
            self._keep_not(payload)
            self._take_chunk(Chunk(error=payload.decode("utf-8", "replace")), events)
        elif found is None and len(parts := _parts_of(payload)) > 0:
            if self.payloads is not None:
                self.payloads.put(payload, *parts)
            for part in parts:
                self._take(part, events, is_last=is_last)
        else:
            self.skipped += 1
            self._junk += 1
            self._keep_not(payload)
            if found is None and not is_last and payload.lstrip()[:1] in (b"{", b"["):
                self._lose(events)

    def _take_found(self, found: dict[str, Any], is_plain: bool, events: list[ChatEvent]) -> Chunk:
        chunk = chunk_of(found)
        if chunk.has_choice or chunk.has_other_choice or chunk.usage:
            self._said = None
        else:
            self._read_other(chunk, found)
        if not is_plain:
            fit_chunk(chunk)
        has_failed = self.failure is not None
        self._take_chunk(chunk, events)
        if self.failure is not None and not has_failed:
            self.has_told_failure = bool(found.get("error"))
        return chunk

    def _read_other(self, chunk: Chunk, found: dict[str, Any]) -> None:
        """What adds nothing to the answer: an error in any wrapping, a word about something else, or junk."""
        chunk.error = error_in(found)
        if chunk.error is not None:
            chunk.extra = {}
        elif not chunk.is_stated:
            self.skipped += 1
            self._junk += 1
            bare_message = bare_message_in(found)
            if bare_message is not None:
                self._said = self._read_error(bare_message, self.provider)
            if bare_message is not None or isinstance(found.get("type"), str):  # an event of another kind
                chunk.extra = {}

    def _lose(self, events: list[ChatEvent]) -> None:
        """What could not be read may have been text: an answer without it is not whole."""
        if self.state is WAITING or self.state is STREAMING:
            self._fail(UNREADABLE, events)

    def _break_off(self, events: list[ChatEvent]) -> None:
        """After an exception that nobody foresaw: needs nothing of what may have raised it."""
        self.skipped += 1
        if self.state is WAITING or self.state is STREAMING:
            self.failure = UNREADABLE
            self._finish_reason = self._finish_reason or ("error" if self.state is STREAMING else None)
            events.append(StreamFailed(UNREADABLE))
            self.state = FAILED

    def _take_done_marker(self, events: list[ChatEvent]) -> None:
        if self.state is WAITING:
            events += self.close(self._nothing_came(EMPTY_REPLY))
        elif self.state is STREAMING and self._said is not None:
            events += self.close(self._said)
        else:
            self._end(events)

    def _take_chunk(self, chunk: Chunk, events: list[ChatEvent]) -> None:
        if chunk.usage is not None:
            self.usage = chunk.usage
        if self.state is FAILED:
            if chunk.usage is not None:
                self._end(events)
            return
        if chunk.has_choice:
            self._has_choice = True
        if chunk.has_other_choice:
            self._has_other_choice = True
        if chunk.extra:
            self._told.note(chunk.extra)
        if self.state is WAITING:
            self._begin(chunk, events)
        if chunk.extra_of_choice:
            self._told.note(chunk.extra_of_choice)
        before = len(events)
        if chunk.pieces:
            self._take_pieces(chunk, events)
            if self.first_token_s is None and len(events) > before:
                self.first_token_s = self.last_read_s
        has_more = False
        if self.state is FINISHED and len(events) > before:
            has_more = any(isinstance(event, _OF_TEXT) for event in events[before:])
        if chunk.logprobs or self._told.pending is not None:
            if self._calls.is_waiting:
                events.extend(self._calls.flush())
            self._tell_beside(chunk.logprobs, events, before)
        has_finish = has_more or chunk.finish_reason is not None or chunk.native_finish_reason is not None
        if has_finish:
            self._take_finish(chunk, has_more, events)
        if chunk.error is not None:
            self._fail(self._read_error(chunk.error, self.provider), events)
        elif has_finish and self.state is FINISHED:
            self._judge_finish(events)
        if self.state is FAILED and self.usage is not None:
            self._end(events)

    def _begin(self, chunk: Chunk, events: list[ChatEvent]) -> None:
        """Names the answer at the model's first chunk; a bare error or a debug chunk is not one."""
        self.created_s = count_of(chunk.created)
        generation_id = fit_name(chunk.id)
        if generation_id is not None:
            self.generation_id = self._hide.name(generation_id)
        self.model = self._word(chunk.model) or self.model
        self.provider = self._word(chunk.provider) or self.provider
        if chunk.error is not None and not chunk.has_text:
            return
        if not chunk.has_choice and not has_figures(chunk.usage):
            return
        self._move(BEGIN)
        self.has_begun = True
        events.append(StreamStarted(self.generation_id, self.model, self.provider, self._told.take()))

    def _word(self, word: str | None) -> str | None:
        """A name of upstream's, fit for logs, lists, labels and databases."""
        if word in self._hide.harmless:  # as most are
            return word
        found = fit_name(word)
        return None if found is None else self._hide.word(found)

    def _take_pieces(self, chunk: Chunk, events: list[ChatEvent]) -> None:
        """What a chunk adds; of a whole message that follows its own pieces only what they did not bring."""
        said_before = self._kinds if chunk.is_whole else ()
        for kind, value in chunk.pieces:
            if kind in said_before:
                continue
            if kind not in self._kinds:
                self._kinds += (kind,)
            if kind is not ToolCall and self._calls.is_waiting:
                events.extend(self._calls.flush())
            if kind is ContentDelta or kind is ReasoningDelta or kind is RefusalDelta:
                self._text(kind, value, events)
            elif kind is ReasoningDetails:
                self._reasoning.add(value)
            elif kind is ToolCall:
                if self._calls is _NO_CALLS:
                    self._calls = ToolCallAssembler()
                    self._recurrences.add_call_piece = self._calls.add_alone
                events.extend(self._calls.add(value))
            else:
                events.append(kind(value))

    def _tell_beside(self, logprobs: Any, events: list[ChatEvent], start: int) -> None:
        """Puts what was said beside a text into the event of that text; without one, `extra` waits for the next.

        Nobody knows which text it was with several in one chunk: it is that of the answer, if there is any.
        """
        places = range(start, len(events))
        for kind in _OF_TEXT:
            for place in places:
                event = events[place]
                if type(event) is kind:
                    events[place] = msgspec.structs.replace(event, logprobs=logprobs or None, extra=self._told.take())
                    return
        if logprobs:
            events.append(ContentDelta("", logprobs, self._told.take()))

    def _text(
        self,
        kind: type[ContentDelta | ReasoningDelta | RefusalDelta],
        text: str,
        events: list[ChatEvent],
    ) -> None:
        """Appends a text event; half of a surrogate pair at its end waits for the other half."""
        if self._held:
            text = _join_surrogates(self._held.pop(kind, "") + text)
        if "\ud800" <= text[-1] <= "\udbff":
            self._held[kind] = text[-1]
            text = text[:-1]
        if text:
            events.append(kind(text))

    def _take_finish(self, chunk: Chunk, has_more: bool, events: list[ChatEvent]) -> None:
        """The current form repeats the finish on the usage chunk: the first one counts, unless more came after it."""
        if has_more:
            self._move(RESUME)
        if chunk.native_finish_reason not in (None, self._native_finish_reason):
            self._native_finish_reason = self._word(chunk.native_finish_reason)
        if chunk.finish_reason is not None and self.state is STREAMING:
            self._finish_reason = self._word(chunk.finish_reason)
            self._close_texts(events)
            self._move(FINISH)

    def _judge_finish(self, events: list[ChatEvent]) -> None:
        """Some endings that are called `stop` or `error` are failures without an error object."""
        native = self._native_finish_reason
        if self._finish_reason == "error" or (self._finish_reason == "stop" and native in _BROKEN_NATIVE):
            error = {"message": f"The provider ended the answer with {native or 'an error'}.", "code": 502}
            self._fail(self._read_error(error, self.provider), events)

    # -- endings ------------------------------------------------------------------------------------------------

    def _close_texts(self, events: list[ChatEvent]) -> None:
        for kind, text in self._held.items():
            events.append(kind(text))
        self._held = {}

    def _close_deltas(self, events: list[ChatEvent]) -> None:
        """Calls are whole at the end and not before: what follows a finish may still belong to them."""
        self._close_texts(events)
        has_ended = self.state is FINISHED and self._finish_reason not in ("length", "content_filter")
        is_cut = not has_ended or self._native_finish_reason in _CUT_NATIVE
        events.extend(self._calls.finish(is_cut=is_cut))

    def _close_reasoning(self, events: list[ChatEvent]) -> None:
        if self._reasoning:
            events.append(ReasoningDetails(self._reasoning.merged()))
            self._reasoning = ReasoningMerger()

    def _fail(self, failure: Failure, events: list[ChatEvent]) -> None:
        """The error follows what came with it, usage included; usage that comes later follows the error."""
        self._close_deltas(events)
        self._close_reasoning(events)
        if self.usage is not None:
            self._report_usage(events)
        if self._finish_reason is None and self.state is not WAITING:
            self._finish_reason = "error"
        self.failure = failure
        events.append(StreamFailed(failure))
        self._move(ERROR)

    def _report_usage(self, events: list[ChatEvent]) -> None:
        """That of earlier attempts, too; alone it is reported where this attempt has done nothing."""
        if self._usage_reported or (self.usage is None and (self.has_begun or not self._earlier)):
            return
        self._usage_reported = True
        usages = [*self._earlier, *(() if self.usage is None else (self.usage,))]
        usage, total_cost = usage_of_attempts(usages)
        self.reckoned = self._hide.json(usage), total_cost
        events.append(self._usage_report(*self.reckoned))

    def _usage_report(self, usage: dict[str, Any], total_cost: float | None) -> UsageReport:
        now_s = self._clock()
        first_s = self.first_token_s
        return UsageReport(
            usage=usage,
            generation_id=self.generation_id,
            model=self.model,
            provider=self.provider,
            total_cost=total_cost,
            duration_ms=round((now_s - self.started_s) * 1000),
            time_to_first_token_ms=None if first_s is None else round((first_s - self.started_s) * 1000),
            tokens_per_second=tokens_per_second(self.usage or {}, None if first_s is None else now_s - first_s),
            extra=self._told.take(),
        )

    def _end(self, events: list[ChatEvent], *, warning: str | None = None, stopped: bool = False) -> None:
        if self.state is not FAILED:
            if not stopped and self._has_other_choice and not self._has_choice:
                self._fail(OTHER_CHOICE, events)
            self._close_deltas(events)
            self._close_reasoning(events)
        failed = self.state is FAILED
        self._report_usage(events)
        self.finish_reason = self._finish_reason if failed or stopped else self._own_finish_reason()
        completed = not failed and not stopped
        extra = self._told.take()
        events.append(Done(completed, self.finish_reason, self._native_finish_reason, warning, extra))
        self._move(END)

    def _end_safely(self, events: list[ChatEvent], *, warning: str | None = None, stopped: bool = False) -> None:
        """The end that comes whatever has happened before."""
        try:
            self._end(events, warning=warning, stopped=stopped)
        except Exception:
            if self.failure is None:
                self.failure = UNREADABLE
                events.append(StreamFailed(UNREADABLE))
            self.finish_reason = self._finish_reason
            events.append(Done(False, self.finish_reason, self._native_finish_reason))
            self.state = DONE

    def _nothing_came(self, failure: Failure) -> Failure:
        """Why an answer never began."""
        return self._said or (OTHER_CHOICE if self._has_other_choice else failure)

    def _own_finish_reason(self) -> str | None:
        """Upstream's word, but for tool calls: cut ones are `length`, and calls under `stop` are `tool_calls`, as is
        the older `function_call`."""
        reason = self._finish_reason
        if not self._calls:
            return reason
        if reason in ("tool_calls", "function_call"):
            is_cut = self._native_finish_reason in _CUT_NATIVE and self._calls.has_cut_call()
            return "length" if is_cut else "tool_calls"
        return "tool_calls" if reason in (None, "stop") else reason

    def _move(self, signal: Signal) -> None:
        self.state = _NEXT[self.state, signal]


def _parts_of(payload: bytes) -> list[bytes]:
    """The events in data that is no JSON as a whole: several without an empty line between them, or one whose field
    name came twice; empty for any other."""
    lines = [line.strip() for line in payload.split(b"\n") if line.strip()]
    parts = [line.removeprefix(b"data:").strip() for line in lines]
    if len(lines) == 1:
        return parts if parts != lines else []
    is_event = [part == b"[DONE]" or (part[:1] == b"{" and decode_json(part) is not None) for part in parts]
    return parts if all(is_event) else []


def _join_surrogates(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _no_choices() -> Failure:
    return Failure(
        error="OpenRouter answered 200 with no choices; try again.",
        type="upstream_protocol",
        status=502,
        retryable=True,
    )


def _too_large(max_event_bytes: int) -> Failure:
    return Failure(
        error=f"OpenRouter sent an event larger than {max_event_bytes} bytes; raise upstream.max_event_bytes.",
        type="upstream_protocol",
        status=502,
        retryable=False,
    )
