"""Connections to the engine, each with one command under way at a time.

redis-py's own client and pools are not used: they repeat a command whose reply was lost, share one connection among
callers of which one may be cancelled, and cost more than twice as much a command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from hiredis import pack_command
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from server.config.redis.url import Engine

CONNECT_S: Final = 1.0
ANSWER_S: Final = 2.0
_NOT_NOW: Final = (
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "MISCONF",
    "BUSY",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "UNKILLABLE",
    "READONLY",
    "max number of clients",
)
Word = bytes | str | int | float
_pack: Callable[[tuple[Word, ...]], bytes] = pack_command  # type: ignore[assignment]  # its stub knows one word only


class EngineError(Exception):
    """The engine did not do what was asked; the text names neither keys nor passwords."""


class EngineLost(EngineError):
    """It did not answer, or cannot do it now."""


class EngineFull(EngineLost):
    """It has no memory left for anything new."""


class EngineRefused(EngineError):
    """It does not do this, now or later: wrong password, forbidden command, a mistake."""


class EngineUnfit(EngineRefused):
    """What stands there under a name of ours is not what was put there: others can be written and read."""


class ScriptUnknown(EngineError):
    """It does not know a script by its digest."""


def error_of(exc: BaseException) -> EngineError:
    """What an error of the library means here."""
    text = str(exc)
    if isinstance(exc, exceptions.ConnectionError) and isinstance(exc.__cause__, exceptions.RedisError):
        return error_of(exc.__cause__)  # what a greeting over a UNIX socket failed of
    match exc:
        case exceptions.NoScriptError():
            return ScriptUnknown()
        case exceptions.OutOfMemoryError():
            return EngineFull("it has no memory left")
        case exceptions.AuthenticationError() | exceptions.AuthenticationWrongNumberOfArgsError():
            return EngineRefused("the user or the password is wrong, or is missing")
        case exceptions.AuthorizationError() | exceptions.NoPermissionError():
            return EngineRefused(text)
        case exceptions.ReadOnlyError():
            return EngineLost("it is a replica, and takes no writes")
        case exceptions.TimeoutError() | TimeoutError():
            return EngineLost("it did not answer in time")
        case exceptions.ResponseError():
            if text.startswith("OOM"):
                return EngineFull("it has no memory left")
            if "NOAUTH" in text or text.startswith("Authentication"):
                return EngineRefused("the user or the password is wrong, or is missing")
            if text.startswith("WRONGTYPE") or "equal or smaller" in text:
                return EngineUnfit(text[:200])
            return EngineLost(text[:200]) if text.startswith(_NOT_NOW) else EngineRefused(text[:200])
    return EngineLost(text[:200] or type(exc).__name__)


class Line:
    """One connection. What fails, or is cancelled under way, costs the connection: its next reply would be that of
    somebody else.

    Args:
        answer_s: seconds within which an answer must come; more than a blocking command blocks.
    """

    def __init__(self, make: Callable[[], AbstractConnection], answer_s: float = ANSWER_S) -> None:
        self._make = make
        self._answer_s = answer_s
        self._connection: AbstractConnection | None = None
        self._is_stale = False
        self._in_use = asyncio.Lock()

    @property
    def is_free(self) -> bool:
        """Whether no command is under way."""
        return not self._in_use.locked()

    async def ask(self, *words: Word) -> Any:
        """The reply to one command.

        Raises:
            EngineError: there is none.
        """
        (reply,) = await self._exchange(_pack(words), 1)
        if isinstance(reply, EngineError):
            raise reply
        return reply

    async def ask_many(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """The replies to several commands that are sent at once; where one was refused, the error in its place.

        Raises:
            EngineLost: nobody knows which of them were carried out.
        """
        if not commands:
            return []
        return await self._exchange(b"".join(_pack(tuple(words)) for words in commands), len(commands))

    async def _exchange(self, packed: bytes, count: int) -> list[Any]:
        async with self._in_use:
            connection = self._connection
            if connection is not None and (self._is_stale or _is_closed(connection)):
                await self._drop()
                connection = None
            self._is_stale = False
            if connection is None:
                connection = self._connection = self._make()
            is_whole = False
            try:
                async with asyncio.timeout(self._answer_s):
                    if not connection.is_connected:
                        await connection.connect()  # type: ignore[no-untyped-call]
                    await connection.send_packed_command(packed, check_health=False)
                    replies = [await _reply(connection) for _ in range(count)]
                is_whole = True
                return replies
            except (exceptions.RedisError, OSError, TimeoutError) as exc:
                raise error_of(exc) from None
            finally:
                if not is_whole:
                    await self._drop()

    def renew(self) -> None:
        """The next command goes over a new connection: what is at the other end of this one is in doubt."""
        self._is_stale = True

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.disconnect(nowait=True)
            except (exceptions.RedisError, OSError):
                return

    async def aclose(self) -> None:
        """Closes it, once what is under way has ended."""
        async with self._in_use:
            await self._drop()


def _is_closed(connection: AbstractConnection) -> bool:
    """Whether the engine has closed it while nobody used it."""
    reader = connection._reader
    return reader is not None and reader.at_eof()


async def _reply(connection: AbstractConnection) -> Any:
    """One reply; what makes the connection worthless is raised, all else given back."""
    try:
        return await connection.read_response()
    except exceptions.ResponseError as exc:
        error = error_of(exc)
        if isinstance(exc, exceptions.ReadOnlyError) or "READONLY" in str(exc):
            raise exceptions.ConnectionError("it is a replica, and takes no writes") from None
        return error


class Lines:
    """Several connections, of which each caller takes one that is free, or waits for it."""

    def __init__(self, make: Callable[[], AbstractConnection], most: int) -> None:
        self._lines = [Line(make) for _ in range(most)]
        self._free = asyncio.Semaphore(most)

    async def ask(self, *words: Word) -> Any:
        """As `Line.ask`."""
        async with self._free:
            return await self._one().ask(*words)

    async def ask_many(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """As `Line.ask_many`."""
        async with self._free:
            return await self._one().ask_many(commands)

    def _one(self) -> Line:
        return next(line for line in self._lines if line.is_free)

    def renew(self) -> None:
        """As `Line.renew`, of all."""
        for line in self._lines:
            line.renew()

    async def aclose(self) -> None:
        """Closes all of them."""
        for line in self._lines:
            await line.aclose()


class Dialler:
    """Makes connections to one engine, wherever it is at the time.

    Args:
        ca_file: certificates that it is checked with; None: those of the system.
    """

    def __init__(self, engine: Engine, *, ca_file: str | None = None) -> None:
        self._engine = engine
        self._options: dict[str, Any] = {
            "username": engine.username,
            "password": engine.password,
            "db": engine.database,
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": None,  # one for a command and its answer is `Line`'s
            "retry": Retry(NoBackoff(), 0),  # by default 8.1 sends a write whose reply was lost again and again
            "protocol": 2,
            "driver_info": None,  # CLIENT SETINFO is not there before 7.2
        }
        self._tls: dict[str, Any] = {}
        if engine.uses_tls:
            self._tls = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
            if ca_file is not None:
                self._tls["ssl_ca_certs"] = ca_file
        self._pools: list[SentinelConnectionPool] = []

    def maker(self, name: str) -> Callable[[], AbstractConnection]:
        """What makes connections of one kind.

        Args:
            name: what the engine's list of clients shows.
        """
        options = {**self._options, "client_name": name}
        engine = self._engine
        if engine.path is not None:
            return lambda: UnixDomainSocketConnection(path=engine.path or "", **options)
        if engine.service is not None:
            return self._pool(engine.service, options).make_connection
        (host, port), *_ = engine.hosts
        if engine.uses_tls:
            return lambda: SSLConnection(host=host, port=port, **self._tls, **options)
        return lambda: Connection(host=host, port=port, **options)

    def _pool(self, service: str, options: dict[str, Any]) -> SentinelConnectionPool:
        """What asks the sentinels where the engine is, each time a connection is made."""
        asked = {
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": CONNECT_S,
            "retry": Retry(NoBackoff(), 0),
            "driver_info": None,
            "protocol": 2,
        }
        tls = {"ssl": True, **self._tls} if self._engine.uses_tls else {}
        hosts = list(self._engine.hosts)
        sentinel = Sentinel(hosts, sentinel_kwargs={**asked, **tls})  # type: ignore[no-untyped-call]
        pool = SentinelConnectionPool(service, sentinel, **options, **tls)  # type: ignore[no-untyped-call]
        self._pools.append(pool)  # its connections hold it weakly
        return pool

    async def aclose(self) -> None:
        """Parts with the sentinels; what was made for others is theirs to close."""
        for pool in self._pools:
            for client in pool.sentinel_manager.sentinels:
                await client.aclose()
