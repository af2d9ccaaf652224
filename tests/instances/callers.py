"""People who never pause, and notice everything."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import aiohttp

from tests.support.messages import ASKED, sent

SHORT = sent(
    {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Rayleigh."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)
"""All that most callers get."""


@dataclass
class Callers:
    """People who ask for one answer after the other, and look at each.

    Attributes:
        url: of the service.
        answers: that came whole.
        stop: ends it.
        token: that they send; empty: none.
    """

    url: str
    token: str = ""
    answers: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def headers(self) -> dict[str, str]:
        """Of each request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    async def keep_asking(self, *, keeps_connection: bool) -> None:
        """By one connection for all, or by one for each answer; POSTs, which no client sends again by itself."""
        connector = aiohttp.TCPConnector(limit=1, force_close=not keeps_connection)
        async with aiohttp.ClientSession(connector=connector, headers=self.headers) as http:
            while not self.stop.is_set():
                async with http.post(f"{self.url}/v1/messages", json={**ASKED, "stream": True}) as response:
                    said = await response.read()
                assert response.status == 200, said
                assert b"event: message_stop" in said, said
                self.answers += 1

    async def wait_more(self, count: int) -> None:
        """Returns after so many more answers."""
        goal = self.answers + count
        while self.answers < goal:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
