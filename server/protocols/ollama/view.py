"""Events to Ollama's lines of JSON.

Rules of this module: every line is ASCII, since clients cut lines at letters such as U+2028, too; none is empty;
calls of tools go out whole and before the last line; nothing follows an error. Pure module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from client.border.fit import count_of
from client.border.json_codec import decode_json, encode_json
from client.errors import Failure
from client.streams.log_events import LogEvent, LogEvents
from client.translation.events import (
    ContentDelta,
    Done,
    ReasoningDelta,
    RefusalDelta,
    StreamFailed,
    ToolCall,
    UsageReport,
)
from server.protocols.event_view import EventView
from server.protocols.letters import Letters
from server.protocols.ollama.failures import error_of
from server.protocols.stopped import stopped

_NS_PER_MS = 1_000_000
_NO_ASCII = re.compile("[^\x00-\x7f]")


class OllamaView(EventView):
    """One reader's lines.

    Args:
        head: fields of every line, before the text.
        is_chat: messages, else the response to a single prompt.
    """

    def __init__(self, events: LogEvents, head: Mapping[str, Any], *, is_chat: bool) -> None:
        super().__init__(events)
        self._head = head
        self._is_chat = is_chat
        self._calls: list[dict[str, Any]] = []
        self._has_failed = self._is_cut = False
        self._figures: dict[str, Any] = {}
        self._text, self._thinking = Letters(), Letters()

    def say(self, event: LogEvent) -> bytes:
        """The lines for one event."""
        if self._has_failed:
            return b""
        match event:
            case ContentDelta(text) | RefusalDelta(text):
                return self._line(self._text.feed(text))
            case ReasoningDelta(text):
                return self._line("", thinking=self._thinking.feed(text))
            case ToolCall():
                self._take(event)
            case UsageReport():
                self._figures = figures_of(event.usage, event.duration_ms, event.time_to_first_token_ms)
            case StreamFailed(failure):
                return self._fail(failure)
            case Done():
                return self._end(event)
        return b""

    def _take(self, call: ToolCall) -> None:
        if call.complete:
            self._calls.append({"name": call.name, "arguments": call.arguments})
        else:
            self._is_cut = True

    def _end(self, done: Done) -> bytes:
        if not done.completed:
            return self._fail(stopped(done))
        said = self._line("", thinking=self._thinking.flush()) + self._line(self._text.flush())
        if self._is_chat and self._calls:
            calls, odd = calls_of(self._calls)
            if odd is not None:
                return self._fail(odd)
            said += self._line("", tool_calls=calls)
        reason = done_reason(done.finish_reason, is_cut=self._is_cut)
        return said + self._whole_line("", {"done": True, "done_reason": reason, **self._figures})

    def _fail(self, failure: Failure) -> bytes:
        self._has_failed = True
        return line(error_of(failure))

    def _line(self, text: str, **more: Any) -> bytes:
        """Nothing where there is nothing to be said."""
        return self._whole_line(text, {"done": False}, **more) if text or any(more.values()) else b""

    def _whole_line(self, text: str, end: Mapping[str, Any], **more: Any) -> bytes:
        return line({**self._head, **said_of(text, more, is_chat=self._is_chat), **end})


def head_of(model: str, created_s: float) -> dict[str, Any]:
    """The fields of every line."""
    created_at = datetime.fromtimestamp(created_s, UTC).isoformat().replace("+00:00", "Z")
    return {"model": model, "created_at": created_at}


def said_of(text: str, more: Mapping[str, Any], *, is_chat: bool) -> dict[str, Any]:
    """A piece of an answer, or all of it."""
    if is_chat:
        return {"message": {"role": "assistant", "content": text, **more}}
    return {"response": text, **more}


def done_reason(finish_reason: str | None, *, is_cut: bool) -> str:
    """Their word: whatever was no cut was a stop."""
    return "length" if is_cut or finish_reason == "length" else "stop"


def calls_of(calls: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Failure | None]:
    """Calls with their arguments as objects, and what is to be said where one has none: clients take nothing else."""
    said = []
    for call in calls:
        arguments = decode_json(call["arguments"].encode(errors="surrogatepass") or b"{}")
        if not isinstance(arguments, dict):
            return [], _without_words(call["name"])
        said.append({"function": {"name": call["name"], "arguments": arguments}})
    return said, None


def _without_words(name: str) -> Failure:
    error = f"The model called {name[:200]} with arguments that are no object: Ollama's protocol has no words for it."
    return Failure(error=error, type="upstream_protocol", status=502, retryable=True)


def figures_of(usage: Mapping[str, Any], duration_ms: int, first_ms: int | None) -> dict[str, Any]:
    """Counts and times in their words; OpenRouter's object beside them, for the cost."""
    whole_ns = duration_ms * _NS_PER_MS
    first_ns = min((first_ms or 0) * _NS_PER_MS, whole_ns)
    figures = {
        "total_duration": whole_ns,
        "load_duration": 0,
        "prompt_eval_count": count_of(usage.get("prompt_tokens")),
        "prompt_eval_duration": first_ns,
        "eval_count": count_of(usage.get("completion_tokens")),
        "eval_duration": whole_ns - first_ns,
        "usage": usage,
    }
    return {name: value for name, value in figures.items() if value is not None}


def line(value: Any) -> bytes:
    """One line of ASCII."""
    encoded = encode_json(value)
    if not encoded.isascii():
        encoded = _NO_ASCII.sub(_escaped, encoded.decode()).encode()
    return encoded + b"\n"


def _escaped(letter: re.Match[str]) -> str:
    """A letter as JSON's escapes: one beyond U+FFFF is a pair of them."""
    units = letter[0].encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
