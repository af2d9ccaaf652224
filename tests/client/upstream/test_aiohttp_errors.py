"""aiohttp's exceptions stop in `client.upstream.openrouter`, also those that a later version adds."""

from __future__ import annotations

import inspect
import ssl
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from client.errors import OpenRouterError, UpstreamConnectionError
from client.upstream.aiohttp_errors import mapped_errors

OTHERS = {
    aiohttp.BadContentDispositionHeader,  # warnings of the multipart reader
    aiohttp.BadContentDispositionParam,
    aiohttp.EofStream,  # of a stream parser, caught inside aiohttp
    aiohttp.WebSocketError,  # there are no web sockets here
    aiohttp.WSMessageTypeError,
}

CLASSES = [
    found
    for _, found in inspect.getmembers(aiohttp, inspect.isclass)
    if issubclass(found, Exception) and found not in OTHERS
]


def raised(kind: type[Exception]) -> Exception:
    """An instance, made with whatever its constructor asks for."""
    key = ConnectionKey("upstream.example", 443, True, True, None, None, None)
    arguments: dict[str, Any] = {
        "connection_key": key,
        "os_error": OSError(111, "refused"),
        "certificate_error": ssl.SSLCertVerificationError("expired"),
        "request_info": Mock(real_url=URL("https://upstream.example/")),
        "history": (),
        "expected": b"1",
        "got": b"2",
        "host": "upstream.example",
        "port": 443,
        "url": "https://upstream.example/",
    }
    for parent in kind.__mro__:
        constructor = vars(parent).get("__init__")
        if inspect.isfunction(constructor):
            names = inspect.signature(constructor).parameters
            return kind(*(arguments[name] for name in names if name in arguments))
    return kind("it failed")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_exception_of_aiohttp_becomes_one_of_ours(kind: type[Exception]) -> None:
    with pytest.raises(OpenRouterError) as caught, mapped_errors():
        raise raised(kind)
    failure = caught.value.failure
    assert failure.status in (502, 504)
    assert failure.error
    if issubclass(kind, aiohttp.ServerTimeoutError):
        assert failure.type == "upstream_timeout"


def test_a_certificate_that_is_not_trusted_is_not_tried_again() -> None:
    with pytest.raises(UpstreamConnectionError) as caught, mapped_errors():
        raise raised(aiohttp.ClientConnectorCertificateError)
    assert caught.value.failure.retryable is False
    with pytest.raises(UpstreamConnectionError) as refused, mapped_errors():
        raise raised(aiohttp.ClientConnectorError)
    assert refused.value.failure.retryable is True


def test_what_is_no_failure_of_the_network_is_not_hidden() -> None:
    with pytest.raises(KeyError), mapped_errors():
        raise KeyError("a bug of ours")
