"""What becomes of an answer's events: text as it comes, text when it is whole, a block of code, JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from openrouter_sse_client.terminal.output.code_block import first_code_block
from openrouter_sse_client.terminal.output.screen import Screen
from openrouter_sse_client.wire.events import (
    Annotation,
    Audio,
    Content,
    Error,
    Event,
    Image,
    Reasoning,
    Refusal,
    ToolCall,
)

_UNSAFE = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Writer(Protocol):
    """Takes the events of one answer."""

    def write(self, event: Event) -> None:
        """The next event."""

    def end(self) -> None:
        """Nothing more comes."""


class TextWriter:
    """The answer on standard output, what is beside it on standard error."""

    def __init__(self, screen: Screen, *, hides_thinking: bool, streams: bool, extracts: bool) -> None:
        self._screen = screen
        self._hides_thinking = hides_thinking
        self._streams = streams and not extracts
        self._extracts = extracts
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._citations: list[str] = []

    def write(self, event: Event) -> None:
        """The next event."""
        match event:
            case Content(text):
                if self._streams:
                    self._screen.answer(text)
                else:
                    self._text.append(text)
            case Reasoning(text) if text and not self._hides_thinking:
                self._screen.thinking(text)
            case Refusal(text):
                self._refusal.append(text)
            case ToolCall(name=name, arguments=arguments, complete=complete):
                self._screen.note(f"calls {name}({arguments}){'' if complete else ', cut: do not run it'}")
            case Annotation() if event.url:
                self._citations.append(f"[{len(self._citations) + 1}] {event.title or event.url}: {event.url}")
            case Image():
                self._screen.note(f"a picture ({_kind(event.url)}); --json has it")
            case Audio():
                pass  # pieces of sound; --json has them
            case Error():
                pass  # told by whoever knows the way out
            case _:
                pass

    def end(self) -> None:
        """Nothing more comes."""
        if not self._streams:
            text = "".join(self._text)
            block = first_code_block(text) if self._extracts else None
            self._screen.answer(text if block is None else block)
        self._screen.end_answer()
        if self._refusal:
            self._screen.note(f"refused: {''.join(self._refusal)}")
        for citation in self._citations:
            self._screen.note(citation)


class JSONWriter:
    """One JSON object a line, `{"type", "data", "id"}`, all of the answer."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def write(self, event: Event) -> None:
        """The next event."""
        self._screen.lines(json_line({"type": event.event_name, "data": event.data, "id": event.event_id}))

    def end(self) -> None:
        """Nothing more comes."""


def json_line(value: Mapping[str, Any]) -> str:
    """JSON that no terminal obeys: what JSON leaves as it is, and a terminal does not, is escaped."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _kind(url: str | None) -> str:
    """What a picture is, by its address."""
    if url is None:
        return "unknown"
    head, _, data = url.partition(",")
    if not head.startswith("data:"):
        return url[:200]
    size = len(data) * 3 // 4
    return f"{head[5:].partition(';')[0]}, {f'{size // 1000} kB' if size >= 1000 else f'{size} bytes'}"
