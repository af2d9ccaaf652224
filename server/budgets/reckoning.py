"""What an answer may have cost, where upstream has not said so, and whether upstream bills it at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from client.border.fit import cost_of, count_of
from client.models.costs import Known, NothingWritten, Reckoning, nano_usd, reckon, tokens_nano_usd
from client.streams.settlement import Settlement
from client.streams.stream import Stream
from client.translation.usage import total_cost_of

_SMALL_BYTES: Final = 2048
"""Of a request that is kept until its cost is known."""
_encode = msgspec.json.Encoder().encode


class Estimate:
    """What one answer may cost, for when it has ended.

    Args:
        known: finds a model, for its prices.
        reserved_nano: what was reckoned at its start; 0: nothing was.
    """

    __slots__ = ("_asked", "known", "reserved_nano")

    def __init__(self, known: Known, body: Mapping[str, Any], reserved_nano: int) -> None:
        self.known = known
        self.reserved_nano = reserved_nano
        self._asked = None if reserved_nano else _kept_of(body)  # for an estimate where none was made

    def nano_usd(self, stream: Stream) -> int:
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
            last_nano = self.reserved_nano if self._asked is None else _reckoned(self._asked).nano_usd(self.known)
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
        model = self.known(stream.model) or self.known(stream.requested_model)
        return tokens_nano_usd(model, prompt, completion)


def _kept_of(body: Mapping[str, Any]) -> Reckoning | bytes:
    """As much of a request as its price depends on. A small one is kept as a whole: few are ever reckoned, those
    whose cost upstream does not state, and to encode one costs less than a tenth of that."""
    if isinstance(body, NothingWritten):
        return reckon(body)
    try:
        encoded = _encode(body)
    except (UnicodeEncodeError, OverflowError, RecursionError, ValueError, TypeError):
        return reckon(body)
    return encoded if len(encoded) <= _SMALL_BYTES else reckon(body)


def _reckoned(asked: Reckoning | bytes) -> Reckoning:
    return reckon(msgspec.json.decode(asked)) if isinstance(asked, bytes) else asked


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
