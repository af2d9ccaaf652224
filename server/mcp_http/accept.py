"""Which of the two forms of MCP's replies a client takes, by its `Accept` header. Pure module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"


class Accepted(NamedTuple):
    """What a client takes."""

    json: bool
    events: bool


def accepted(headers: Sequence[str]) -> Accepted:
    """Reads the `Accept` headers of a request; none, or a blank one, is `*/*` (RFC 9110, 12.5.1)."""
    ranges = [part for header in headers for part in header.lower().split(",") if part.strip()]
    if not ranges:
        return Accepted(json=True, events=True)
    qualities = dict(map(_range, ranges))
    return Accepted(json=_takes(qualities, JSON), events=_takes(qualities, EVENTS))


def _range(part: str) -> tuple[str, float]:
    name, *parameters = [piece.strip() for piece in part.split(";")]
    quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 1.0


def _takes(qualities: dict[str, float], media_type: str) -> bool:
    """The range that says it most exactly decides."""
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if name in qualities:
            return qualities[name] > 0
    return False
