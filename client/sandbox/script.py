"""What a scripted reply is made of: the words in which a test says how OpenRouter behaves.

Pure data, no I/O; `client.sandbox.player` performs it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from client.sandbox.frames import error_body, sse_event


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent for a while. Prefer `Hold` in tests: it does not depend on the clock."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is sent until the event is set; without one, silence until the caller leaves."""

    until: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Mark:
    """Sends nothing, but sets the event: everything before it has been handed to the socket."""

    reached: asyncio.Event


@dataclass(frozen=True, slots=True)
class HangUp:
    """The TCP connection is aborted; no step after it is played.

    Attributes:
        reset: True closes with RST (the peer sees ECONNRESET), False with FIN in the middle of the body.
    """

    reset: bool = False


Step = bytes | Mapping[str, Any] | Pause | Hold | Mark | HangUp
"""`bytes` go out as they are, one write each; a mapping as one event, `data: {…}` and an empty line."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply: what happens before its head, the head, and the steps of its body.

    Attributes:
        steps: the body, in order; the body ends after the last one unless that is a `HangUp`.
        before: steps ahead of the status line: only `Pause`, `Hold`, `Mark`, `HangUp`.
        content_type: None leaves it to aiohttp: `application/octet-stream`.
        headers: added to the head; a `Content-Length` switches chunked encoding off, also a wrong one.
    """

    steps: Sequence[Step] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = "text/event-stream"
    before: Sequence[Step] = ()

    @classmethod
    def stream(cls, *steps: Step) -> Reply:
        """A 200 event stream of these steps; nothing is added, not even `[DONE]`."""
        return cls(steps=steps)

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        """A whole JSON body, `value` as it is."""
        return cls.raw(json.dumps(value).encode(), status, headers, content_type="application/json")

    @classmethod
    def error(
        cls,
        status: int,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A refusal in OpenRouter's error shape, `{"error": {"code", "message", "metadata"}}`."""
        return cls.json(error_body(status, message, metadata), status, headers)

    @classmethod
    def raw(
        cls,
        body: bytes = b"",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        content_type: str | None = "text/html",
    ) -> Reply:
        """Any whole body: an HTML page of the edge, an empty one, half a JSON text."""
        length = {"Content-Length": str(len(body))}
        return cls((body,) if body else (), status, {**length, **(headers or {})}, content_type)

    def after(self, *before: Step) -> Reply:
        """The same reply, whose head waits for these steps."""
        return replace(self, before=before)


def step_bytes(step: bytes | Mapping[str, Any]) -> bytes:
    """The bytes that go out for a step that has any."""
    return step if isinstance(step, bytes) else sse_event(step)
