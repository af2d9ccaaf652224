"""Events of another protocol, as a log keeps them, as the chunks that they stand for. Pure module."""

from __future__ import annotations

from client.border.json_codec import decode_json, encode_json
from client.translation.foreign.front import END, Front


class PayloadsAsChunks:
    """Makes chunks of the payloads of one log, fed in order from its beginning."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def chunks_of(self, payload: bytes) -> list[bytes]:
        """The chunks, each as JSON; what is no event stays as it is."""
        found = decode_json(payload)
        if not isinstance(found, dict):
            return [payload]
        return [encode_json(chunk) for chunk in self._front.chunks_of(found) if chunk is not END]
