"""Answers that the end of an earlier process cut off: whoever comes back to one is told so, and what it has cost.

Of their text nothing was kept; how far their readers had come, nobody knows. So they are told the two events of an
end that somebody else has told (`client.streams.seal`), whose numbers are above all that they can have had.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from client.border.json_codec import decode_json
from client.streams.mirror import Facts, Mirror
from client.streams.readable import Summary, key_of
from client.streams.seal import ENDING_COUNT
from client.streams.settlement import Settlement
from client.streams.stream import Stream
from client.streams.streams import Streams
from server.budgets.started import LONGEST_ASKED, StartedAnswer, StartedAnswers, described, told_usage
from server.restarts.settlements import Settlements
from server.restarts.shelf import Shelf

_SHORTEST_S = 1.0

EncodeAsked = Callable[[object], bytes | None]
DecodeAsked = Callable[[str, bytes], object]
"""Given the protocol, too."""


class Endings:
    """Who knows of them (`client.streams.elsewhere.Elsewhere`).

    Attributes:
        encode_asked, decode_asked: what is kept of a request (`Readable.asked`), as bytes and back.

    Args:
        started: what the ledger's file has of them.
        clock: epoch seconds.
    """

    def __init__(
        self,
        started: StartedAnswers,
        streams: Streams,
        settlements: Settlements,
        *,
        encode_asked: EncodeAsked,
        decode_asked: DecodeAsked,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._started = started
        self._streams = streams
        self._settlements = settlements
        self.encode_asked = encode_asked
        self.decode_asked = decode_asked
        self._clock = clock
        self._shelf = Shelf(streams.mirrors)
        self._timer: asyncio.TimerHandle | None = None
        started.describe = self._described
        settlements.on_settled = self._note_settled

    def open(self) -> None:
        """Begins to forget what was found for long enough; the ledger has been opened."""
        self._sweep()

    def close(self) -> None:
        """Nobody reads them any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._shelf.clear()

    # -- finding ------------------------------------------------------------------------------------------------

    async def find(self, stream_id: str, owner: str) -> Mirror | None:
        """The owner's answer of that id.

        Raises:
            StreamsFull: there is no room for it.
        """
        answer = self._answer(stream_id, owner)
        if answer is None:
            return None
        mirror = self._shelf.get(answer.key)
        if mirror is None:
            mirror = self._mirror(answer)
            self._shelf.put(mirror)
        return mirror

    async def list_of(self, owner: str, most: int | None) -> list[Summary]:
        """The owner's, newest first."""
        found = [
            answer for answer in self._started.cut.values() if answer.caller == owner and not self._is_over(answer)
        ]
        found.sort(key=lambda answer: answer.created_s, reverse=True)
        return [_summary(answer) for answer in found[:most]]

    async def find_name(self, owner: str, kind: str, name: str) -> tuple[str, float] | None:
        """The id of the owner's answer that was given that name last, and when, in epoch seconds."""
        given = [
            (given_s, answer.stream_id)
            for answer in self._started.cut.values()
            if answer.caller == owner and answer.names and not self._is_over(answer)
            for each_kind, each_name, given_s in answer.names
            if (each_kind, each_name) == (kind, name)
        ]
        given_s, stream_id = max(given, default=(0.0, ""))
        return (stream_id, given_s) if given else None

    async def forget(self, stream_id: str, owner: str) -> None:
        """Nobody finds it any more."""
        answer = self._answer(stream_id, owner)
        if answer is not None:
            self._started.forget(answer.key)
            self._shelf.drop(answer.key)

    def _answer(self, stream_id: str, owner: str) -> StartedAnswer | None:
        cut = self._started.cut
        if not cut:
            return None
        answer = cut.get(stream_id) or cut.get(key_of(stream_id, owner))
        return None if answer is None or answer.caller != owner or self._is_over(answer) else answer

    def _is_over(self, answer: StartedAnswer) -> bool:
        return (answer.cut_s or 0.0) < self._clock() - self._streams.config.retain_s

    def _mirror(self, answer: StartedAnswer) -> Mirror:
        asked = None if answer.asked is None else self.decode_asked(answer.protocol, answer.asked)
        mirror = Mirror(self._streams, _facts(answer, asked))
        settlement = self.settlement_of(answer.key, answer.caller, answer.generation_id)
        if settlement is not None:
            mirror.settlement = settlement
        mirror.seal(0)
        return mirror

    def settlement_of(self, key: str, owner: str, generation_id: str | None) -> Settlement | None:
        """What is known of the cost of an answer that was cut off."""
        known = self._settlements.of(owner, generation_id)
        answer = self._started.cut.get(key)
        if known is not None or answer is None or answer.usage is None:
            return known
        usage = decode_json(answer.usage.encode())
        if isinstance(usage, dict):
            known = Settlement()
            known.state(usage)
        return known

    # -- keeping ------------------------------------------------------------------------------------------------

    def _described(self, stream: Stream) -> StartedAnswer:
        """What is known of a stream, as ids: nothing of the request's text."""
        asked = None if isinstance(stream.asked, bytes) else self.encode_asked(stream.asked)
        if asked is not None and len(asked) > LONGEST_ASKED:
            asked = None
        return replace(described(stream), names=tuple(self._streams.names.of(stream)), asked=asked)

    def _note_settled(self, owner: str, generation_id: str, settlement: Settlement) -> None:
        for answer in tuple(self._started.cut.values()):
            if (answer.caller, answer.generation_id) == (owner, generation_id) and settlement.usage is not None:
                self._started.keep(replace(answer, usage=told_usage(settlement.usage)))

    def _sweep(self) -> None:
        """Forgets what was to be found for long enough, and looks again when the next one is due."""
        self._timer = None
        retain_s = self._streams.config.retain_s
        self._started.forget_before(self._clock() - retain_s)
        cut = self._started.cut
        if cut:
            due_s = min(answer.cut_s or 0.0 for answer in cut.values()) + retain_s - self._clock()
            self._timer = asyncio.get_running_loop().call_later(max(due_s, _SHORTEST_S), self._sweep)


def _facts(answer: StartedAnswer, asked: object) -> Facts:
    return Facts(
        id=answer.stream_id,
        owner=answer.caller,
        created_s=answer.created_s,
        protocol=answer.protocol,
        upstream_protocol=answer.upstream_protocol,
        requested_model=answer.model,
        model=answer.model,
        fingerprint=answer.fingerprint,
        asked=asked,
        generation_id=answer.generation_id,
    )


def _summary(answer: StartedAnswer) -> Summary:
    return Summary(
        id=answer.stream_id,
        owner=answer.caller,
        generation_id=answer.generation_id,
        model=answer.model,
        is_running=False,
        finish_reason="interrupted",
        created_s=answer.created_s,
        protocol=answer.protocol,
        upstream_protocol=answer.upstream_protocol,
        readers=0,
        events=ENDING_COUNT,
    )
