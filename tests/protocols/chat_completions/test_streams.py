"""The same bytes of upstream, told in OpenAI's words, in OpenRouter's, and as typed events."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.config import UpstreamConfig
from client.errors import FAILURE_TYPES
from client.sandbox import HangUp, Hold, Pause, Reply, Sandbox
from server.config import Config
from tests.streams.test_raw_log import STREAMS
from tests.support.chunks import COMMENT, DONE, END, HEAD, STOP, USAGE, call, calls, chunk, event, text
from tests.support.completions import ASKED, MOUNTS, asking, complete, complete_whole, frames_in, text_in
from tests.support.serving import KEY, Api, changed, serving
from tests.support.sse_reader import Event, parse_events, read_until

TIMES = ("duration_ms", "time_to_first_token_ms", "tokens_per_second")
WHOLE = {"id": "g", "object": "chat.completion", "model": "acme/m", "usage": USAGE}
BROKEN = {
    "cut": Reply.stream(text("Hi"), HangUp()),
    "ended": Reply.stream(text("Hi")),
    "cut-thinking": Reply.stream(chunk({"reasoning": "hm"}), HangUp(reset=True)),
    "error-frame": Reply.stream(text("Hi"), event({"error": {"code": 502, "message": "lost"}})),
    "error-in-chunk": Reply.stream(
        text("Hi"), event({**HEAD, "choices": [], "error": {"code": 429, "message": "x"}})
    ),
    "error-in-choice": Reply.stream(
        text("Hi"),
        event({"choices": [{"delta": {}, "finish_reason": "error", "error": {"code": 504, "message": "t"}}]}),
    ),
    "error-with-text": Reply.stream(text("H"), chunk({"content": "i"}, error={"code": 500, "message": "x"})),
    "finish-error": Reply.stream(text("Hi"), chunk({}, "error", "MALFORMED_FUNCTION_CALL"), DONE),
    "network-error": Reply.stream(chunk({"content": "Hi"}), chunk({"content": ""}, "stop", "network_error"), DONE),
    "error-event": Reply.stream(text("Hi"), b"event: error\ndata: overloaded\n\n"),
    "unreadable": Reply.stream(text("Hi"), b'data: {"choices": [{"delta"\n\n', STOP, END),
}
"""Answers that are not whole."""


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again, so that what is scripted is what is read; answers can be read again."""
    config = changed(config, "upstream", max_retries=0)
    async with serving(changed(config, "streams", retain_s=60)) as running:
        yield running


def timeless(events: list[Event]) -> list[tuple[str, int, Any]]:
    """Events without what differs from one try to the next."""
    found = []
    for each in events:
        data = {name: value for name, value in each.data.items() if name not in (*TIMES, "stream_id")}
        found.append((each.name, each.number, data))
    return found


async def typed(api: Api, stream_id: str) -> list[Event]:
    _, body = await api.request("GET", f"/chat/{stream_id}")
    return parse_events(body)


