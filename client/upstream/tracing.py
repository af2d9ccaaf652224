"""Trace context as W3C writes it in headers.

A caller's `traceparent` goes on to upstream, whether traces are kept here or not
(https://www.w3.org/TR/trace-context/).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_TRACESTATE = re.compile(r"[\x20-\x7e\t]+")
_MOST_CHARACTERS = 512
"""Of `tracestate`: the least that must be passed on (section 3.3.1.5)."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where in somebody's trace a request stands."""

    traceparent: str
    tracestate: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """As it is sent."""
        headers = {"traceparent": self.traceparent}
        if self.tracestate:
            headers["tracestate"] = self.tracestate
        return headers


def read_trace_context(traceparents: Sequence[str], tracestates: Sequence[str] = ()) -> TraceContext | None:
    """The context in a request's headers; None when there is none, or it is not valid.

    A `traceparent` that does not parse, or is there twice, counts as missing, and `tracestate` with it.
    """
    if len(traceparents) != 1:
        return None
    traceparent = traceparents[0].strip()
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (match[1] == "00" and match[2]) or len(traceparent) > _MOST_CHARACTERS:
        return None
    tracestate = ",".join(tracestates).strip()
    if len(tracestate) > _MOST_CHARACTERS or not _TRACESTATE.fullmatch(tracestate):
        tracestate = ""
    return TraceContext(traceparent, tracestate)
