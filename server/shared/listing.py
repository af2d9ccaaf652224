"""The answers of one caller in all processes, and what it calls them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from client.streams.elsewhere import StoreUnavailable
from client.streams.readable import Summary
from server.shared.engine.lines import EngineUnfit
from server.shared.engine.values import number_of, word_of
from server.shared.follower import Followed
from server.shared.records import Records
from server.shared.store import Store, StoreUnfit
from server.shared.text import Unreadable

logger = logging.getLogger(__name__)

KNOWN: Final = ("rid", "head", "state", "ended", "sealed", "last")
"""What is asked of the meta of an answer."""
Meta = list[bytes | None]
_NOTHING: Final[Meta] = [None] * len(KNOWN)
_AT_ONCE: Final = 100
_OF_SEAL: Final = 2
"""Events with which others end an answer."""


async def list_of(
    store: Store, records: Records, mirrors: Mapping[str, Followed], owner: str, most: int | None
) -> list[Summary]:
    """The caller's answers, newest first; those that are gone are taken out of the list there.

    Args:
        mirrors: those that are read here, by place.

    Raises:
        StoreUnavailable: it cannot be told.
    """
    listed = store.keys.listed(owner)
    found: list[Summary] = []
    at = 0
    while most is None or len(found) < most:
        told = await _listed(store, listed, at)
        places = [word_of(each) for each in told]
        replies = await store.commands(
            [("HMGET", store.keys.meta(place), *KNOWN) for place in places], bears_unfit=True
        )
        metas = [_NOTHING if isinstance(reply, EngineUnfit) else reply for reply in replies]
        known = [(place, meta) for place, meta in zip(places, metas, strict=True) if meta[0] is not None]
        gone = [each for each, meta in zip(told, metas, strict=True) if meta[0] is None]
        if gone and not store.may_lack:
            await store.command("ZREM", listed, *gone)
            at -= len(gone)
        summaries = (
            _summary(records, meta, place, mirrors.get(place)) for place, meta in known if meta[1] is not None
        )
        found += [summary for summary in summaries if summary is not None]
        if len(places) < _AT_ONCE:
            break
        at += _AT_ONCE
    return [each for each in found if each.owner == owner][:most]


async def _listed(store: Store, listed: str, at: int) -> list[bytes]:
    """The next places of a list; one that is none is removed, so that it fills again."""
    try:
        told: list[bytes] = await store.command("ZRANGE", listed, at, at + _AT_ONCE - 1, "REV")
    except StoreUnfit:
        logger.error("A list in the shared store was none, and is begun anew.")
        await store.command("DEL", listed)
        return []
    return told


def _summary(records: Records, meta: Meta, place: str, followed: Followed | None) -> Summary | None:
    """None where it cannot be read: the caller shall see all others."""
    try:
        facts = records.facts_of(meta[1] or b"", meta[2] or b"", place)
    except Unreadable as exc:
        logger.error("An answer in the shared store cannot be read, and is left out of a list: it %s.", exc)
        return None
    is_sealed = meta[4] is not None
    return Summary(
        id=facts.id,
        owner=facts.owner,
        generation_id=facts.generation_id,
        model=facts.model or facts.requested_model,
        is_running=meta[3] is None,
        finish_reason="interrupted" if is_sealed else facts.finish_reason,
        created_s=facts.created_s,
        protocol=facts.protocol,
        upstream_protocol=facts.upstream_protocol,
        readers=0 if followed is None else followed.mirror.readers,
        events=number_of(meta[5]) + (_OF_SEAL if is_sealed else 0),
    )


async def find_name(store: Store, owner: str, kind: str, name: str) -> tuple[str, float] | None:
    """Id of the answer that the caller calls so, and when it was called so; raises as above."""
    found: bytes | None = await store.command("GET", store.keys.named(owner, kind, name))
    if found is None:
        if store.may_lack or not store.has_contact:
            raise StoreUnavailable
        return None
    given, _, stream_id = found.decode("utf-8", "replace").partition(" ")
    try:
        return stream_id, float(given)
    except ValueError:
        logger.error("What an answer is called in the shared store cannot be read: it makes no sense.")
        raise StoreUnavailable from None