@pytest.mark.parametrize("name", STREAMS)
async def test_one_answer_in_three_protocols(name: str, once: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(STREAMS[name]))
    response, events = await once.chat()
    if response.status != 200:
        for mount in MOUNTS:
            refused, body = await complete(once, mount)
            assert refused.status >= 400
            assert json.loads(body)["error"]["message"] == events[0].data["error"]
        return
    failed = any(each.name == "error" for each in events)
    for mount in MOUNTS:
        response, body = await complete(once, mount)
        frames = frames_in(body)
        told = [frame for frame in frames if frame.get("error")]
        assert bool(told) == failed, body
        if not failed:
            text_of_events = "".join(each.data["text"] for each in events if each.name == "content")
            if name != "two-choices" and "Q31" not in name and "whole-after-pieces" not in name:
                assert text_in(frames).encode("utf-16", "surrogatepass") == text_of_events.encode(
                    "utf-16", "surrogatepass"
                )
        again = await typed(once, response.headers["X-Stream-Id"])
        assert timeless(again) == timeless(events)
        middle = again[len(again) // 2]
        _, rest = await once.request("GET", f"/chat/{middle.id.partition(':')[0]}", Last_Event_ID=middle.id)
        assert parse_events(rest) == again[middle.number :]


async def test_the_transparent_dialect_is_upstream_byte_for_byte(once: Api, upstream: Sandbox) -> None:
    odd = (
        b'data: {"id":"g", "choices" : [{"delta":{"content":"a\\u2028\\ud83d", "reasoning": "r", "x": 1.10e2}}]}\n\n'
    )
    sent = [odd, text("b"), chunk({"content": "c"}, "stop"), event({**HEAD, "choices": [], "usage": USAGE})]
    upstream.script(Reply.stream(COMMENT, *sent, DONE))
    _, body = await complete(once, "/api/v1")
    assert body == b"".join(sent) + DONE


async def test_openais_dialect_names_thinking_twice_and_leaves_all_else(once: Api, upstream: Sandbox) -> None:
    thinking = chunk({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]})
    sent = [text("a"), thinking, chunk({"reasoning": ""}), chunk({"reasoning": None, "content": "b"}), STOP]
    upstream.script(Reply.stream(*sent, DONE))
    _, body = await complete(once, "/v1")
    blocks = body.split(b"\n\n")
    assert [block + b"\n\n" for block in blocks[:1] + blocks[2:5]] == [sent[0], *sent[2:5]]
    delta = frames_in(body)[1]["choices"][0]["delta"]
    assert delta["reasoning"] == delta["reasoning_content"] == "hm"
    assert delta["reasoning_details"] == [{"type": "reasoning.text", "text": "hm"}]


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("name", BROKEN)
async def test_trap_2_what_breaks_off_is_never_a_clean_end(
    name: str, mount: str, once: Api, upstream: Sandbox
) -> None:
    upstream.script_always(BROKEN[name])
    response, body = await complete(once, mount)
    assert response.status == 200
    frames = frames_in(body)
    assert frames[-1]["error"]["message"]  # behind whatever finish and usage upstream told
    assert text_in(frames) == ("" if name == "cut-thinking" else "Hi")
    if mount == "/v1":
        (last,) = [frame for frame in frames if "error" in frame]
        assert last.keys() == {"error"}
        assert last["error"].keys() == {"message", "type", "param", "code", "metadata"}
        assert last["error"]["metadata"]["type"] in FAILURE_TYPES
    refused, whole = await complete_whole(once, mount)
    assert refused.status >= 500 or name == "error-in-chunk"
    assert whole.keys() == {"error"}


async def test_a_failure_of_ours_has_the_head_of_a_chunk_below_openrouters_mount(
    once: Api, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(event({**HEAD, "created": 7, "choices": [{"index": 0, "delta": {"content": "x"}}]})))
    frames = frames_in((await complete(once, "/api/v1"))[1])
    last = frames[-1]
    assert {name: last[name] for name in HEAD} == HEAD
    assert (last["created"], last["choices"]) == (7, [])
    assert (last["error"]["code"], last["error"]["metadata"]["type"]) == (502, "stream_interrupted")


