"""What is refused below either mount, in whose words; and what a failure looks like once events went out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import COMMENT, Hold, Reply, Sandbox
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.responses import ASKED, Reader, asking, events_in, respond, texts_in
from tests.support.serving import Api, changed, serving, with_tokens
from tests.support.sse_reader import read_until

MOUNTS = ("/v1", "/api/v1")


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again."""
    async with serving(changed(config, "upstream", max_retries=0)) as running:
        yield running


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_wrong_field_is_named_with_400(mount: str, once: Api, upstream: Sandbox) -> None:
    for field, asked in (
        ("input", {"input": []}),
        ("previous_response_id", {"previous_response_id": "resp_1"}),
        ("tools.0", {"tools": [{"type": "custom", "name": "apply_patch"}]}),
        ("stream", {"stream": "yes"}),
    ):
        response, body = await respond(once, {**ASKED, **asked}, mount)
        assert response.status == 400
        error = json.loads(body)["error"]
        assert field in error["message"]
        assert field != "tools.0" or "custom 'apply_patch'" in error["message"]
        assert error["metadata"]["type"] == "invalid_request"
        if mount == "/v1":
            assert (error["type"], error["param"]) == ("invalid_request_error", field)
        else:
            assert error["code"] == 400
    for data, status in ((b"{", 400), (b"[]", 400), (b"", 400), (b" " * 2001, 413)):
        found, _ = await once.request("POST", f"{mount}/responses", data, Content_Type="application/json")
        assert found.status == status
    found, _ = await once.request("GET", f"{mount}/responses")
    assert found.status == 405
    assert not upstream.calls


@pytest.mark.parametrize("mount", MOUNTS)
async def test_trap_8_upstreams_refusal_keeps_its_status(mount: str, once: Api, upstream: Sandbox) -> None:
    for status, code in ((402, "insufficient_quota"), (429, "rate_limit_exceeded"), (503, "upstream_unavailable")):
        upstream.script_always(Reply.error(status, "Not now", headers={"Retry-After": "60"}))
        for body in (ASKED, asking(), asking(background=True)):
            response, refusal = await respond(once, body, mount)
            assert response.status == status
            error = json.loads(refusal)["error"]
            assert "Not now" in error["message"]
            assert error["code"] == (status if mount == "/api/v1" else code) or code is None
            if status in (429, 503):
                assert response.headers["Retry-After"] == "60"
                assert response.headers["x-should-retry"] == "false"
            assert response.headers["X-Stream-Id"]
            assert response.headers["X-Request-Id"]


async def test_trap_3_an_error_under_200_is_a_refusal(once: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.json({"error": {"code": 402, "message": "No credit"}}))
    for body in (ASKED, asking()):
        response, refusal = await respond(once, body)
        assert (response.status, "No credit" in json.loads(refusal)["error"]["message"]) == (402, True)


async def test_trap_1_silence_is_filled_and_a_later_refusal_is_an_event(config: Config, upstream: Sandbox) -> None:
    go_on, refuse = asyncio.Event(), asyncio.Event()
    upstream.script(
        Reply.stream(COMMENT, Hold(go_on), text("Hi"), STOP, END),
        Reply.error(402, "No credit").after(Hold(refuse)),
    )
    async with serving(changed(config, "server", ping_interval_s=0.02)) as api:
        async with api.http.post(f"{api.url}/v1/responses", json=asking()) as response:
            body = b""
            while body.count(b": ping\n\n") < 3:
                body += await response.content.readany()
            go_on.set()
            body += await response.read()
        read = Reader().read(events_in(body)).response
        assert read is not None
        assert texts_in(read) == "Hi"
        async with api.http.post(f"{api.url}/v1/responses", json=asking()) as response:
            await read_until(response, b": ping")
            refuse.set()
            read = Reader().read(events_in(await response.read())).response
        assert read is not None
        assert (read["error"]["code"], "No credit" in read["error"]["message"]) == ("insufficient_quota", True)


async def test_a_limit_that_passes_says_when_to_try_again(once: Api, upstream: Sandbox) -> None:
    error = {"error": {"code": 429, "message": "Slow down", "metadata": {"headers": {"Retry-After": "2"}}}}
    upstream.script(Reply.stream(text("Hi"), b"data: " + json.dumps(error).encode() + b"\n\n"))
    _, body = await respond(once)
    read = Reader().read(events_in(body)).response
    assert read is not None
    assert read["error"]["code"] == "rate_limit_exceeded"
    assert "Slow down" in read["error"]["message"]


async def test_trap_13_a_token_may_come_in_either_header(config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), STOP, END))
    async with serving(with_tokens(config, "a-token-of-this-server")) as api:
        for name, status in (("Authorization", 200), ("x_api_key", 200), ("X_Else", 401)):
            token = "a-token-of-this-server"
            value = f"Bearer {token}" if name == "Authorization" else token
            response, body = await respond(api, None, "/v1", **{name: value})
            assert response.status == status
        assert json.loads(body)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_double_slash_is_a_slip(mount: str, once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), STOP, END))
    async with once.http.post(f"{once.url}{mount}//responses", json=ASKED) as response:
        assert response.status == 200


async def test_the_object_repeats_the_request(once: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), STOP, END))
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    asked: dict[str, Any] = {
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "tools": [tool],
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 9,
        "reasoning": {"effort": "low"},
        "store": False,
        "user": "u",
    }
    for body in ({**ASKED, **asked}, asking(**asked)):
        _, found = await respond(once, body)
        read = json.loads(found) if "stream" not in body else Reader().read(events_in(found)).response
        assert read is not None
        assert {name: read[name] for name in asked} == asked
        assert read["model"] == "acme/m"
