"""Whether the server can take work, and if not, why."""

from __future__ import annotations

from typing import Final

from aiohttp import web

ENDING: Final = "the server is shutting down"
"""The reason why no work is taken any more."""


class Readiness:
    """Set once by the process while it starts and once when it stops.

    Attributes:
        reason: why no work is taken; None when it is.
    """

    def __init__(self) -> None:
        self.reason: str | None = "starting"


READINESS = web.AppKey("READINESS", Readiness)
