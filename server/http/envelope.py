"""A request's head on its way from the parser to the request: held by nobody else, as aiohttp would."""

from __future__ import annotations

from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import ERROR


class Envelope:
    """A head, until the request is made of it: the task of a connection holds what it was given, to its end."""

    __slots__ = ("message",)

    def __init__(self, message: RawRequestMessage) -> None:
        self.message = message

    def open(self) -> RawRequestMessage:
        """The head; once."""
        message, self.message = self.message, ERROR
        return message