@pytest.mark.parametrize("mount", MOUNTS)
async def test_trap_1_silence_is_filled_with_comments_alone(mount: str, config: Config, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(COMMENT, Hold(go_on), text("Hi"), STOP, END))
    config = changed(config, "server", ping_interval_s=0.02)
    async with (
        serving(config) as api,
        api.http.post(f"{api.url}{mount}/chat/completions", json=asking()) as response,
    ):
        body = b""
        while body.count(b": ping\n\n") < 40:
            body += await response.content.readany()
        go_on.set()
        body += await response.read()
    assert text_in(frames_in(body)) == "Hi"


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_refusal_after_the_first_ping_is_an_error_frame(
    mount: str, config: Config, upstream: Sandbox
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.error(402, "No credit").after(Hold(go_on)))
    async with (
        serving(changed(config, "server", ping_interval_s=0.02)) as api,
        api.http.post(f"{api.url}{mount}/chat/completions", json=asking()) as response,
    ):
        await read_until(response, b": ping")
        go_on.set()
        (frame,) = frames_in(b": ping\n\n" + await response.read())
    assert "No credit" in frame["error"]["message"]


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_stop_from_outside_is_told_with_499(mount: str, once: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), Hold()))
    async with once.http.post(f"{once.url}{mount}/chat/completions", json=asking()) as response:
        body = await read_until(response, b"Hi")
        path = f"/chat/{response.headers['X-Stream-Id']}"
        assert response.headers["Location"] == path
        deleted, _ = await once.request("DELETE", path)
        assert deleted.status == 200
        body += await response.read()
    error = frames_in(body)[-1]["error"]
    assert "stopped" in error["message"]
    assert error["code"] == (499 if mount == "/api/v1" else "stream_interrupted") or error["code"] == 499
    whole = asyncio.create_task(complete_whole(once, mount))
    call = await upstream.wait_call(1)
    await call.started.wait()
    (running,) = [stream for stream in once.streams.kept_of("local") if stream.is_running]
    await once.request("DELETE", f"/chat/{running.id}")
    refused, found = await whole
    assert refused.status >= 400
    assert found.keys() == {"error"}


async def test_the_list_says_who_asked_and_results_are_those_of_chat(once: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), STOP, END))
    await once.chat()
    ids = [(await complete(once, mount))[0].headers["X-Stream-Id"] for mount in MOUNTS]
    _, body = await once.request("GET", "/chat")
    assert [each["protocol"] for each in json.loads(body)["data"]] == ["openrouter", "chat.completions", "chat"]
    for stream_id in ids:
        _, body = await once.request("GET", f"/chat/{stream_id}/result")
        found = json.loads(body)
        assert (found["content"], found["finish_reason"], found["usage"]["cost"]) == ("Hi", "stop", 0.001)


async def test_a_running_answer_is_read_along_as_typed_events(once: Api, upstream: Sandbox) -> None:
    go_on, more = asyncio.Event(), asyncio.Event()
    upstream.script(Reply.stream(text("H"), Hold(go_on), text("i"), Hold(more), STOP, END))
    async with once.http.post(f"{once.url}/v1/chat/completions", json=asking()) as response:
        await read_until(response, b'"H"')
        path = f"{once.url}/chat/{response.headers['X-Stream-Id']}"
        async with once.http.get(path) as first, once.http.get(path) as other:
            body = await read_until(first, b'"H"')
            go_on.set()
            body += await read_until(first, b'"i"')
            status, _ = await once.request("GET", path.removeprefix(once.url) + "/result")
            assert status.status == 202
            more.set()
            body += await first.read()
            assert parse_events(body) == parse_events(await other.read())
    assert [each.name for each in parse_events(body)] == ["start", "content", "content", "usage", "done"]


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_whole_answer(mount: str, once: Api, upstream: Sandbox) -> None:
    said = chunk({"reasoning": "hm", "content": "Hi"}, service_tier="flex")
    fragments = calls(call(0, '{"a"', "f", "a")) + calls(call(0, ":1}"))
    upstream.script(Reply.stream(said, fragments, chunk({}, "tool_calls"), END))
    began_s = int(time.time())
    response, found = await complete_whole(once, mount)
    assert response.status == 200
    assert (found["id"], found["object"], found["service_tier"]) == ("gen-1", "chat.completion", "flex")
    assert began_s <= found["created"] <= time.time()
    (choice,) = found["choices"]
    message = choice["message"]
    assert (message["role"], message["content"], message["reasoning"]) == ("assistant", "Hi", "hm")
    assert message.get("reasoning_content") == ("hm" if mount == "/v1" else None)
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "tool_calls"
    assert found["usage"]["cost"] == 0.001
    assert "complete" not in message["tool_calls"][0]
    assert not {"annotations", "images", "audio"} & message.keys()


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize(("told", "created"), [(1793000000, 1793000000), (7.0, 7), ("8", 8), (0, 0)])
async def test_a_whole_answer_was_created_when_upstream_says(
    mount: str, told: Any, created: int, once: Api, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(COMMENT, chunk({"content": "Hi"}, created=told), chunk({}, created=9), END))
    _, found = await complete_whole(once, mount)
    assert (found["created"], type(found["created"])) == (created, int)


