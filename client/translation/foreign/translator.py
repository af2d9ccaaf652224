"""A translator of another protocol: the one of chat completions, with a front before it. Pure module."""

from __future__ import annotations

from typing import Any

from client.border.json_codec import decode_either_way, encode_json
from client.translation.events import ChatEvent
from client.translation.foreign.front import END, Front
from client.translation.translate import DONE, NO_WAYS, ChatTranslator, Ways


class ForeignTranslator(ChatTranslator):
    """Translates one reply of another protocol. The payloads that it keeps are upstream's own.

    Args:
        front: a new one.
        more: as for `ChatTranslator`.
    """

    def __init__(self, front: Front, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._front = front

    def _expected(self) -> Ways:
        """None: the short ways are those of chunks."""
        return NO_WAYS

    def _take(self, payload: bytes, events: list[ChatEvent], *, is_last: bool = False) -> None:
        """One event's data. `[DONE]` is no word of these protocols, and says nothing of the end."""
        if self.state is DONE or payload.strip(b' \t\r\n"') == b"[DONE]":
            self._keep_not(payload)
            return
        found, is_plain = decode_either_way(payload)
        if not isinstance(found, dict):
            super()._take(payload, events, is_last=is_last)
            return
        whole = self._front.events_of_whole(found)
        if whole and self._payloads is not None:
            self._payloads.put(payload, *map(encode_json, whole))
        elif not is_plain and self._payloads is not None:
            self._payloads.make_readable(payload, found)
        is_about_model = False
        for event in whole or [found]:
            for chunk in self._front.chunks_of(event):
                is_about_model = True
                if self.state is DONE:  # a failure with its usage was the end
                    break
                if chunk is END:
                    self._take_done_marker(events)
                else:
                    self._take_found(chunk, is_plain, events)
        if not is_about_model:
            self._junk += 1
