"""Events to plain text: the answer and nothing else, for `TextStreamChatTransport` and whoever pipes it on.

There are no words for a failure in it: a view says that the answer is cut (`is_cut`), and the connection ends without
the end of the body, which every client takes for an error. Pure module.
"""

from __future__ import annotations

from client.streams.log_events import LogEvent, LogEvents
from client.translation.events import ContentDelta, Done, RefusalDelta
from server.protocols.event_view import EventView
from server.protocols.letters import Letters


class TextView(EventView):
    """One reader's text.

    Attributes:
        is_cut: whether the answer has ended, and is not whole.
    """

    def __init__(self, events: LogEvents) -> None:
        super().__init__(events)
        self.is_cut = False
        self._letters = Letters()

    def say(self, event: LogEvent) -> bytes:
        """The bytes of the text in one event."""
        match event:
            case ContentDelta(text) | RefusalDelta(text):
                return self._letters.feed(text).encode()
            case Done(completed):
                self.is_cut = not completed
                return self._letters.flush().encode()
        return b""
