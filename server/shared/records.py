"""What is kept of an answer beside its events: the head, which never changes, and the state, which does.

Both are JSON of all that a reader of any protocol may ask of a stream, kept as text is: they hold parts of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from client.border.json_codec import decode_json, encode_json
from client.errors import Failure
from client.streams.mirror import Facts
from client.streams.readable import Readable
from client.streams.settlement import Settlement
from server.shared.text import Text, Unreadable

HEAD: Final = "head"
STATE: Final = "state"

_Kind = TypeVar("_Kind")
EncodeAsked = Callable[[object], bytes | None]
DecodeAsked = Callable[[str, bytes], object]


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of an answer from its start on; names as those of `Facts`."""

    id: str
    owner: str
    created_s: float
    protocol: str
    upstream_protocol: str
    requested_model: str
    fingerprint: bytes | None = None
    asked: bytes | None = None


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes known of it; names as those of `Facts`."""

    model: str = ""
    generation_id: str | None = None
    has_verdict: bool = False
    refusal: Failure | None = None
    finish_reason: str | None = None
    has_come_to_nothing: bool = False
    usage: dict[str, Any] | None = None
    total_cost: float | None = None
    is_settled: bool = False
    is_sought: bool = False


class Records:
    """To bytes and back.

    Args:
        text: how they are kept.
        encode_asked: bytes of `Stream.asked`; None: what is not to be copied.
        decode_asked: that of a protocol again.
    """

    def __init__(self, text: Text, encode_asked: EncodeAsked, decode_asked: DecodeAsked) -> None:
        self.text = text
        self._encode_asked = encode_asked
        self._decode_asked = decode_asked

    def head_of(self, stream: Readable, place: str) -> bytes:
        """The head as it is kept at an answer's place."""
        head = Head(
            id=stream.id,
            owner=stream.owner,
            created_s=stream.created_s,
            protocol=stream.protocol,
            upstream_protocol=stream.upstream_protocol,
            requested_model=stream.requested_model,
            fingerprint=stream.fingerprint,
            asked=self._encode_asked(stream.asked),
        )
        return self.text.seal(encode_json(head), f"{place} {HEAD}")

    def state_of(self, stream: Readable, place: str) -> bytes:
        """The state, likewise."""
        settlement = stream.settlement
        state = State(
            model=stream.model,
            generation_id=stream.generation_id,
            has_verdict=stream.has_verdict,
            refusal=stream.refusal,
            finish_reason=stream.finish_reason,
            has_come_to_nothing=stream.has_come_to_nothing,
            usage=settlement.usage,
            total_cost=settlement.total_cost,
            is_settled=settlement.is_settled,
            is_sought=settlement.is_sought,
        )
        return self.text.seal(encode_json(state), f"{place} {STATE}")

    def facts_of(self, head: bytes, state: bytes, place: str) -> Facts:
        """What both say.

        Raises:
            Unreadable: they do not belong here, or make no sense.
        """
        known = self._read(head, f"{place} {HEAD}", Head)
        asked = None if known.asked is None else self._decode_asked(known.protocol, known.asked)
        told = {name: getattr(known, name) for name in Head.__struct_fields__}
        return self.facts_with(Facts(**{**told, "asked": asked}), state, place)

    def facts_with(self, facts: Facts, state: bytes, place: str) -> Facts:
        """The same answer's facts with another state; raises as above."""
        now = self._read(state, f"{place} {STATE}", State)
        return msgspec.structs.replace(facts, **{name: getattr(now, name) for name in State.__struct_fields__})

    def settled(self, state: bytes, settlement: Settlement, place: str) -> tuple[bytes, bool]:
        """The state of an answer whose cost was found, and whether it had come to nothing; raises as above."""
        now = self._read(state, f"{place} {STATE}", State)
        known = msgspec.structs.replace(
            now, usage=settlement.usage, total_cost=settlement.total_cost, is_settled=True, is_sought=False
        )
        return self.text.seal(encode_json(known), f"{place} {STATE}"), now.has_come_to_nothing

    def _read(self, kept: bytes, belongs: str, kind: type[_Kind]) -> _Kind:
        try:
            return msgspec.convert(decode_json(self.text.unseal(kept, belongs)), kind)
        except msgspec.ValidationError as exc:
            raise Unreadable(f"makes no sense: {exc}") from None
