"""Puts the shared store together, and opens and closes it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from client.streams.streams import SHUTTING_DOWN, Streams
from server.config import Config, ConfigError, ConfigProblem
from server.config.redis.url import parse_url
from server.shared.burial import Undertaker
from server.shared.copies import SharedCopies
from server.shared.engine.first_look import first_look
from server.shared.engine.keys import Keys
from server.shared.engine.lines import Dialler, EngineLost, Line
from server.shared.mirrors import SharedMirrors
from server.shared.records import DecodeAsked, EncodeAsked, Records
from server.shared.store import Hook, Store
from server.shared.text import text_of
from server.telemetry.shared_figures import SharedFigures

logger = logging.getLogger(__name__)


class Shared:
    """The store in use, and what `/health` and `/metrics` say of it.

    Attributes:
        store: contact with the engine.
        figures: what was done so far.
    """

    def __init__(self, store: Store, copies: SharedCopies, mirrors: SharedMirrors) -> None:
        self.store = store
        self.copies = copies
        self.mirrors = mirrors

    @property
    def figures(self) -> SharedFigures:
        """What was done so far."""
        return self.store.figures

    @property
    def has_contact(self) -> bool:
        """Whether the engine answers."""
        return self.store.has_contact

    @property
    def replicas(self) -> int:
        """Processes that share it, this one included."""
        return self.store.replicas

    @property
    def mirrored(self) -> int:
        """Answers of others that are kept here."""
        return self.mirrors.count

    @property
    def unacked_bytes(self) -> int:
        """What waits to be written there."""
        return self.copies.outbox.unacked_bytes

    @property
    def oldest_unacked_s(self) -> float:
        """For how long the oldest of it waits."""
        return self.copies.outbox.oldest_unacked_s


@asynccontextmanager
async def open_store(config: Config) -> AsyncIterator[Store]:
    """Contact with the engine that the settings name; one that cannot be reached is tried on.

    Raises:
        ConfigError: the engine is none that we can work with.
    """
    url = config.redis.url
    if url is None:
        raise ValueError("there is no redis.url")
    dialler = Dialler(parse_url(url.get_secret_value()), ca_file=config.redis.ca_file)
    keys = Keys(config.store_prefix)
    store = Store(dialler, keys, lease_s=config.redis.lease_s, when_lost=config.redis.when_lost)
    line = Line(dialler.maker(f"{keys.prefix}-look"))
    try:
        found = await first_look(line, keys.prefix)
    except EngineLost:
        found = []
        store.on_contact.append(_late_look(line, keys.prefix))
    if found:
        await line.aclose()
        await dialler.aclose()
        source = config.sources.get("redis.url", "redis.url")
        raise ConfigError([ConfigProblem(source, what, "redis.url") for what in found], config)
    try:
        yield store
    finally:
        await store.aclose()
        await line.aclose()


def _late_look(line: Line, prefix: str) -> Hook:
    """What is looked at once there is contact: nobody can be kept from starting any more, only told."""
    is_due = [True]

    async def look() -> None:
        if is_due[0]:
            found = await first_look(line, prefix)
            is_due[0] = False
            for what in found:
                logger.error("The shared store does not fit: %s", what)

    return look


@asynccontextmanager
async def share(
    config: Callable[[], Config], store: Store, streams: Streams, encode_asked: EncodeAsked, decode_asked: DecodeAsked
) -> AsyncIterator[Shared]:
    """Has the streams' answers copied, and those of others found, until the context is left: then what is left is
    written, once nothing runs any more.

    Args:
        config: the settings that hold at the time.
    """
    redis = config().redis
    records = Records(text_of(redis.text_keys), encode_asked, decode_asked)
    copies = SharedCopies(store, records, flush_s=redis.flush_ms / 1000, retain_s=lambda: config().streams.retain_s)
    mirrors = SharedMirrors(store, records, copies, streams)
    undertaker = Undertaker(store, lambda: copies.outbox.retain_ms)
    streams.join(mirrors, copies)
    await store.open()
    for part in (copies, mirrors, undertaker):
        part.open()
    try:
        yield Shared(store, copies, mirrors)
    finally:
        await streams.stop_all("shutting_down", SHUTTING_DOWN)  # nothing runs any more; if it does, it has its end
        await undertaker.aclose()
        await copies.aclose()
        await mirrors.aclose()
