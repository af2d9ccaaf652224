"""aiohttp's exceptions as ours, and the failures that are not upstream's words but about how it answers.

What is told names the cause, never the request. Nothing is sent or read here.
"""

from __future__ import annotations

import ssl

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from client.border.redaction import NOTHING_TO_HIDE, Redaction
from client.border.shown import clean_text
from client.errors import (
    Failure,
    OpenRouterError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from client.upstream.exchange import Exchange
from client.upstream.proxies import Proxy
from client.upstream.tap import BrokenChunks


class mapped_errors:
    """aiohttp's exceptions as ours. A class: a generator would cost every request some microseconds more."""

    __slots__ = ("_hide", "_proxy")

    def __init__(self, hide: Redaction = NOTHING_TO_HIDE, proxy: Proxy | None = None) -> None:
        self._hide = hide
        self._proxy = proxy

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if exc is None or isinstance(exc, OpenRouterError):
            return
        if isinstance(exc, aiohttp.ServerTimeoutError | aiohttp.ConnectionTimeoutError):
            raise _connection_timeout() from exc
        if isinstance(exc, aiohttp.ClientError | OSError):
            raise connection_error(exc, self._hide, self._proxy) from exc


def connection_error(exc: Exception, hide: Redaction, proxy: Proxy | None = None) -> OpenRouterError:
    """No connection or a broken one; the text names the cause, never the request."""
    if proxy is not None and isinstance(exc, aiohttp.ClientHttpProxyError):
        return proxy_refusal(proxy, exc.status, clean_text(str(exc.message), 200, hide))
    if proxy is not None and isinstance(exc, aiohttp.ClientProxyConnectionError):
        what = f"No connection to the proxy {proxy.url}: {clean_text(str(exc.os_error), 200, hide)}"
        return _no_connection(f"{what}. Check {proxy.variable}, and no_proxy.", retryable=True)
    if isinstance(exc, aiohttp.ClientResponseError):
        what = clean_text(str(getattr(exc, "message", "")), 200, hide) or type(exc).__name__
        return protocol_error(f"Upstream, or something before it, answered with broken HTTP: {what}")
    if isinstance(exc, BrokenChunks):
        return protocol_error("Upstream, or something before it, answered with broken HTTP: its chunks are none")
    if isinstance(exc, aiohttp.ClientPayloadError) and isinstance(exc.__cause__, ContentEncodingError):
        return protocol_error("Upstream's answer is not coded as its Content-Encoding says")
    if isinstance(exc, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return protocol_error("upstream.base_url is not a URL that can be requested")
    certificate = isinstance(exc, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError)
    cause = clean_text(str(exc) or type(exc).__name__, 200, hide)
    return _no_connection(
        f"No connection to OpenRouter, or it broke: {cause}. Check the network and upstream.base_url.",
        retryable=not certificate,
    )


def _no_connection(error: str, *, retryable: bool) -> UpstreamConnectionError:
    return UpstreamConnectionError(Failure(error=error, type="upstream_unavailable", status=502, retryable=retryable))


def proxy_refusal(proxy: Proxy, status: int, reason: str) -> UpstreamConnectionError:
    """The proxy lets nothing through: not upstream's word."""
    told = f"{status} {reason}".strip()
    wants = "; it wants another user and password than it was given" if status == 407 else ""
    what = f"The proxy {proxy.url} refused to pass the request on ({told}){wants}"
    return _no_connection(f"{what}. Check {proxy.variable}, and no_proxy.", retryable=status >= 500)


def _connection_timeout() -> OpenRouterError:
    return UpstreamConnectionError(
        Failure(
            error="OpenRouter could not be reached within upstream.connect_timeout_s; check the network.",
            type="upstream_timeout",
            status=504,
            retryable=True,
        )
    )


def timed_out(what: str) -> UpstreamTimeout:
    """Upstream did not do something in time."""
    return UpstreamTimeout(
        Failure(error=f"OpenRouter {what}; try again.", type="upstream_timeout", status=504, retryable=True)
    )


def protocol_error(what: str) -> UpstreamProtocolError:
    """Upstream did something that is not its protocol; mostly the address is wrong."""
    return UpstreamProtocolError(
        Failure(error=f"{what}; check upstream.base_url.", type="upstream_protocol", status=502, retryable=False)
    )


def peek(body: bytes, hide: Redaction) -> str:
    """The beginning of a body in brackets, if it can be shown."""
    text = clean_text(body[:400].decode("utf-8", "replace"), 80, hide)
    return f" ({text})" if text else ""


def too_large(response: aiohttp.ClientResponse | Exchange, max_bytes: int) -> UpstreamProtocolError:
    """A body that is read whole is larger than that."""
    return protocol_error(f"{response.url.host} answered with more than {max_bytes} bytes")
