"""Events to plain text: the answer and nothing else, for `TextStreamChatTransport` and whoever pipes it on.

There are no words for a failure in it: a view says that the answer is cut (`is_cut`), and the connection ends without
the end of the body, which every client takes for an error. Pure module.
"""

from __future__ import annotations

from client.streams.log_events import LogEvent, LogEvents
from client.translation.events import ContentDelta, Done, RefusalDelta
from server.protocols.event_view import EventView

_HALVES = ("\ud800", "\udbff")
"""First halves of surrogate pairs."""


class TextView(EventView):
    """One reader's text.

    Attributes:
        is_cut: whether the answer has ended, and is not whole.
    """

    def __init__(self, events: LogEvents) -> None:
        super().__init__(events)
        self.is_cut = False
        self._half = ""

    def say(self, event: LogEvent) -> bytes:
        """The bytes of the text in one event."""
        match event:
            case ContentDelta(text) | RefusalDelta(text):
                return self._text(text)
            case Done(completed):
                self.is_cut = not completed
                half, self._half = self._half, ""
                return _utf_8(half)
        return b""

    def _text(self, text: str) -> bytes:
        """A pair may come in two pieces, and UTF-8 has a letter only for both."""
        text, self._half = self._half + text, ""
        if text and _HALVES[0] <= text[-1] <= _HALVES[1]:
            text, self._half = text[:-1], text[-1]
        return _utf_8(text)


def _utf_8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
