"""What one answer holds of its caller's budget, from its start until its cost is known.

What nobody can tell afterwards counts as it was reserved.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from client.border.fit import cost_of, count_of, header_value
from client.models.costs import Known, Reckoning, nano_usd, reckon, tokens_nano_usd
from client.streams.settlement import Settlement
from client.streams.stream import Stream
from client.translation.usage import total_cost_of
from server.budgets.ledger import Ledger, usage_key
from server.budgets.ledger_file import OpenAnswer

logger = logging.getLogger(__name__)

_SMALL_BYTES: Final = 2048
"""Of a request that is kept until its cost is known."""
_encode = msgspec.json.Encoder().encode


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
    """

    running: int = 0
    _holds: dict[str, Holds] = field(default_factory=dict)

    def holds_on(self, day: str) -> Holds:
        """What the answers hold that began on a day. Days that nothing is held of any more are forgotten, and no
        others: the clock may be set back to them."""
        holds = self._holds.get(day)
        if holds is None:
            self._holds = {each.day: each for each in self._holds.values() if each.number}
            holds = self._holds[day] = Holds(day)
        return holds


class AnswerLease:
    """What was granted for one answer (`client.streams.stream.Lease`)."""

    __slots__ = (
        "_account",
        "_asked",
        "_has_ended",
        "_holds",
        "_id",
        "_known",
        "_ledger",
        "_open",
        "_reserved_nano",
    )

    def __init__(
        self,
        ledger: Ledger,
        known: Known,
        account: Account,
        holds: Holds,
        body: Mapping[str, Any],
        reserved_nano: int,
    ) -> None:
        self._ledger = ledger
        self._known = known
        self._account = account
        self._holds = holds
        self._asked = None if reserved_nano else _kept_of(body)  # for an estimate where none was made
        self._reserved_nano = reserved_nano
        self._id = ""
        self._open: OpenAnswer | None = None
        self._has_ended = False
        account.running += 1
        holds.reserve(reserved_nano)

    def opened(self, stream: Stream) -> None:
        """From now on it is billed: a process that is killed must not forget what was reserved."""
        if self._reserved_nano and not self._has_ended:
            self._ledger.open_answer(self._answer(stream, self._reserved_nano, is_counted=False))

    def end(self, stream: Stream) -> None:
        """Counts what it cost, or what it may have cost while that is not known; only once.

        What it held goes first, and whatever is wrong with the answer, it is counted: as it was reserved, if no
        better.
        """
        if self._has_ended:
            return
        self._has_ended = True
        self._account.running -= 1
        self._holds.release(self._reserved_nano)
        if stream.settlement.is_sought:
            self._hold_on(stream)
        else:
            self._count(stream)

    def settled(self, stream: Stream) -> None:
        """Corrects the estimate, if the cost was found; only once."""
        answer, self._open = self._open, None
        if answer is not None:
            _settle(self._ledger, answer, stream.settlement, self._holds)

    def _count(self, stream: Stream) -> None:
        key, usage = usage_key(self._holds.day, stream.owner, stream.model), stream.settlement.usage or {}
        cost_nano = stated_nano(stream.settlement)
        if cost_nano is not None:
            self._ledger.count_settled(key, usage, cost_nano)
        elif stream.settlement.earlier or not has_failed_unbegun(stream):
            self._ledger.count_estimate(key, usage, self._estimate(stream))
        self._ledger.close_answer(self._id)

    def _hold_on(self, stream: Stream) -> None:
        """The estimate counts, and is held apart from what is spent for good, until the look-up has ended."""
        self._open = answer = self._answer(stream, self._estimate(stream), is_counted=True)
        self._ledger.count_estimate(answer.key, {}, answer.estimate_nano)
        self._ledger.open_answer(answer)
        self._holds.seek(answer.estimate_nano)

    def _estimate(self, stream: Stream) -> int:
        """As well as it can be told, and as it was reserved where that fails."""
        try:
            return self._told_estimate(stream)
        except Exception:
            logger.exception("stream %s: its cost cannot be reckoned", stream.id)
            return self._reserved_nano

    def _told_estimate(self, stream: Stream) -> int:
        """By the tokens where upstream told only them, else as reserved, else as it would have been.

        Counts that make no sense tell nothing. What attempts cost that were followed by another comes on top.
        """
        earlier = stream.settlement.earlier
        earlier_nano = sum(self._told_nano(stream, usage) or 0 for usage in earlier)
        if has_failed_unbegun(stream):
            return earlier_nano
        if earlier:
            last_nano = self._told_nano(stream, stream.pump.translator.usage or {})
        else:
            last_nano = self._tokens_nano(stream, stream.settlement.usage or {})
        if last_nano is None:
            last_nano = self._reserved_nano if self._asked is None else _reckoned(self._asked).nano_usd(self._known)
        return earlier_nano + last_nano

    def _told_nano(self, stream: Stream, usage: Mapping[str, Any]) -> int | None:
        """What a usage says that an attempt cost, itself or by its tokens; None: nothing."""
        cost_nano = nano_usd(total_cost_of(usage))
        return self._tokens_nano(stream, usage) if cost_nano is None else cost_nano

    def _tokens_nano(self, stream: Stream, usage: Mapping[str, Any]) -> int | None:
        """What the tokens of a usage cost at the catalogue's prices; None: it tells none."""
        prompt, completion = count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))
        if prompt is None or completion is None or prompt + completion == 0:
            return None
        model = self._known(stream.model) or self._known(stream.requested_model)
        return tokens_nano_usd(model, prompt, completion)

    def _answer(self, stream: Stream, estimate_nano: int, *, is_counted: bool) -> OpenAnswer:
        """What the ledger keeps of it, under an id of its own: that of a stream may be chosen by its caller."""
        self._id = self._id or f"{stream.id}.{secrets.token_hex(8)}"
        key = usage_key(self._holds.day, stream.owner, stream.model)
        return OpenAnswer(self._id, key, estimate_nano, header_value(stream.generation_id), is_counted)


