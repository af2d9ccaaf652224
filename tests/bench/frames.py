"""What the stand-in upstream sends: OpenRouter's wire format, rendered before it is needed.

The text of each content event begins with a mark, and nothing else in a stream holds one: so the load client counts
events by counting one byte, whatever format a gateway translates them to. In paced answers the mark is followed by
the time at which the event was written, in microseconds, as 13 hexadecimal digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

MARK = b"~"
STAMP = re.compile(rb"~([0-9a-f]{13})")
LAST_CHUNK = b"0\r\n\r\n"
"""Ends a chunked body (RFC 9112, section 7.1)."""

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_BLOCK = 1000
"""Content events rendered at once; longer answers repeat them."""
_WORDS = [" the", " stream", ",", " of", " tokens", ".\n", " „zwölf“", ' "quoted"', " 東京", " and", " more", " 🙂"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request asks the upstream for, as `bench/n=400,r=80,…` anywhere in its body.

    Attributes:
        n: reasoning and content events.
        r: how many of them are reasoning; these come first.
        rate: events per second; 0: as fast as they are taken.
        wait_ms: silence before the first event, after the headers and a comment.
        tag: number of the request, to tell whose connection was closed.
    """

    n: int = 5
    r: int = 1
    rate: int = 0
    wait_ms: int = 0
    tag: int = -1

    @property
    def content_events(self) -> int:
        """Events that carry a mark."""
        return self.n - self.r

    def __str__(self) -> str:
        return f"bench/n={self.n},r={self.r},rate={self.rate},wait_ms={self.wait_ms},tag={self.tag:08d}"


_ANSWER = re.compile(rb"bench/n=(\d+),r=(\d+),rate=(\d+),wait_ms=(\d+),tag=(\d+)")


def parse_answer(body: bytes | bytearray) -> Answer | None:
    """The answer that a request asks for; None when it asks for none."""
    match = _ANSWER.search(body)
    return None if match is None else Answer(*map(int, match.groups()))


def http_chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


OPENING = _HEAD + http_chunk(b": OPENROUTER PROCESSING\n\n")
"""Head of a response and the comment that OpenRouter sends at once."""


def _event(delta: dict[str, object], **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None, "native_finish_reason": None, "logprobs": None}
    chunk = {
        "id": "gen-1790000000-bEnChMaRkAnSwEr00000",
        "provider": "Bench",
        "model": "bench/model",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "choices": [choice | {key: more[key] for key in choice if key in more}],
    } | {key: value for key, value in more.items() if key not in choice}
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _content(text: str) -> bytes:
    return http_chunk(_event({"role": "assistant", "content": text}))


def _reasoning(text: str) -> bytes:
    detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
    return http_chunk(_event({"role": "assistant", "content": "", "reasoning": text, "reasoning_details": [detail]}))


_BEFORE_STAMP, _AFTER_STAMP = _content("~" + "0" * 13).split(b"0" * 13)
PACED_REASONING = _reasoning(" thinking")


def stamped(now_ns: int) -> bytes:
    """A content event whose text is the time."""
    return b"%b%013x%b" % (_BEFORE_STAMP, now_ns // 1000, _AFTER_STAMP)


@lru_cache(maxsize=64)
def ending(events: int) -> bytes:
    """Finish reason, usage and the end of the body."""
    stop = {"finish_reason": "stop", "native_finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": events, "total_tokens": events + 12, "cost": 0.0001}
    empty: dict[str, object] = {"role": "assistant", "content": ""}
    return b"".join(
        (
            http_chunk(_event(empty, **stop)),
            http_chunk(_event(empty, **stop, usage=usage)),
            http_chunk(b"data: [DONE]\n\n"),
            LAST_CHUNK,
        )
    )


@lru_cache(maxsize=64)
def _contents(count: int) -> bytes:
    return b"".join(_content(f"~{_WORDS[i % len(_WORDS)]}") for i in range(count))


@lru_cache(maxsize=64)
def _whole(n: int, r: int) -> memoryview:
    thinking = b"".join(_reasoning(_WORDS[i % len(_WORDS)]) for i in range(r))
    return memoryview(b"".join((OPENING, thinking, _contents(n - r), ending(n))))


def flood(answer: Answer) -> Iterator[memoryview]:
    """An answer that does not wait for its time, in pieces; a short one is a single piece."""
    if answer.n <= 2 * _BLOCK:
        yield _whole(answer.n, answer.r)
        return
    yield memoryview(OPENING + PACED_REASONING * answer.r)
    blocks, rest = divmod(answer.content_events, _BLOCK)
    block = memoryview(_contents(_BLOCK))
    for _ in range(blocks):
        yield block
    yield memoryview(_contents(rest) + ending(answer.n))