@pytest.mark.parametrize("mount", MOUNTS)
async def test_trap_6_calls_alone_have_no_content(mount: str, once: Api, upstream: Sandbox) -> None:
    two = calls(call(0, "", "f", "a")) + calls(call(1, "[2", "g", "b")) + calls(call(0, "{}")) + calls(call(1, "]"))
    upstream.script_always(Reply.stream(two, chunk({}, "tool_calls"), END))
    _, found = await complete_whole(once, mount)
    message = found["choices"][0]["message"]
    assert message["content"] is None
    assert [each["function"]["arguments"] for each in message["tool_calls"]] == ["{}", "[2]"]


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize(("code", "status"), [(402, 402), (429, 429), (503, 503), (400, 400), ("odd", 502)])
async def test_trap_3_an_error_under_200_is_a_refusal(
    mount: str, code: Any, status: int, once: Api, upstream: Sandbox
) -> None:
    upstream.script_always(Reply.json({"error": {"code": code, "message": "No"}}))
    response, found = await complete_whole(once, mount)
    assert response.status == status
    assert "No" in found["error"]["message"]
    response, body = await complete(once, mount)
    assert response.status == status
    assert "No" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_completion_instead_of_a_stream(mount: str, once: Api, upstream: Sandbox) -> None:
    message = {"role": "assistant", "content": "Hi", "tool_calls": [{"id": "a", "type": "function", "function": {}}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    upstream.script_always(Reply.json({**WHOLE, "choices": [choice]}))
    frames = frames_in((await complete(once, mount))[1])
    assert text_in(frames) == "Hi"
    assert frames[0]["object"] == "chat.completion.chunk"
    assert frames[0]["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert frames[0]["usage"] == USAGE
    _, found = await complete_whole(once, mount)
    assert found["choices"][0]["message"]["content"] == "Hi"


async def test_attempts_that_failed_before_leave_no_chunk(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(event({"error": {"code": 502, "message": "again"}})), Reply.stream(text("Hi"), END))
    assert text_in(frames_in((await complete(api, "/api/v1"))[1])) == "Hi"


@pytest.mark.parametrize("mount", MOUNTS)
async def test_trap_5_and_17_odd_letters_and_large_lines(mount: str, once: Api, upstream: Sandbox) -> None:
    rocket = event({**HEAD, "choices": [{"index": 0, "delta": {"content": "🚀"}}]}).replace(
        b"\\ud83d\\ude80", "🚀".encode()
    )
    whole = "🚀\u2028\u0085" + "x" * 5_000_000
    big = event({**HEAD, "choices": [{"index": 0, "delta": {"content": "\u2028\u0085" + "x" * 5_000_000}}]})
    half = rocket.index("🚀".encode()) + 2
    upstream.script(Reply.stream(rocket[:half], Pause(0), rocket[half:], big, STOP, END))
    assert text_in(frames_in((await complete(once, mount))[1])) == whole


async def test_the_key_is_in_no_chunk(once: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text(KEY), event({"error": {"code": 502, "message": f"bad {KEY[:24]}"}})))
    for mount in MOUNTS:
        response, body = await complete(once, mount)
        assert KEY[:12].encode() not in body.replace(text(KEY)[6:20], b"")
        again, typed_body = await once.request("GET", f"/chat/{response.headers['X-Stream-Id']}")
        assert again.status == 200
        assert KEY.encode() not in typed_body


async def test_the_body_goes_up_as_it_is_but_for_our_fields(once: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), END))
    more = {"n": 1, "odd": {"a": [1]}, "message": "x", "sort": "price", "max_tokens": 5, "grace_s": 0}
    async with once.http.post(
        f"{once.url}/v1/chat/completions?message=x&sort=price", json=asking(**more)
    ) as response:
        await response.read()
    del more["grace_s"]
    assert upstream.calls[0].json == {**ASKED, **more, "stream": True}
    body = {name: value for name, value in ASKED.items() if name != "model"}
    async with once.http.post(f"{once.url}/api/v1/chat/completions", json=body) as response:
        assert response.status == 200
    assert upstream.calls[1].json == {**body, "model": UpstreamConfig().model, "stream": True}


