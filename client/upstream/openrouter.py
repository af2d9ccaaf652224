"""The only place that talks to OpenRouter: one POST that streams, and GETs of JSON.

aiohttp's exceptions stop here; what leaves is `client.errors`. Nothing is parsed here but error bodies. Redirects are
not followed: the key belongs to one host.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
from aiohttp import hdrs
from yarl import URL

from client.border.fit import header_value
from client.border.json_codec import encode_json
from client.border.large_json import decode_in_steps
from client.border.media_type import media_type
from client.border.redaction import NOTHING_TO_HIDE, Redaction
from client.border.shown import clean_text
from client.config import PROTOCOLS, UpstreamConfig
from client.errors import (
    Failure,
    UpstreamProtocolError,
    UpstreamStatusError,
)
from client.translation.errors.failures import failure_of_body, failure_of_error
from client.translation.foreign.fronts import CHAT
from client.translation.usage import usage_in
from client.upstream.aiohttp_errors import (
    connection_error,
    mapped_errors,
    peek,
    protocol_error,
    proxy_refusal,
    timed_out,
    too_large,
)
from client.upstream.exchange import EVENT_STREAM, Endpoint, Exchange
from client.upstream.proxies import Proxy, proxy_for
from client.upstream.tap import Take, TappedResponse, hand_on
from client.upstream.upload import Upload

_MAX_ERROR_BODY_BYTES = 65_536
_MAX_JSON_BODY_BYTES = 64 * 1024 * 1024
_MOST_REST_BYTES = 16_384
_GET_TIMEOUT_S = 30.0
_WHOLE = ("embeddings",)
"""Protocols whose replies are never streamed."""
_GENERATION_ID = "X-Generation-Id"
_PATHS = {CHAT: "/chat/completions", **{protocol: f"/{protocol}" for protocol in PROTOCOLS}}


def create_session(config: UpstreamConfig) -> aiohttp.ClientSession:
    """The session that everything in the process shares: no cookies, no limit of connections, no total time-out."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout_s),
        auto_decompress=True,
        response_class=TappedResponse,
        headers={"User-Agent": "openrouter-sse-backend"},
    )


Response = aiohttp.ClientResponse | Exchange


class UpstreamReply:
    """A reply to a chat request, its body still to be read. Whoever has it closes it."""

    __slots__ = ("_hide", "_is_closed", "_response", "content_type", "generation_id", "is_event_stream")

    def __init__(self, response: Response, hide: Redaction = NOTHING_TO_HIDE) -> None:
        self._response = response
        self._is_closed = False
        self._hide = hide
        if isinstance(response, Exchange):
            self.content_type, sent_id = response.content_type, response.generation_id
        else:
            self.content_type = media_type(response.headers.get(hdrs.CONTENT_TYPE))
            sent_id = response.headers.get(_GENERATION_ID)
        self.is_event_stream = self.content_type == EVENT_STREAM
        generation_id = None if sent_id is None else header_value(sent_id)
        self.generation_id = None if generation_id is None else hide.text(generation_id)

    @property
    def has_ended(self) -> bool:
        """True when the body was read to its end."""
        return self._response.content.at_eof()

    def hand_on(self, take: Take) -> Awaitable[None]:
        """Gives `take` the body as it comes, until that wants no more or the body ends.

        Raises:
            UpstreamConnectionError: the connection broke.
            Exception: what `take` raised.
        """
        return hand_on(self._response, take, self._broken)

    def _broken(self, error: Exception) -> Exception:
        return connection_error(error, self._hide)

    async def read_rest(self, timeout_s: float) -> None:
        """Reads on to the end of the body: a connection that is let go before is closed, not used again.

        That is worth the wait for the end and no more: what goes on is let go.
        """
        left_bytes = _MOST_REST_BYTES

        def take(piece: bytes) -> bool:
            nonlocal left_bytes
            left_bytes -= len(piece)
            return left_bytes >= 0

        with suppress(aiohttp.ClientError, OSError):
            async with asyncio.timeout(timeout_s):
                await hand_on(self._response, take)

    def too_large(self, max_bytes: int) -> UpstreamProtocolError:
        """The failure for a body that is read whole and is larger than that."""
        return too_large(self._response, max_bytes)

    def not_a_stream(self, body: bytes) -> UpstreamProtocolError:
        """The failure for a reply of 200 that is neither events nor JSON: mostly a web page."""
        kind = clean_text(self.content_type, 100, self._hide) or "no content type"
        told = f"{kind}{peek(body, self._hide)}"
        return protocol_error(f"OpenRouter's base URL answered the chat request with {told}")

    def close(self) -> None:
        """Lets the connection go: to be used again when the body was read to its end, else for ever. Once: it may be
        another reply's afterwards."""
        if self._is_closed:
            return
        self._is_closed = True
        content = self._response.content
        if content.at_eof() and content.exception() is None:
            self._response.release()
        else:
            self._response.close()


