"""What one answer holds of its caller's budget, from its start until its cost is known.

What nobody can tell afterwards counts as it was reserved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from client.costs import Known, nano_usd, reckon, tokens_nano_usd
from client.fit import count_of
from client.settlement import Settlement
from client.streams import Stream
from server.ledger import Ledger, usage_key
from server.ledger_file import OpenAnswer


@dataclass(slots=True)
class Holds:
    """What one caller's answers of one day hold of its budget.

    Attributes:
        day: UTC, ISO 8601.
        running_nano: reserved by answers that run.
        sought_nano: held by answers whose cost is being looked up; the ledger counts it already.
        number: how many hold something.
    """

    day: str
    running_nano: int = 0
    sought_nano: int = 0
    number: int = 0

    def reserve(self, nano: int) -> None:
        """An answer begins."""
        self.running_nano += nano
        self.number += nano > 0

    def release(self, nano: int) -> None:
        """An answer has ended."""
        self.running_nano -= nano
        self.number -= nano > 0

    def seek(self, nano: int) -> None:
        """The look-up of a cost begins."""
        self.sought_nano += nano
        self.number += nano > 0

    def found(self, nano: int) -> None:
        """A look-up has ended."""
        self.sought_nano -= nano
        self.number -= nano > 0


@dataclass(slots=True)
class Account:
    """What is remembered of a caller between two starts.

    Attributes:
        running: answers that run.
        holds: of the day on which a budget was last looked at.
    """

    running: int = 0
    holds: Holds = field(default_factory=lambda: Holds(""))


class AnswerLease:
    """What was granted for one answer (`client.streams.Lease`)."""

    __slots__ = ("_account", "_day", "_holds", "_known", "_ledger", "_open", "_reckoning", "_reserved_nano")

    def __init__(
        self, ledger: Ledger, known: Known, account: Account, body: Mapping[str, Any], reserved_nano: int
    ) -> None:
        self._ledger = ledger
        self._known = known
        self._account = account
        self._holds = account.holds
        self._reckoning = None if reserved_nano else reckon(body)  # for an estimate where none was made
        self._day = ledger.today
        self._reserved_nano = reserved_nano
        self._open: OpenAnswer | None = None
        account.running += 1

    def opened(self, stream: Stream) -> None:
        """From now on it is billed: a process that is killed must not forget what was reserved."""
        if self._reserved_nano:
            self._ledger.open_answer(self._answer(stream, self._reserved_nano, is_counted=False))

    def end(self, stream: Stream) -> None:
        """Counts what it cost, or what it may have cost while that is not known."""
        self._account.running -= 1
        self._holds.release(self._reserved_nano)
        if stream.settlement.is_sought:
            self._hold_on(stream)
        else:
            self._count(stream)

    def settled(self, stream: Stream) -> None:
        """Corrects the estimate, if the cost was found."""
        if self._open is not None:
            _settle(self._ledger, self._open, stream.settlement, self._holds)

    def _count(self, stream: Stream) -> None:
        settlement = stream.settlement
        key, usage = usage_key(self._day, stream.owner, stream.model), settlement.usage or {}
        cost_nano = nano_usd(settlement.total_cost)
        if cost_nano is not None:
            self._ledger.count_settled(key, usage, cost_nano)
        elif not _has_failed_unbegun(stream):
            self._ledger.count_estimate(key, usage, self._estimate(stream))
        if self._reserved_nano:
            self._ledger.close_answer(stream.id)

    def _hold_on(self, stream: Stream) -> None:
        """The estimate counts, and is held apart from what is spent for good, until the look-up has ended."""
        self._open = self._answer(stream, self._estimate(stream), is_counted=True)
        self._ledger.count_estimate(self._open.key, {}, self._open.estimate_nano)
        self._ledger.open_answer(self._open)
        self._holds.seek(self._open.estimate_nano)

    def _estimate(self, stream: Stream) -> int:
        """By the tokens where upstream told only them, else as reserved, else as it would have been.

        Counts that make no sense tell nothing.
        """
        if _has_failed_unbegun(stream):
            return 0
        usage = stream.settlement.usage or {}
        prompt, completion = count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))
        if prompt is not None and completion is not None and prompt + completion > 0:
            model = self._known(stream.model) or self._known(stream.requested_model)
            return tokens_nano_usd(model, prompt, completion)
        return self._reserved_nano if self._reckoning is None else self._reckoning.nano_usd(self._known)

    def _answer(self, stream: Stream, estimate_nano: int, *, is_counted: bool) -> OpenAnswer:
        key = usage_key(self._day, stream.owner, stream.model)
        return OpenAnswer(stream.id, key, estimate_nano, stream.generation_id, is_counted)


class LeftOver:
    """An answer that an earlier process began, while its cost is looked up (`client.settlement.Settled`)."""

    def __init__(self, ledger: Ledger, answer: OpenAnswer, holds: Holds) -> None:
        self.id = answer.stream_id
        self.generation_id = answer.generation_id
        self.settlement = Settlement()
        self._ledger = ledger
        self._answer = answer
        self._holds = holds
        holds.seek(answer.estimate_nano)

    def note_settled(self) -> None:
        """The look-up has ended."""
        _settle(self._ledger, self._answer, self.settlement, self._holds)


def _settle(ledger: Ledger, answer: OpenAnswer, settlement: Settlement, holds: Holds) -> None:
    """What was held goes; the cost counts if it was found, else the estimate stays."""
    holds.found(answer.estimate_nano)
    cost_nano = nano_usd(settlement.total_cost)
    if cost_nano is None:
        ledger.close_answer(answer.stream_id)
    else:
        ledger.correct(answer, settlement.usage or {}, cost_nano)


def _has_failed_unbegun(stream: Stream) -> bool:
    """Whether upstream refused, or failed before the model's first word: it bills nothing for that.

    OpenRouter, "zero completion insurance". A caller who leaves so early may be billed all the same.
    """
    translator = stream.pump.translator
    return translator.failure is not None and not translator.has_begun and stream.stop_reason is None
