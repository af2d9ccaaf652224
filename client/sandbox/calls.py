"""What the sandbox remembers of a request, and how a test watches it end."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from multidict import CIMultiDictProxy, MultiMapping


@dataclass(eq=False, slots=True)
class Call:
    """One request, and what became of its reply.

    Attributes:
        path: below the base URL: `/chat/completions`.
        body: as it arrived.
        generation_id: the `gen-…` id of the answer; None for scripted replies and refusals.
        started: set once the request has been read in full.
        closed: set when the reply ended, or the caller went away.
        completed: the reply was written to its end.
        cancelled: the caller left before the end (or the sandbox was stopped).
        hung_up: the sandbox itself aborted the connection.
        closed_at_s: `time.monotonic()` at that moment; None while the reply runs.
        bytes_sent: of the body so far, as handed to the socket; tells how far a caller lets us go.
    """

    method: str
    path: str
    query: MultiMapping[str]
    headers: CIMultiDictProxy[str]
    body: bytes
    generation_id: str | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    completed: bool = False
    cancelled: bool = False
    hung_up: bool = False
    closed_at_s: float | None = None
    bytes_sent: int = 0

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.body)