class OpenRouterClient:
    """OpenRouter, or anything that speaks like it.

    Attributes:
        failure_of: makes the failure of an `error` value inside a reply.
    """

    def __init__(
        self, session: aiohttp.ClientSession, config: UpstreamConfig, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._session = session
        self._environ = environ
        self.failure_of = self._failure_of  # one for all answers
        self.configure(config)

    def configure(self, config: UpstreamConfig) -> None:
        """Asks with other settings from the next request on; answers under way keep theirs."""
        self.config = config
        self.proxy = proxy_for(config.base_url, self._environ)
        self.hide = _redaction_of(config, self.proxy)
        self._headers = _headers_of(config, self.proxy)
        self._via = _via(self.proxy)
        self._chat_urls = {protocol: self._url(path) for protocol, path in _PATHS.items()}
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout_s)
        self._chat_headers = {
            **self._headers,
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",  # compression delays events
            "Content-Type": "application/json",
        }
        self._whole_headers = {**self._chat_headers, "Accept": "application/json"}
        self._endpoints: dict[str, Endpoint] = {}  # by protocol, each from its first request on

    @property
    def base_url(self) -> str:
        """The base URL, without a slash at its end."""
        return self.config.base_url

    @property
    def host(self) -> str:
        """Host and port of the base URL, for people."""
        return urlsplit(self.base_url).netloc

    def _failure_of(self, error: Any, provider: str | None = None) -> Failure:
        return failure_of_error(error, provider=provider, now_s=time.time(), hide=self.hide)

    async def open_chat(
        self,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        note_progress: Callable[[], None] | None = None,
        protocol: str = CHAT,
    ) -> UpstreamReply:
        """Sends a chat request, `headers` beside the usual ones, and returns the reply when its head has come.

        `note_progress` is called while a large body goes up, whenever upstream has taken more of it. `protocol` is
        that of the body: chat completions, or one of `upstream.protocols`.

        Raises:
            UpstreamConnectionError: no connection.
            UpstreamStatusError: a status of 400 and more.
            UpstreamProtocolError: a redirect.
        """
        with mapped_errors(self.hide, self.proxy):
            data = encode_json(body)
            response: Response
            if self.proxy is None and len(data) <= Upload.SMALL_BYTES:
                response = await (self._endpoints.get(protocol) or self._endpoint(protocol)).post(data, headers)
            else:
                usual = self._usual_headers(protocol)
                response = await self._session.post(
                    self._chat_urls[protocol],
                    data=data if len(data) <= Upload.SMALL_BYTES else Upload(data, note_progress),
                    headers={**usual, **headers} if headers else usual,
                    allow_redirects=False,
                    timeout=self._timeout,
                    **self._via,
                )
            reply = UpstreamReply(response, self.hide)
            if response.status >= 300:
                try:
                    await _refuse_bad_status(response, self.hide, self.proxy)
                finally:
                    reply.close()
            return reply

    def _usual_headers(self, protocol: str) -> dict[str, str]:
        return self._whole_headers if protocol in _WHOLE else self._chat_headers

    def _endpoint(self, protocol: str) -> Endpoint:
        """Where requests of that protocol go."""
        endpoint = self._endpoints[protocol] = Endpoint(
            self._session, self._chat_urls[protocol], self._usual_headers(protocol), self._timeout
        )
        return endpoint

    async def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON that a GET of `path` (below the base URL, sent as it is) answers.

        Raises:
            OpenRouterError: one of its kinds.
        """
        with mapped_errors(self.hide, self.proxy):
            try:
                async with (
                    asyncio.timeout(_GET_TIMEOUT_S),
                    self._session.get(
                        self._url(path, params),
                        headers={**self._headers, "Accept": "application/json"},
                        allow_redirects=False,
                        timeout=self._timeout,
                        **self._via,
                    ) as response,
                ):
                    await _refuse_bad_status(response, self.hide, self.proxy)
                    return await self._json_of(await _read_bounded(response, _MAX_JSON_BODY_BYTES), path)
            except aiohttp.ServerTimeoutError:  # a TimeoutError too, of the connection
                raise
            except TimeoutError as exc:
                raise timed_out(f"did not answer {path} within {_GET_TIMEOUT_S:g} s") from exc

    def _url(self, path: str, params: Mapping[str, str] | None = None) -> URL:
        url = URL(self.base_url + path, encoded=True)
        return url.with_query(params) if params else url

    async def _json_of(self, body: bytes, path: str) -> Any:
        found = await decode_in_steps(body)
        if found is None:
            what = f"answered {path} with something that is not JSON{peek(body, self.hide)}"
            raise protocol_error(f"{self.host} {what}")
        return self.hide.json(found) if self.hide.concerns(body) else found


def _via(proxy: Proxy | None) -> dict[str, Any]:
    """How a request goes through a proxy. aiohttp's `trust_env` is not used: it also puts what `~/.netrc` holds in
    the place of the key."""
    if proxy is None:
        return {}
    authorization = proxy.authorization
    return {
        "proxy": URL(proxy.url),
        "proxy_headers": {} if authorization is None else {"Proxy-Authorization": authorization},
    }


def _headers_of(config: UpstreamConfig, proxy: Proxy | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    if proxy is not None and proxy.authorization is not None and config.base_url.startswith("http:"):
        headers["Proxy-Authorization"] = proxy.authorization  # without a tunnel the request itself goes to the proxy
    if config.api_key is not None:
        headers["Authorization"] = f"Bearer {config.api_key.get_secret_value()}"
    if config.http_referer:
        headers["HTTP-Referer"] = config.http_referer
    if config.x_title:
        headers["X-OpenRouter-Title"] = config.x_title
        headers["X-Title"] = config.x_title
    return headers


def _redaction_of(config: UpstreamConfig, proxy: Proxy | None) -> Redaction:
    key = None if config.api_key is None else config.api_key.get_secret_value()
    return Redaction(key, None if proxy is None else proxy.password)


async def _refuse_bad_status(response: Response, hide: Redaction, proxy: Proxy | None) -> None:
    if response.status < 300:
        return
    if response.status == 407 and proxy is not None:
        raise proxy_refusal(proxy, 407, "")
    if response.status < 400:
        raise protocol_error(
            f"{response.url.host} answered with a redirect ({response.status}), which is not followed with the key; "
            "set upstream.base_url to where it leads"
        )
    body = await _read_head(response, _MAX_ERROR_BODY_BYTES)
    failure = failure_of_body(response.status, response.headers, body, time.time(), hide)
    error = UpstreamStatusError(failure, upstream_status=response.status, usage=usage_in(body))
    error.body = body
    raise error


async def _read_head(response: Response, max_bytes: int) -> bytes:
    """The beginning of an error body; one that breaks off still tells something."""
    pieces: list[bytes] = []
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(5):
            await _read_at_most(response, max_bytes, pieces)
    return b"".join(pieces)[:max_bytes]


async def _read_bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    if await _read_at_most(response, max_bytes, pieces) > max_bytes:
        raise too_large(response, max_bytes)
    return b"".join(pieces)


async def _read_at_most(response: Response, max_bytes: int, pieces: list[bytes] | None = None) -> int:
    """Reads until the body ends or more than `max_bytes` came, a share a turn of the loop; how many there were.

    What is there already is given without waiting, and what was packed small can be unpacked to any size.
    """
    size = 0
    content = cast(aiohttp.StreamReader, response.content)  # only of a stream that is tapped it is another
    while size <= max_bytes and (piece := await content.readany()):
        size += len(piece)
        if pieces is not None:
            pieces.append(piece)
        await asyncio.sleep(0)
    return size
