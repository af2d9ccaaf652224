"""The scripting layer of the sandbox: what a test can make it do, and what it tells the test."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from client.sandbox import COMMENT, DONE, HangUp, Hold, Mark, Reply, Sandbox, chunk, open_sandbox


async def test_scripted_replies_are_taken_in_order(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    sandbox.script(
        Reply.error(429, "Slow down", {"limit_source": "x"}, {"Retry-After": "1"}),
        Reply.stream(COMMENT, chunk({"content": "Hi"}), DONE),
    )
    async with http.post("chat/completions", json={"model": "a/b"}) as first:
        assert first.status == 429
        assert first.headers["Retry-After"] == "1"
        assert await first.json() == {
            "error": {"code": 429, "message": "Slow down", "metadata": {"limit_source": "x"}}
        }
    async with http.post("chat/completions", json={"model": "a/c"}) as second:
        assert second.content_type == "text/event-stream"
        body = await second.read()
    assert body.startswith(COMMENT)
    assert body.endswith(DONE)
    assert [call.json["model"] for call in sandbox.calls] == ["a/b", "a/c"]
    assert all(call.completed and call.closed.is_set() for call in sandbox.calls)


async def test_hold_keeps_the_answer_back_until_its_event(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    go_on, reached = asyncio.Event(), asyncio.Event()
    sandbox.script(Reply.stream(b"one", Mark(reached), Hold(go_on), b"two"))
    async with http.post("chat/completions") as response:
        assert await response.content.readany() == b"one"
        assert reached.is_set()
        call = await sandbox.wait_call()
        assert call.bytes_sent == 3
        go_on.set()
        assert await response.content.read() == b"two"


@pytest.mark.parametrize("reset", [False, True])
async def test_hang_up_cuts_the_body(sandbox: Sandbox, http: aiohttp.ClientSession, reset: bool) -> None:
    sandbox.script(Reply.stream(COMMENT, HangUp(reset)))
    with pytest.raises(aiohttp.ClientError):
        async with http.post("chat/completions") as response:
            await response.read()
    call = await sandbox.wait_call()
    await call.closed.wait()
    assert (call.hung_up, call.cancelled, call.completed) == (True, False, False)


async def test_hang_up_before_the_head_leaves_no_response(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    sandbox.script(Reply.stream(DONE).after(HangUp()))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await http.post("chat/completions")


async def test_a_caller_who_leaves_a_silent_reply_is_noticed(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    sandbox.script(Reply.stream(COMMENT, Hold()))
    async with http.post("chat/completions") as response:
        await response.content.readany()
        response.close()
    call = await sandbox.wait_call()
    await call.closed.wait()
    assert (call.cancelled, call.completed) == (True, False)
    assert call.closed_at_s is not None


async def test_a_caller_who_leaves_before_the_head_is_noticed(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    sandbox.script(Reply.stream(DONE).after(Hold()))
    asking = asyncio.create_task(http.post("chat/completions"))
    call = await sandbox.wait_call()
    asking.cancel()
    await call.closed.wait()
    assert call.cancelled


async def test_any_route_can_be_scripted(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    sandbox.script(Reply.raw(b"<html>bad gateway</html>", 502), path="/models")
    async with http.get("models?q=x") as response:
        assert (response.status, response.content_type) == (502, "text/html")
    assert sandbox.requests[-1].query["q"] == "x"
    assert not sandbox.calls


async def test_a_standing_reply_stays_until_it_is_cleared(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    sandbox.script_always(Reply.json({"data": []}), path="/nothing")
    for _ in range(2):
        async with http.get("nothing") as response:
            assert await response.json() == {"data": []}
    sandbox.clear_scripts()
    async with http.get("nothing") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == 404


async def test_a_wrong_content_length_is_sent_as_scripted(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    sandbox.script(Reply.raw(b"{", headers={"Content-Length": "10"}), path="/models")
    with pytest.raises(aiohttp.ClientPayloadError):
        async with http.get("models") as response:
            await response.read()


async def test_two_sandboxes_can_run_side_by_side(sandbox: Sandbox) -> None:
    async with open_sandbox() as other:
        assert other.base_url != sandbox.base_url