SENT = {
    "HTTP-Referer": "https://app.example",
    "x-title": "An app",
    "X-OpenRouter-Categories": "a,b",
    "x-session-id": "s-1",
    "X-Anthropic-Beta": "b",
}
KEPT_BACK = {
    "Cookie": "a=b",
    "OpenAI-Organization": "o",
    "OpenAI-Project": "p",
    "x-stainless-lang": "python",
    "X-OpenWebUI-User-Id": "u",
    "x-api-key": "none",
    "Authorization": "Bearer none",
    "X-Forwarded-Proto": "https",
    "User-Agent": "somebody/1",
}


@pytest.mark.parametrize("mount", MOUNTS)
async def test_headers_of_the_application_go_on_and_nothing_of_the_caller(
    mount: str, config: Config, upstream: Sandbox
) -> None:
    upstream.script_always(Reply.stream(text("Hi"), END))
    config = changed(config, "upstream", http_referer="https://server.example", x_title="Server")
    told = {name: value for name, value in KEPT_BACK.items() if name not in ("Authorization", "x-api-key")}
    async with serving(config) as api:
        assert (await complete(api, mount, SENT | told | {"Authorization": "Bearer none"}))[0].status == 200
        assert (await complete(api, mount, {"X-OpenRouter-Title": "Other"}))[0].status == 200
        assert (await complete(api, mount, {"X-Title": "caf\udce9", "x-api-key": "none"}))[0].status == 200
    first, other, odd = (call.headers for call in upstream.calls)
    assert {name: first.getall(name) for name in SENT} == {name: [value] for name, value in SENT.items()}
    assert first["X-OpenRouter-Title"] == "An app"
    assert first["Authorization"] == f"Bearer {KEY}"
    assert not {name.lower() for name in told if name != "User-Agent"} & {name.lower() for name in first}
    assert "somebody" not in first["User-Agent"]
    assert (other["X-Title"], other["X-OpenRouter-Title"]) == ("Other", "Other")
    assert (other["HTTP-Referer"], odd["HTTP-Referer"]) == ("https://server.example", "https://server.example")
    assert "x-api-key" not in odd


@pytest.mark.parametrize("mount", MOUNTS)
async def test_trap_17_a_picture_of_20_mb_in_a_request(mount: str, config: Config, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), END))
    url = {"url": "data:image/png;base64," + "A" * 27_000_000}
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]
    async with serving(changed(config, "server", max_body_bytes=32 * 1024 * 1024)) as api:
        data = io.BytesIO(json.dumps(asking(messages=messages)).encode())
        path, kind = f"{api.url}{mount}/chat/completions", {"Content-Type": "application/json"}
        async with api.http.post(path, data=data, headers=kind) as response:
            body = await response.read()
    assert response.status == 200
    assert text_in(frames_in(body)) == "Hi"
    assert upstream.calls[0].json["messages"] == messages


@pytest.mark.parametrize("path", ["/embeddings", "/completions"])
@pytest.mark.parametrize("mount", MOUNTS)
async def test_what_upstream_is_not_said_to_have_is_not_passed_on(
    mount: str, path: str, api: Api, upstream: Sandbox
) -> None:
    async with api.http.post(f"{api.url}{mount}{path}", json={"input": "x", "prompt": "x"}) as response:
        assert response.status == 404
        assert f"OPENROUTER_PROTOCOLS={path[1:]}" in (await response.json())["error"]["message"]
    assert not upstream.calls
