"""GETs of JSON, where nothing streams: against canned answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses

from client.config import UpstreamConfig
from client.errors import UpstreamConnectionError, UpstreamProtocolError, UpstreamStatusError
from client.upstream.openrouter import OpenRouterClient, create_session

BASE = "https://upstream.example/v1"


class CannedResponse(aiohttp.ClientResponse):
    """aioresponses 0.7.9 does not know the argument that aiohttp 3.14 asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=Mock(output_size=0), **kwargs)


@pytest.fixture
def canned() -> Iterator[Any]:
    with aioresponses() as answers:
        yield answers


@pytest.fixture
async def openrouter() -> AsyncIterator[OpenRouterClient]:
    config = UpstreamConfig(base_url=BASE)
    async with create_session(config) as session:
        yield OpenRouterClient(session, config)


async def test_json_is_returned_as_it_is(canned: Any, openrouter: OpenRouterClient) -> None:
    canned.get(f"{BASE}/models", payload={"data": [1]}, response_class=CannedResponse)
    assert await openrouter.get_json("/models") == {"data": [1]}


@pytest.mark.parametrize(
    ("answer", "kind", "type_"),
    [
        ({"status": 404, "payload": {"error": {"message": "no"}}}, UpstreamStatusError, "model_not_found"),
        (
            {"status": 301, "headers": {"Location": "https://other.example"}},
            UpstreamProtocolError,
            "upstream_protocol",
        ),
        ({"body": "<html>"}, UpstreamProtocolError, "upstream_protocol"),
        ({"exception": aiohttp.ServerDisconnectedError()}, UpstreamConnectionError, "upstream_unavailable"),
        ({"exception": aiohttp.ConnectionTimeoutError()}, UpstreamConnectionError, "upstream_timeout"),
    ],
)
async def test_what_is_no_answer_becomes_one_of_our_errors(
    canned: Any, openrouter: OpenRouterClient, answer: dict[str, Any], kind: type[Exception], type_: str
) -> None:
    canned.get(f"{BASE}/models", **answer, response_class=CannedResponse)
    with pytest.raises(kind) as caught:
        await openrouter.get_json("/models")
    assert caught.value.failure.type == type_  # type: ignore[attr-defined]
