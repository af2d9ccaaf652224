"""OpenRouter's stream to typed events, as a pure object: bytes in, `ChatEvent`s out.

Rules of this module:

1. It never raises for anything upstream sends. What it does not know it keeps or ignores, never fails on.
2. Every stream of events ends with exactly one `Done`; `_NEXT` is the whole of what may follow what.
3. A deduced fact is never better than a stated one: usage is reported once, the last that upstream gave, and never
   made up.

The order upstream keeps to is comments, reasoning, content and tool calls in any mixture, a finish, usage, `[DONE]`;
each of them may be missing, doubled or share a chunk. The clock is handed in; no I/O.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

from client.chunks import Choice, Chunk, Delta, chunk_of, decode_chunk, plain_content, plain_reasoning
from client.error_shapes import bare_message_in, error_in, is_error
from client.errors import Failure
from client.events import (
    Annotation,
    Audio,
    ChatEvent,
    ContentDelta,
    Done,
    Image,
    ReasoningDelta,
    ReasoningDetails,
    RefusalDelta,
    StreamFailed,
    StreamStarted,
    UsageReport,
)
from client.fit import fit_name
from client.json_codec import decode_json
from client.reasoning import ReasoningMerger, text_of
from client.redaction import NOTHING_TO_HIDE, Redaction
from client.sse import ErrorData, EventTooLarge, SSEDecoder
from client.tool_calls import ToolCallAssembler
from client.upstream_errors import failure_of_error
from client.usage import has_figures, tokens_per_second, usage_of_attempts


def _failure_of(error: Any, provider: str | None) -> Failure:
    return failure_of_error(error, provider=provider)


class State(enum.Enum):
    """How far a stream has come."""

    WAITING = "no chunk of the model yet"
    STREAMING = "the model has begun"
    FINISHED = "a finish reason came; usage and [DONE] may follow"
    FAILED = "an error was passed on; usage may follow"
    DONE = "the last event was passed on"


class Signal(enum.Enum):
    """What moves a stream on."""

    BEGIN = enum.auto()
    FINISH = enum.auto()
    ERROR = enum.auto()
    END = enum.auto()


# As names of their own: looking into an enum costs, and is done for every chunk.
WAITING, STREAMING, FINISHED, FAILED, DONE = State
BEGIN, FINISH, ERROR, END = Signal

_NEXT = {
    (WAITING, BEGIN): STREAMING,
    (WAITING, ERROR): FAILED,
    (WAITING, END): DONE,
    (STREAMING, FINISH): FINISHED,
    (STREAMING, ERROR): FAILED,
    (STREAMING, END): DONE,
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


class ChatTranslator:
    """Translates one upstream reply.

    Attributes:
        state: how far it has come.
        has_begun: whether `StreamStarted` was given out.
        started_s: clock reading at the beginning.
        generation_id, model, provider: as upstream's chunks name them; None until then.
        usage: upstream's last usage object; None until then.
        reckoned: what `UsageReport` said was used, and its cost in USD; None until then.
        first_token_s: clock reading at the first reasoning, content or tool call; None until then.
        last_read_s: clock reading at the last read, whatever it held; at first, at the beginning.
        last_event_s: the same for the last event of the model; comments and junk are none.
        finish_reason: that of `Done`; None until then.
        failure: that of `StreamFailed`; None without one.
        skipped: events that were none of the model: no JSON object, not `[DONE]`, or one about something else.

    Args:
        read_error: makes a failure of an `error` value and the provider's name.
        hide: what must not be in any name or usage.
        earlier: usage of attempts that failed before this one.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        generation_id: str | None = None,
        max_event_bytes: int = 64 * 1024 * 1024,
        read_error: Callable[[Any, str | None], Failure] = _failure_of,
        hide: Redaction = NOTHING_TO_HIDE,
        earlier: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.state = WAITING
        self.has_begun = False
        self.generation_id = generation_id
        self.model: str | None = None
        self.provider: str | None = None
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
        self._decoder = SSEDecoder(max_event_bytes)
        self._calls = ToolCallAssembler()
        self._reasoning: ReasoningMerger | None = None
        self._held: dict[type[ContentDelta | ReasoningDelta | RefusalDelta], str] = {}
        self._finish_reason: str | None = None
        self._native_finish_reason: str | None = None
        self._usage_reported = False
        self._junk = 0  # events of the read under way that were none of the model
        self._said: Failure | None = None  # what may have been an error, if nothing better follows
        self._expected: type[ChatEvent] | None = None  # what the next chunk may well be, and nothing else

    @property
    def is_lingering(self) -> bool:
        """True when all that matters has come and only the end of the connection is outstanding."""
        if self.state is FAILED:
            return True
        return self.state is FINISHED and self.usage is not None

    def receive_data(self, data: bytes) -> list[ChatEvent]:
        """The events that one read of the event stream amounts to."""
        self.last_read_s = self._clock()
        events: list[ChatEvent] = []
        if self.state is DONE:
            return events
        too_large: EventTooLarge | None = None
        try:
            payloads = self._decoder.receive_data(data)
        except EventTooLarge as exc:
            payloads, too_large = exc.events, exc
        for payload in payloads:
            if self._expected is ContentDelta:
                content = plain_content(payload)
                if content is not None:
                    if content:
                        events.append(ContentDelta(content))
                    continue
            elif self._expected is ReasoningDelta and self._take_plain_reasoning(payload, events):
                continue
            self._take(payload, events)
            if self.first_token_s is None and events:
                self._note_first_token(events)
            self._expect_more_of(events)
        if self._junk:
            self._junk, payloads = 0, payloads[self._junk :]  # as many as were the model's
        if payloads:
            self.last_event_s = self.last_read_s
        return events + self.close(_too_large(too_large.max_event_bytes)) if too_large else events

    def _take_plain_reasoning(self, payload: bytes, events: list[ChatEvent]) -> bool:
        """Takes a chunk of thinking and nothing else; false for any other."""
        found = plain_reasoning(payload)
        if found is None or not found[0]:
            return False
        reasoning, details = found
        if details:
            self._add_details(details)
        events.append(ReasoningDelta(reasoning))
        return True

    def _expect_more_of(self, events: list[ChatEvent]) -> None:
        """After text or thinking, with nothing outstanding of the chunks before, the next may well be the same."""
        kind = type(events[-1]) if events and self.state is STREAMING and not self._held else None
        self._expected = kind if kind is ContentDelta or kind is ReasoningDelta else None

    def receive_eof(self) -> list[ChatEvent]:
        """The events that the end of the connection amounts to."""
        if self.state is DONE:
            return []
        events: list[ChatEvent] = []
        for payload in self._decoder.receive_eof():
            self._take(payload, events)
        return events + self.close(self._said or (EMPTY_REPLY if self.state is WAITING else INTERRUPTED))

    def receive_completion(self, body: bytes) -> list[ChatEvent]:
        """The events of a whole `chat.completion`, which some upstreams send although a stream was asked for."""
        found = decode_json(body)
        events: list[ChatEvent] = []
        chunk = chunk_of(found) if isinstance(found, dict) else Chunk()
        if not chunk.choices:
            chunk.error = error_in(found) or bare_message_in(found)
        self._take_chunk(chunk, events)
        self._note_first_token(events)
        if self.state is WAITING:
            return events + self.close(_no_choices())
        if self.state is not DONE:
            self._end(events)
        return events

    def close(self, failure: Failure | None, finish_reason: str | None = None) -> list[ChatEvent]:
        """Ends the stream from outside.

        With a failure (a reset, a time-out) that comes after the finish the answer is whole, and said to be so with
        a warning. `finish_reason` is our own word for an end that was asked for; without a failure it is a stop.
        """
        events: list[ChatEvent] = []
        if self.state is DONE:
            return events
        stopped = finish_reason is not None
        if self.state is FINISHED and not stopped:
            self._end(events, warning="missing_done_marker")
            return events
        if stopped:
            self._finish_reason = finish_reason
        elif self.state is not FAILED and self._finish_reason is None:
            self._finish_reason = None if self.state is WAITING else "interrupted"
        if failure is not None and self.state is not FAILED:
            self._fail(failure, events)
        self._end(events, stopped=stopped)
        return events

    def release(self) -> None:
        """Gives back what is kept of a stream that has ended; its facts remain."""
        self._decoder = SSEDecoder(0)
        self._calls = ToolCallAssembler()

    # -- one event's data ---------------------------------------------------------------------------------------

    def _take(self, payload: bytes, events: list[ChatEvent]) -> None:
        if self.state is DONE:
            return
        if payload[:1] != b"{" and payload.strip() == b"[DONE]":
            self._take_done_marker(events)
            return
        chunk = decode_chunk(payload)
        if chunk is None or not (chunk.choices or chunk.usage):
            self._take_other(payload, chunk or Chunk(), events)
        else:
            self._said = None
            self._take_chunk(chunk, events)

    def _take_other(self, payload: bytes, chunk: Chunk, events: list[ChatEvent]) -> None:
        """What adds nothing to the answer: an error in any wrapping, a word about something else, or junk."""
        found = decode_json(payload)
        chunk.error = error_in(found)
        if chunk.error is None and isinstance(payload, ErrorData):
            chunk.error = found if isinstance(found, (dict, list)) else payload.decode("utf-8", "replace")
        if chunk.error is None and chunk.choices is None and chunk.id is None:
            self.skipped += 1
            self._junk += 1
            bare_message = bare_message_in(found)
            self._said = self._said if bare_message is None else self._read_error(bare_message, self.provider)
        self._take_chunk(chunk, events)

    def _take_done_marker(self, events: list[ChatEvent]) -> None:
        if self.state is WAITING:
            events += self.close(self._said or EMPTY_REPLY)
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
        choice = chunk.choices[0] if chunk.choices else None
        if self.state is WAITING:
            self._begin(chunk, choice, events)
        if choice is not None:
            if choice.delta is not None:
                self._take_delta(choice.delta, events)
            if choice.native_finish_reason is not None:
                self._native_finish_reason = self._name(choice.native_finish_reason)
            if choice.finish_reason is not None:
                self._take_finish(choice.finish_reason, events)
        error = chunk.error if chunk.error is not None or choice is None else choice.error
        if is_error(error):
            self._fail(self._read_error(error, self.provider), events)
        elif self.state is FINISHED:
            self._judge_finish(events)
        if self.state is FAILED and self.usage is not None:
            self._end(events)

    def _begin(self, chunk: Chunk, choice: Choice | None, events: list[ChatEvent]) -> None:
        """Names the answer at the model's first chunk; a bare error or a debug chunk is not one."""
        self.generation_id = self._name(chunk.id) or self.generation_id
        self.model = self._name(chunk.model) or self.model
        self.provider = self._name(chunk.provider) or self.provider
        failed = is_error(chunk.error) or (choice is not None and is_error(choice.error))
        if failed and not (choice is not None and choice.delta is not None and _has_text(choice.delta)):
            return
        if choice is None and not has_figures(chunk.usage):
            return
        self._move(BEGIN)
        self.has_begun = True
        events.append(StreamStarted(self.generation_id, self.model, self.provider))

    def _name(self, name: str | None) -> str | None:
        """A name of upstream's, fit for logs, lists, labels and databases."""
        found = fit_name(name)
        return None if found is None else self._hide.name(found)

    def _take_delta(self, delta: Delta, events: list[ChatEvent]) -> None:
        details = delta.reasoning_details
        if details:
            self._add_details(details)
        reasoning = delta.reasoning or (text_of(details) if details else "") or delta.reasoning_content
        if reasoning:
            self._text(ReasoningDelta, reasoning, events)
        if delta.content:
            self._text(ContentDelta, delta.content, events)
        if delta.refusal:
            self._text(RefusalDelta, delta.refusal, events)
        if delta.annotations:
            events.extend(Annotation(item) for item in delta.annotations if isinstance(item, dict))
        if delta.images:
            events.extend(Image(item) for item in delta.images if isinstance(item, dict))
        if delta.audio:
            events.append(Audio(delta.audio))
        if delta.tool_calls:
            events.extend(self._calls.add(delta.tool_calls))

    def _add_details(self, details: list[Any]) -> None:
        if self._reasoning is None:
            self._reasoning = ReasoningMerger()
        self._reasoning.add(details)

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

    def _take_finish(self, finish_reason: str, events: list[ChatEvent]) -> None:
        """The current form repeats the finish on the usage chunk: the first one counts."""
        if self.state is STREAMING:
            self._finish_reason = self._name(finish_reason)
            self._close_deltas(events)
            self._move(FINISH)

    def _judge_finish(self, events: list[ChatEvent]) -> None:
        """Some endings that are called `stop` or `error` are failures without an error object."""
        native = self._native_finish_reason
        if self._finish_reason == "error" or (self._finish_reason == "stop" and native in _BROKEN_NATIVE):
            error = {"message": f"The provider ended the answer with {native or 'an error'}.", "code": 502}
            self._fail(self._read_error(error, self.provider), events)

    # -- endings ------------------------------------------------------------------------------------------------

    def _close_deltas(self, events: list[ChatEvent]) -> None:
        for kind, text in self._held.items():
            events.append(kind(text))
        self._held = {}
        events.extend(self._calls.finish())

    def _close_reasoning(self, events: list[ChatEvent]) -> None:
        if self._reasoning is not None:
            events.append(ReasoningDetails(self._reasoning.merged()))
            self._reasoning = None

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
        )

    def _end(self, events: list[ChatEvent], *, warning: str | None = None, stopped: bool = False) -> None:
        failed = self.state is FAILED
        if not failed:
            self._close_deltas(events)
            self._close_reasoning(events)
        self._report_usage(events)
        self.finish_reason = self._finish_reason if failed or stopped else self._own_finish_reason()
        completed = not failed and not stopped
        events.append(Done(completed, self.finish_reason, self._native_finish_reason, warning))
        self._move(END)

    def _own_finish_reason(self) -> str | None:
        """Upstream's word, but for tool calls: cut ones are `length`, and calls under `stop` are `tool_calls`."""
        if not self._calls:
            return self._finish_reason
        if self._finish_reason == "tool_calls" and self._native_finish_reason in _CUT_NATIVE:
            return "length" if self._calls.has_cut_call() else "tool_calls"
        return "tool_calls" if self._finish_reason in (None, "stop") else self._finish_reason

    def _move(self, signal: Signal) -> None:
        self.state = _NEXT[self.state, signal]

    def _note_first_token(self, events: list[ChatEvent]) -> None:
        for event in events:
            if not isinstance(event, (StreamStarted, StreamFailed, UsageReport, Done)):
                self.first_token_s = self.last_read_s
                return


def _has_text(delta: Delta) -> bool:
    return bool(delta.content or delta.reasoning or delta.tool_calls or delta.refusal or delta.reasoning_details)


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
