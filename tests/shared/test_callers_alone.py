"""What callers get of one process while the others, or the engine, cannot be asked: chosen ids, and accounts."""

from __future__ import annotations

import json

import pytest

from client.sandbox import Reply, Sandbox
from server.config import Config
from tests.mcp.test_http import connected
from tests.shared.processes import shared_of, sharing
from tests.shared.waiting import until
from tests.support.chunks import END, STOP, text
from tests.support.engines import Engine
from tests.support.mcp.clients import data_of
from tests.support.serving import Api, question, with_tokens

pytestmark = pytest.mark.usefixtures("upstream")
KEY = "a-key-of-22-characters"
OTHER = "another-key-of-the-caller_0"


async def post(api: Api, key: str | None) -> tuple[int, bytes, str | None]:
    """Status, body, and when to come again."""
    headers = {} if key is None else {"Idempotency-Key": key}
    async with api.http.post(f"{api.url}/chat", json=question(), headers=headers) as response:
        return response.status, await response.read(), response.headers.get("Retry-After")


async def test_a_new_key_is_refused_while_nobody_knows_whether_it_is_new(
    engine: Engine, config: Config, upstream: Sandbox
) -> None:
    for _ in range(3):
        upstream.script(Reply.stream(text("Hello"), STOP, END))
    async with sharing(config, engine) as (one, other):
        first = await post(one, KEY)
        assert await post(other, KEY) == first
        engine.kill()
        await until(lambda: not any(shared_of(api).has_contact for api in (one, other)))
        status, body, retry_after = await post(one, OTHER)
        assert (status, json.loads(body)["type"]) == (503, "store_unavailable")
        assert retry_after is not None
        assert len(upstream.calls) == 1  # nothing was asked that might have been paid for twice
        assert await post(one, KEY) == first  # its own it knows
        assert (await post(one, None))[0] == 200
        engine.start()
        await until(lambda: all(shared_of(api).has_contact for api in (one, other)))
        # it came back empty: others may not have written theirs again
        await until(lambda: not any(shared_of(api).store.may_lack for api in (one, other)))
        again = await post(one, OTHER)
        assert again[0] == 200
        assert await post(other, OTHER) == again
        assert len(upstream.calls) == 3


async def test_an_account_says_that_its_answers_are_those_of_one_process(engine: Engine, config: Config) -> None:
    async with (
        sharing(with_tokens(config, "token-of-ann"), engine, 1) as (one,),
        connected(one.url, token="token-of-ann") as client,
    ):
        own = data_of(await client.call_tool("account", {}))
    assert own["your_answers"]["answers"] == 0
    assert "one of several processes" in own["counted"]
