"""Names that callers give their answers."""

from __future__ import annotations

import pytest

from client.sandbox import Reply, Sandbox
from client.streams.names import LONGEST_NAME
from client.streams.stream import Stream
from server.config import Config
from server.keys import SETTINGS
from tests.support.chunks import END, text
from tests.support.serving import Api, changed, serving, with_tokens


async def _stream(api: Api, upstream: Sandbox, token: str = "") -> Stream:
    upstream.script(Reply.stream(text("Hi"), END))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with api.http.post(f"{api.url}/chat", json={"message": "Why?"}, headers=headers) as response:
        await response.read()
    owners = [caller.name for caller in api.app[SETTINGS].current.callers] or ["local"]
    found = [api.streams.get(response.headers["X-Stream-Id"], owner) for owner in owners]
    return next(stream for stream in found if stream is not None)


async def test_a_name_is_its_callers_own(config: Config, upstream: Sandbox) -> None:
    async with serving(with_tokens(config, "one" * 11, "two" * 11)) as api:
        first, second = await _stream(api, upstream, "one" * 11), await _stream(api, upstream, "two" * 11)
        names = api.streams.names
        names.give(first, "run", "r")
        assert names.find(second.owner, "run", "r") is None
        names.give(second, "run", "r")
        assert names.find(first.owner, "run", "r") is first
        assert names.find(second.owner, "run", "r") is second
        assert names.find(first.owner, "thread", "r") is None


async def test_a_name_that_is_given_again_means_the_newer_answer(config: Config, upstream: Sandbox) -> None:
    async with serving(changed(config, "streams", retain_s=60)) as api:
        names = api.streams.names
        first, second = await _stream(api, upstream), await _stream(api, upstream)
        for stream in (first, first, second):
            names.give(stream, "run", "r")
        assert names.find(first.owner, "run", "r") is second
        names.forget(first)
        assert names.find(first.owner, "run", "r") is second
        names.forget(second)
        assert len(names) == 0


async def test_names_go_with_their_answer(config: Config, upstream: Sandbox) -> None:
    async with serving(config) as api:
        stream = await _stream(api, upstream)
        before_bytes = api.streams.total_bytes
        for kind in ("run", "thread", "run"):
            api.streams.names.give(stream, kind, "r" * LONGEST_NAME)
        assert len(api.streams.names) == 2
        assert 2 * LONGEST_NAME < api.streams.total_bytes - before_bytes < 2048
        api.streams.configure(config.streams.model_copy(update={"retain_s": 0}))
        assert api.streams.kept == len(api.streams.names) == api.streams.total_bytes == 0


@pytest.mark.parametrize("name", ["", "x" * (LONGEST_NAME + 1)])
async def test_what_is_no_id_names_nothing(name: str, api: Api, upstream: Sandbox) -> None:
    stream = await _stream(api, upstream)
    with pytest.raises(ValueError, match="256 characters"):
        api.streams.names.give(stream, "run", name)
    assert len(api.streams.names) == 0
