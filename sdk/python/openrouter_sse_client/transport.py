"""Requests to the server. aiohttp stops here: what fails is `Lost` or `ChatError`."""

from __future__ import annotations

import asyncio
import email.utils
import inspect
import ipaddress
import json
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from openrouter_sse_client.errors import CONNECTION_LOST, ChatError, error_from, error_of_json, unexpected
from openrouter_sse_client.wire.backoff import backoff_s
from openrouter_sse_client.wire.events import Error, event_of
from openrouter_sse_client.wire.sse import SSEDecoder

Token = str | Callable[[], str | Awaitable[str]] | None

CONNECT_TIMEOUT_S = 10.0
EVENT_STREAM = "text/event-stream"
FIRST_TRIES = 2
"""How often a server that was never there is tried again: whoever mistyped an address shall not wait."""
_MOST_BYTES = 1_048_576
"""Most that is read of a refusal."""


class Lost(Exception):
    """The connection is gone, or was never there; asking again may help.

    Attributes:
        retry_after_s: when the server wants to be asked again; None when it did not say.
        is_refused: nothing was sent: nobody listens, or no such host.
    """

    def __init__(self, reason: str, *, retry_after_s: float | None = None, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.is_refused = is_refused


class Connection:
    """An event stream that is being read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.stream_id = response.headers.get("X-Stream-Id")

    async def read(self) -> bytes:
        """What came since the last call; empty at the end.

        Raises:
            Lost: the connection is gone, or was silent for too long.
        """
        with _mapped_errors():
            return await self._response.content.readany()

    def close(self) -> None:
        """Leaves, at once."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class Transport:
    """Sends requests to one server.

    Args:
        session: somebody else's, which is never closed here; None: an own one.
        idle_timeout_s: silence after which a connection counts as lost; comments count as life.
    """

    def __init__(
        self, base_url: str, token: Token, session: aiohttp.ClientSession | None, idle_timeout_s: float
    ) -> None:
        self.base_url = _checked(base_url)
        if token is not None and self.base_url.user is not None:
            raise ValueError("a name in the address and a token would both be the one Authorization of a request")
        self._token = token
        self._session = session
        self._is_own = session is None
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=idle_timeout_s)

    async def aclose(self) -> None:
        """Closes the own session."""
        if self._is_own and self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def open_stream(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str]
    ) -> Connection | None:
        """An event stream; None when there is nothing more to read (204).

        Raises:
            ChatError: the server refused.
            Lost: nobody answered.
        """
        headers = {"Accept": EVENT_STREAM, **headers}
        response = await self._send(method, path, body=body, headers=headers)
        if response.status == 204:
            response.release()
            return None
        if response.status == 200 and response.content_type == EVENT_STREAM:
            return Connection(response)
        async with _ending(response):
            raise await _refusal(response)

    async def request(self, method: str, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A JSON object.

        Raises:
            ChatError: the server refused.
            Lost: nobody answered.
        """
        response = await self._send(method, path, params=params, headers={"Accept": "application/json"})
        async with _ending(response):
            if response.ok and response.content_type == "application/json":
                with _mapped_errors():
                    text = await response.text()
                found = json.loads(text)
                if isinstance(found, dict):
                    return found
            raise await _refusal(response)

    async def ask(
        self, method: str, path: str, params: Mapping[str, str] | None = None, *, max_retries: int = FIRST_TRIES
    ) -> dict[str, Any]:
        """The same, asked again when the connection was lost: only for what may be asked twice.

        Raises:
            ChatError: the server refused, or does not answer.
        """
        failures = 0
        while True:
            try:
                return await self.request(method, path, params)
            except Lost as lost:
                failures += 1
                if failures > (min(FIRST_TRIES, max_retries) if lost.is_refused else max_retries):
                    raise unreachable(self.base_url, lost) from lost
                wait_s = backoff_s(failures, random.random) if lost.retry_after_s is None else lost.retry_after_s
            await asyncio.sleep(wait_s)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        token = self._token() if callable(self._token) else self._token
        if inspect.isawaitable(token):
            token = await token
        sent = dict(headers)
        if token:
            sent["Authorization"] = f"Bearer {token.strip()}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        with _mapped_errors():
            return await self._open_session().request(
                method,
                # a path of a proxy's may stand before ours
                self.base_url.with_path(self.base_url.path.rstrip("/") + path, encoded=False).with_query(params),
                data=body,
                headers=sent,
                timeout=self._timeout,
                allow_redirects=False,
                raise_for_status=False,
            )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # a hundred otherwise: `stop` would wait for a stream's end
                middlewares=(_ask_once,),
                trust_env=not _is_loopback(self.base_url),
            )
        return self._session


def unreachable(base_url: URL, lost: Lost) -> ChatError:
    """For somebody who has tried often enough."""
    told = f"The server does not answer at {base_url.with_user(None)}: {lost}."
    return ChatError(told, type=CONNECTION_LOST, retryable=True, retry_after_s=lost.retry_after_s)


def _checked(base_url: str) -> URL:
    url = URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"the address of the server must begin with http:// or https://, not {base_url!r}")
    return url


def _is_loopback(url: URL) -> bool:
    host = url.host or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@asynccontextmanager
async def _ending(response: aiohttp.ClientResponse) -> AsyncIterator[None]:
    try:
        yield
    finally:
        response.release()


class _mapped_errors:
    """aiohttp's exceptions to ours. A class, since it stands around every read."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, aiohttp.InvalidURL | aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
            raise ChatError(f"No connection to the server: {exc}", type=CONNECTION_LOST) from exc
        if isinstance(exc, aiohttp.ClientConnectorError):
            raise Lost(f"no connection: {exc.os_error.strerror or exc.os_error}", is_refused=True) from exc
        if isinstance(exc, TimeoutError):
            raise Lost("the server was silent for too long") from exc
        if isinstance(exc, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
            raise Lost("cut") from exc
        if isinstance(exc, aiohttp.ClientError | OSError):
            raise Lost(getattr(exc, "strerror", None) or str(exc) or type(exc).__name__) from exc


async def _ask_once(request: aiohttp.ClientRequest, ask: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps aiohttp from repeating by itself, at once and uncounted, what has no body and failed before its head."""
    with _mapped_errors():
        return await ask(request)


async def _refusal(response: aiohttp.ClientResponse) -> Exception:
    """Why there is no stream."""
    body = b""
    with _mapped_errors():
        while len(body) < _MOST_BYTES and (piece := await response.content.readany()):
            body += piece
    text = body.decode("utf-8", "replace")
    failure = _first_error(text) if response.content_type == EVENT_STREAM else error_of_json(text)
    retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
    if failure is not None:
        return error_from(failure, response.status, retry_after_s)
    if response.status >= 500:  # a proxy's word while the server behind it is away
        return Lost(f"the server is away ({response.status})", retry_after_s=retry_after_s)
    return unexpected(response.status, response.content_type, text, response.headers.get("Location"))


def _first_error(text: str) -> Error | None:
    """What upstream refused: the events of the answer are the body then."""
    for each in SSEDecoder().receive_data(text.encode()):
        event = event_of(*each)
        if isinstance(event, Error):
            return event
    return None


def _retry_after_s(text: str | None) -> float | None:
    """Seconds, which may be told as a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    try:
        wait_s = float(text)
    except ValueError:
        try:
            wait_s = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, wait_s) if math.isfinite(wait_s) else None
