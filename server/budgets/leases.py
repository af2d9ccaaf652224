"""What becomes of an answer's money until its cost is known: in the ledger, and in what its caller holds.

What nobody can tell afterwards counts as it was reserved.
"""

from __future__ import annotations

import logging

from client.border.fit import header_value
from client.streams.settlement import Settlement
from client.streams.stream import Stream
from server.budgets.grants import Grant
from server.budgets.ledger import Ledger, usage_key
from server.budgets.ledger_file import OpenAnswer
from server.budgets.reckoning import Estimate, has_failed_unbegun, stated_nano

logger = logging.getLogger(__name__)


class AnswerLease:
    """What was granted for one answer (`client.streams.stream.Lease`)."""

    __slots__ = ("_estimate", "_grant", "_has_ended", "_id", "_ledger", "_open")

    def __init__(self, ledger: Ledger, grant: Grant, estimate: Estimate) -> None:
        self._ledger = ledger
        self._grant = grant
        self._estimate = estimate
        self._id = ""
        self._open: OpenAnswer | None = None
        self._has_ended = False

    def opened(self, stream: Stream) -> None:
        """From now on it is billed: a process that is killed must not forget what was reserved."""
        if self._grant.is_kept and not self._has_ended:
            answer = self._answer(stream, self._grant.nano, is_counted=False)
            self._ledger.open_answer(answer)
            self._grant.opened(answer)

    def end(self, stream: Stream) -> None:
        """Counts what it cost, or what it may have cost while that is not known; only once.

        What it held goes first, and whatever is wrong with the answer, it is counted: as it was reserved, if no
        better.
        """
        if self._has_ended:
            return
        self._has_ended = True
        self._grant.end()
        if stream.settlement.is_sought:
            self._hold_on(stream)
        else:
            self._count(stream)

    def settled(self, stream: Stream) -> None:
        """Corrects the estimate, if the cost was found; only once."""
        answer, self._open = self._open, None
        if answer is not None:
            settle(self._ledger, answer, stream.settlement, self._grant)

    def give_back(self) -> None:
        """Nothing was started after all."""
        if not self._has_ended:
            self._has_ended = True
            self._grant.end()
            self._grant.give_back()

    def _count(self, stream: Stream) -> None:
        key, usage = usage_key(self._grant.day, stream.owner, stream.model), stream.settlement.usage or {}
        cost_nano, counts = stated_nano(stream.settlement), None
        if cost_nano is not None:
            counts = self._ledger.count_settled(key, usage, cost_nano)
        elif stream.settlement.earlier or not has_failed_unbegun(stream):
            counts = self._ledger.count_estimate(key, usage, self._estimated_nano(stream))
        self._ledger.close_answer(self._id)
        self._grant.close(key, counts)

    def _hold_on(self, stream: Stream) -> None:
        """The estimate counts, and is held apart from what is spent for good, until the look-up has ended."""
        self._open = answer = self._answer(stream, self._estimated_nano(stream), is_counted=True)
        counts = self._ledger.count_estimate(answer.key, {}, answer.estimate_nano)
        self._ledger.open_answer(answer)
        self._grant.seek(answer, counts)

    def _estimated_nano(self, stream: Stream) -> int:
        """As well as it can be told, and as it was reserved where that fails."""
        try:
            return self._estimate.nano_usd(stream)
        except Exception:
            logger.exception("stream %s: its cost cannot be reckoned", stream.id)
            return self._grant.nano

    def _answer(self, stream: Stream, estimate_nano: int, *, is_counted: bool) -> OpenAnswer:
        """What the ledger keeps of it."""
        self._id = self._id or self._grant.answer_id(stream.id)
        key = usage_key(self._grant.day, stream.owner, stream.model)
        return OpenAnswer(self._id, key, estimate_nano, header_value(stream.generation_id), is_counted)


class LeftOver:
    """An answer that an earlier process began, while its cost is looked up (`client.streams.settlement.Settled`)."""

    def __init__(self, ledger: Ledger, answer: OpenAnswer, grant: Grant) -> None:
        self.id = answer.stream_id
        self.generation_id = answer.generation_id
        self.owner = answer.key.caller
        self.settlement = Settlement()
        self._ledger = ledger
        self._answer = answer
        self._grant: Grant | None = grant

    def note_settled(self) -> None:
        """The look-up has ended; only once."""
        if self._grant is not None:
            grant, self._grant = self._grant, None
            settle(self._ledger, self._answer, self.settlement, grant)


def settle(ledger: Ledger, answer: OpenAnswer, settlement: Settlement, grant: Grant) -> None:
    """The look-up has ended: the cost counts if it was found, else the estimate stays; what was held goes."""
    cost_nano, counts = stated_nano(settlement), None
    if cost_nano is None:
        ledger.close_answer(answer.stream_id)
    else:
        counts = ledger.correct(answer, settlement.usage or {}, cost_nano)
    grant.close(answer.key, counts)
