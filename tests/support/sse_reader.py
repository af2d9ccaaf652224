"""Reads our own event stream, strictly by its grammar."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import aiohttp

_EVENT = re.compile(r"event: ([a-z_]+)\nid: ([A-Za-z0-9_-]+):(\d+)\ndata: ([^\n\r]*)")

_RETRY = re.compile(r"retry: [1-9][0-9]{0,4}")


class Event(NamedTuple):
    """One event."""

    name: str
    number: int
    data: Any
    id: str


def parse_events(body: bytes) -> list[Event]:
    """All whole events of a body; anything but events, pings, and when to come back is an error."""
    events = []
    for block in body.decode().split("\n\n")[:-1]:
        if block == ": ping" or _RETRY.fullmatch(block):
            continue
        match = _EVENT.fullmatch(block)
        assert match is not None, block
        events.append(Event(match[1], int(match[3]), json.loads(match[4]), f"{match[2]}:{match[3]}"))
    return events


async def read_until(response: aiohttp.ClientResponse, marker: bytes) -> bytes:
    """What came up to and including the first read that held the marker."""
    body = b""
    while marker not in body:
        piece = await response.content.readany()
        assert piece, f"ended before {marker!r}: {body!r}"
        body += piece
    return body


def text_of(events: list[Event]) -> str:
    """The answer's text."""
    return "".join(event.data["text"] for event in events if event.name == "content")


def names_of(events: list[Event]) -> list[str]:
    """Their names."""
    return [each.name for each in events]