def _kept_of(body: Mapping[str, Any]) -> Reckoning | bytes:
    """As much of a request as its price depends on. A small one is kept as a whole: few are ever reckoned, those
    whose cost upstream does not state, and to encode one costs less than a tenth of that."""
    try:
        encoded = _encode(body)
    except (UnicodeEncodeError, OverflowError, RecursionError, ValueError, TypeError):
        return reckon(body)
    return encoded if len(encoded) <= _SMALL_BYTES else reckon(body)


def _reckoned(asked: Reckoning | bytes) -> Reckoning:
    return reckon(msgspec.json.decode(asked)) if isinstance(asked, bytes) else asked


class LeftOver:
    """An answer that an earlier process began, while its cost is looked up (`client.streams.settlement.Settled`)."""

    def __init__(self, ledger: Ledger, answer: OpenAnswer, holds: Holds) -> None:
        self.id = answer.stream_id
        self.generation_id = answer.generation_id
        self.settlement = Settlement()
        self._ledger = ledger
        self._answer = answer
        self._holds: Holds | None = holds
        holds.seek(answer.estimate_nano)

    def note_settled(self) -> None:
        """The look-up has ended; only once."""
        if self._holds is not None:
            holds, self._holds = self._holds, None
            _settle(self._ledger, self._answer, self.settlement, holds)


def _settle(ledger: Ledger, answer: OpenAnswer, settlement: Settlement, holds: Holds) -> None:
    """What was held goes; the cost counts if it was found, else the estimate stays."""
    holds.found(answer.estimate_nano)
    cost_nano = stated_nano(settlement)
    if cost_nano is None:
        ledger.close_answer(answer.stream_id)
    else:
        ledger.correct(answer, settlement.usage or {}, cost_nano)


def stated_nano(settlement: Settlement) -> int | None:
    """What upstream has stated, as far as it makes sense."""
    return nano_usd(cost_of(settlement.total_cost))


def has_failed_unbegun(stream: Stream) -> bool:
    """Whether upstream refused, or failed before the model's first word: it bills nothing for that.

    OpenRouter, "zero completion insurance". A caller who leaves so early may be billed all the same.
    """
    translator = stream.pump.translator
    failure = translator.failure
    if failure is None or failure.type == "internal":  # what failed here, upstream may well have answered
        return False
    return not translator.has_begun and stream.stop_reason is None
