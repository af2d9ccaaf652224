"""What a hostile or odd upstream says, as callers of the server see it: nothing of it breaks or leaks anything."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from pydantic import SecretStr

from client.config import UpstreamConfig
from client.sandbox import Hold, Pause, Reply, Sandbox, open_sandbox
from server.config import Config
from tests.support.chunks import COMMENT, DONE, END, STOP, USAGE, chunk, event, text
from tests.support.mcp.clients import call as call_tool
from tests.support.raw_upstream import http_reply, raw_upstream
from tests.support.serving import Api, changed, question, serving
from tests.support.sse_reader import names_of, parse_events, text_of

CONTEXT = "context_length_exceeded"
HUGE = int("9" * 400)
KEYS = ["sk-or-v1-" + "a1" * 20, "gsk_AbCdEf0123456789AbCd", "12345678901234567890"]
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def refusal(error: Any, status: str = "401 Unauthorized", more: str = "") -> bytes:
    return http_reply(json.dumps({"error": error}).encode(), status, more=more)


def echoes(key: str) -> dict[str, bytes]:
    """Replies that hold the key in some place."""
    number = int(key) if key.isdigit() else key
    return {
        "message": refusal({"message": f"Incorrect API key provided: {key}."}),
        "code": refusal({"message": "m", "code": [key]}),
        "number": refusal({"message": "m", "code": number, "metadata": {"n": [number]}}),
        "metadata": refusal({"message": "m", "metadata": {"raw": "key " + key, key: {key: [key]}}}),
        "text": http_reply(f"bad key {key}".encode(), "403 Forbidden", "text/plain"),
        "page of status 200": http_reply(f"your key is {key}".encode(), content_type="text/plain"),
        "label": http_reply(b"x", content_type=f"text/{key}"),
        "status line": f"HTTP/1.1 {key} {key}\r\n\r\n".encode(),
        "header": f"HTTP/1.1 200 OK\r\nX-Key {key}\r\n\r\n".encode(),
        "long header": f"HTTP/1.1 200 OK\r\nX-Key: {key * 2000}\r\n\r\n".encode(),
        "json": http_reply(json.dumps({"error": key, "choices": []}).encode()),
        "first event": SSE + event({"error": {"code": 400, "message": f"key {key}"}}),
        "later event": SSE + text("x") + event({"error": {"code": [key], "message": "m", "metadata": {"k": key}}}),
        "named event": SSE + text("x") + f"event: error\ndata: bad key {key}\n\n".encode(),
        "names": SSE + chunk({"content": "x"}, id=f"gen-{key}", model=key, provider=key) + END,
        "finish and usage": SSE + text("x") + chunk({}, key, usage={"cost": 0.1, key: [key, number]}) + DONE,
    }


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:4])
@pytest.mark.parametrize("which", list(echoes("")))
async def test_the_servers_key_reaches_no_caller_and_no_log(
    config: Config, caplog: pytest.LogCaptureFixture, key: str, which: str
) -> None:
    """break-it 11."""
    caplog.set_level("DEBUG")
    async with raw_upstream(echoes(key)[which]) as upstream:
        keyed = changed(config, "upstream", base_url=upstream.url, api_key=SecretStr(key), max_retries=1)
        async with serving(keyed) as api:
            told = [await api.request("POST", path, json.dumps(question()).encode(), Content_Type="application/json")
                    for path in ("/chat", "/chat?stream=false")]  # fmt: skip
            told += [await api.request("GET", path) for path in ("/models", "/chat", "/metrics")]
        assert key.encode() in upstream.heads[0]
    for response, body in told:
        assert key.encode() not in body
        assert key not in str(response.headers)
    for record in caplog.records:
        assert key not in record.getMessage() + str(vars(record))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:4])
@pytest.mark.parametrize("which", ["message", "text", "status line", "later event", "names"])
async def test_the_servers_key_reaches_no_model_through_a_tool(key: str, which: str) -> None:
    """break-it 11."""
    async with raw_upstream(echoes(key)[which]) as other, open_sandbox() as upstream:
        config = UpstreamConfig(base_url=other.url, api_key=SecretStr(key), max_retries=0)
        for name, arguments in (("llm_chat", {"message": "hi", "model": "a/b"}), ("search_models", {})):
            result = await call_tool(upstream, name, arguments, config=config)
            assert key not in result.model_dump_json()


@pytest.mark.parametrize(
    ("generation_id", "header"),
    [("gen-1", "gen-1"), ("gen-1\r\nX-Evil: 1", None), ("gen-\x1b[2J", None), ("gen-é", None),
     ("gen-" + "a" * 20_000, None)],
    ids=["plain", "lines", "escape", "latin", "long"],
)  # fmt: skip
async def test_a_generation_id_that_cannot_stand_in_a_header_costs_only_the_header(
    upstream: Sandbox, api: Api, generation_id: str, header: str | None
) -> None:
    """break-it 13."""
    upstream.script_always(Reply.stream(chunk({"content": "hi"}, id=generation_id), STOP, END))
    response, events = await api.chat()
    assert (response.status, text_of(events)) == (200, "hi")
    again, _ = await api.request("GET", f"/chat/{response.headers['X-Stream-Id']}")
    whole, found = await api.chat_whole()
    assert (whole.status, found["content"]) == (200, "hi")
    for each in (again, whole):
        assert each.headers.get("X-Generation-Id") == header
        assert "X-Evil" not in each.headers
    _, listed = await api.request("GET", "/chat")
    assert all(len(each["generation_id"]) <= 200 for each in json.loads(listed)["data"])


# -- waits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        ({}, {"X-RateLimit-Reset": "inf"}), ({}, {"X-RateLimit-Reset": "1e400"}), ({}, {"Retry-After": "inf"}),
        ({}, {"Retry-After": "1e308"}), ({}, {"Retry-After": "999999999"}),
        ({"metadata": {"retry_after_seconds": HUGE}}, {}), ({"availability": {"retry_after": HUGE}}, {}),
        ({"metadata": {"headers": {"X-RateLimit-Reset": "inf"}}}, {}),
        ({"metadata": {"headers": {"x-ratelimit-reset": HUGE}}}, {}),
    ],
)  # fmt: skip
async def test_a_wait_that_is_no_time_is_not_passed_on(
    upstream: Sandbox, config: Config, error: dict[str, Any], headers: dict[str, str]
) -> None:
    """break-it 20, faults I1."""
    upstream.script_always(Reply.json({"error": {"message": "slow", "code": 429, **error}}, 429, headers))
    async with serving(changed(config, "upstream", max_retries=0)) as api:
        streamed, _ = await api.chat()
        whole, _ = await api.chat_whole()
    for response in (streamed, whole):
        assert response.status == 429
        assert "Retry-After" not in response.headers


@pytest.mark.parametrize("reset", ["20", "1000", "4102444800000"])
async def test_a_reset_far_off_is_not_waited_for_and_never_hammered(
    upstream: Sandbox, config: Config, reset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults I1."""
    monkeypatch.setattr("client.upstream.retry._FIRST_WAIT_S", 0.5)  # as it is outside of tests
    upstream.script_always(Reply.error(429, "slow", headers={"X-RateLimit-Reset": reset}))
    async with serving(changed(config, "upstream", max_retries=1)) as api:
        call = asyncio.ensure_future(api.chat())
        await asyncio.sleep(0.1)  # long enough for a second attempt that does not wait
        assert len(upstream.calls) == 1
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


# -- bounds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        {"message": "m", "code": ["x" * 1000] * 2000},
        {"message": "m", "code": 429, "metadata": {f"k{i}": [["x" * 490] * 40] * 40 for i in range(4)}},
        {"message": "m" * 10**6, "code": 400, "type": "t" * 10**6},
    ],
)  # fmt: skip
async def test_an_error_of_megabytes_is_told_in_short(upstream: Sandbox, api: Api, error: Any) -> None:
    """break-it 22."""
    upstream.script_always(Reply.json({"error": error}))
    for path in ("/chat", "/chat?stream=false"):
        _, body = await api.request("POST", path, json.dumps(question()).encode(), Content_Type="application/json")
        assert len(body) < 8000


async def test_a_name_of_any_length_is_cut_in_the_log_and_in_lists(
    upstream: Sandbox, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """break-it 23."""
    caplog.set_level("INFO")
    upstream.script(
        Reply.error(404, "No such model"),
        Reply.stream(chunk({"content": "x"}, id="g" * 10**5, model="m" * 10**5, provider="p" * 10**5), STOP, END),
    )
    async with serving(changed(config, "server", max_body_bytes=10**6)) as api:
        await api.chat(model="m" * 500_000)
        await api.chat()
        _, listed = await api.request("GET", "/chat")
    assert len(listed) < 5000
    fields = [str(vars(record)["fields"]) for record in caplog.records if hasattr(record, "fields")]
    assert fields
    assert max(len(each) for each in fields) < 2000


# -- deadlines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ((text("Hi"), chunk({}, "stop", usage=USAGE)), ["start", "content", "usage", "done"]),
        ((text("Hi"), event({"error": {"code": 502, "message": "x"}})), ["start", "content", "error", "done"]),
    ],
    ids=["finish and usage", "error"],
)
@pytest.mark.parametrize(
    "endless", [COMMENT, b"data: junk\n\n", b"data: {}\n\n"], ids=["comments", "junk", "objects"]
)
async def test_the_end_follows_whatever_upstream_sends_after_it(
    upstream: Sandbox, config: Config, monkeypatch: pytest.MonkeyPatch, first: Any, told: list[str], endless: bytes
) -> None:
    """break-it 12."""
    monkeypatch.setattr("client.streams.pump._LINGER_S", 0.2)
    noise = [step for _ in range(600) for step in (endless, Pause(0.05))]
    upstream.script(Reply.stream(*first, *noise))
    async with serving(changed(config, "upstream", max_retries=0)) as api:
        _, events = await api.chat()
    assert names_of(events) == told
    assert upstream.calls[0].cancelled


@pytest.mark.parametrize(
    "junk", [b"data: junk\n\n", b"data: {}\n\n", b'data: {"type":"ping"}\n\n', b'data: {"message":"wait"}\n\n']
)
async def test_what_is_no_event_of_the_model_does_not_put_off_the_limit_for_events(
    upstream: Sandbox, config: Config, junk: bytes
) -> None:
    """break-it 12."""
    upstream.script(Reply.stream(*[step for _ in range(600) for step in (junk, Pause(0.05))]))
    async with serving(changed(config, "upstream", timeout_s=0.4, max_retries=0)) as api:
        _, events = await api.chat()
    assert names_of(events) == ["error", "done"]
    assert "timeout_s" in events[0].data["error"]


async def test_a_request_that_goes_up_slowly_is_no_silence_of_upstreams(config: Config) -> None:
    """break-it 25."""
    slow = changed(
        changed(config, "upstream", idle_timeout_s=1.0, max_retries=0), "server", max_body_bytes=30_000_000
    )
    async with raw_upstream(SSE + text("took it") + END) as upstream:
        upstream.reads = (500_000, 0.1)
        async with serving(changed(slow, "upstream", base_url=upstream.url)) as api:
            body = io.BytesIO(json.dumps(question(message="x" * 20_000_000)).encode())
            headers = {"Content-Type": "application/json"}
            async with api.http.post(f"{api.url}/chat", data=body, headers=headers) as response:
                events = parse_events(await response.read())
    assert text_of(events) == "took it"


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "type_", "status"),
    [
        (event({"error": {"message": "too long", "type": "invalid_request_error", "code": CONTEXT}}),
         CONTEXT, 400),
        (event({"error": {"code": "insufficient_quota"}}), "insufficient_credits", 402),
        (b'event: error\ndata: {"code":"InvalidParameter","message":"bad parameter"}\n\n', "upstream_rejected", 400),
        (b'event:error\r\ndata:{"error":{"code":400}}\r\n\r\n', "upstream_rejected", 400),
        (event({"code": "InvalidParameter", "message": "bad parameter"}), "upstream_rejected", 400),
        (event({"type": "error", "error": {"type": "authentication_error", "message": "x"}}), "upstream_auth", 502),
        (event({"object": "error", "message": "no", "code": 400}), "upstream_rejected", 400),
        (event({"errors": [{"code": 400, "message": "no"}]}), "upstream_rejected", 400),
        (event([{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}]), "upstream_rejected", 400),
        (event({"detail": "model 'x' does not exist"}), "model_not_found", 404),
        (event({"message": "prompt is too long"}) + DONE, "context_length_exceeded", 400),
        (event({"error": "prompt is too long", "code": 400}), "context_length_exceeded", 400),
    ],
)  # fmt: skip
async def test_an_error_in_other_words_is_told_in_ours_and_asked_once(
    upstream: Sandbox, api: Api, frame: bytes, type_: str, status: int
) -> None:
    """faults H1, H2, H3."""
    upstream.script_always(Reply.stream(COMMENT, frame))
    _, events = await api.chat()
    assert names_of(events) == ["error", "done"]
    assert (events[0].data["type"], events[0].data["status"]) == (type_, status)
    assert len(upstream.calls) == 1
    upstream.script(Reply.stream(text("x"), frame))
    _, events = await api.chat()
    assert names_of(events) == ["start", "content", "error", "done"]
    assert events[2].data["type"] == type_


@pytest.mark.parametrize(
    "body",
    [
        {"code": "InvalidParameter", "message": "bad parameter"}, {"detail": "model 'x' does not exist"},
        {"message": "prompt is too long"}, {"errors": [{"code": 400, "message": "no"}]}, [{"error": {"code": 400}}],
        {"type": "error", "error": {"type": "authentication_error"}}, {"object": "error", "code": 400},
        {"error": "prompt is too long"},
    ],
    ids=str,
)  # fmt: skip
async def test_an_error_in_other_words_under_status_200_is_asked_once(upstream: Sandbox, api: Api, body: Any) -> None:
    """faults H3."""
    upstream.script_always(Reply.json(body))
    response, events = await api.chat()
    assert names_of(events) == ["error", "done"]
    assert (response.status, events[0].data["retryable"]) == (events[0].data["status"], False)
    assert len(upstream.calls) == 1


async def test_a_word_about_something_else_in_the_stream_ends_nothing(upstream: Sandbox, api: Api) -> None:
    """faults H3."""
    queue = event({"message": "You are number 3"})
    upstream.script(Reply.stream(queue, event({"code": 200, "msg": "ok"}), text("a"), queue, text("b"), STOP, END))
    _, events = await api.chat()
    assert (text_of(events), events[-1].data["completed"]) == ("ab", True)


# -- figures of attempts -------------------------------------------------------------------------------------------


async def test_usage_without_choices_is_one_answer_with_its_cost(upstream: Sandbox, api: Api) -> None:
    """faults L1."""
    reply = {"id": "g", "choices": [], "usage": {"prompt_tokens": 4241, "completion_tokens": 0, "cost": 0.001}}
    upstream.script(Reply.json(reply))
    _, events = await api.chat()
    assert names_of(events) == ["start", "usage", "done"]
    assert len(upstream.calls) == 1
    _, body = await api.request("GET", "/usage")
    assert json.loads(body)["total_cost_usd"] == 0.001


@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize("form", ["event", "body", "status"])
@pytest.mark.parametrize("end", ["fails", "succeeds", "refused"])
async def test_the_cost_of_every_attempt_counts_once(
    upstream: Sandbox, config: Config, form: str, end: str, is_streamed: bool
) -> None:
    """faults L2."""
    usage = {"prompt_tokens": 7, "completion_tokens": 1, "cost": 0.001}
    broken = {"error": {"code": 503, "message": "busy"}, "usage": usage}
    failing = {
        "event": Reply.stream(event(broken)),
        "body": Reply.json(broken),
        "status": Reply.json(broken, 503, {"Retry-After": "0"}),
    }[form]
    last = {
        "fails": failing,
        "succeeds": Reply.stream(text("x"), chunk({}, "stop", usage={**usage, "cost": 0.002}), DONE),
        "refused": Reply.error(400, "no"),
    }[end]
    upstream.script(failing, failing, last)
    cost, tokens = {"fails": (0.003, 21), "succeeds": (0.004, 21), "refused": (0.002, 14)}[end]
    async with serving(changed(config, "upstream", max_retries=2)) as api:
        if is_streamed:
            _, events = await api.chat()
            told = next(each.data for each in events if each.name == "usage")
            assert names_of(events).count("usage") == 1
            assert (told["total_cost"], told["prompt_tokens"]) == (cost, tokens)
        else:
            await api.chat_whole()
        _, body = await api.request("GET", "/usage")
    assert len(upstream.calls) == 3
    found = json.loads(body)
    assert found["total_cost_usd"] == cost
    assert sum(each["prompt_tokens"] for each in found["data"]) == tokens


# -- labels --------------------------------------------------------------------------------------------------------

COMPLETION = {"id": "g", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": USAGE}


@pytest.mark.parametrize("label", ["text/plain", "application/json", "text/html", "application/octet-stream", None])
@pytest.mark.parametrize("first", [(), (COMMENT,), (b"\xef\xbb\xbf",), (b"\r\n", b"d", b"a")], ids=len)
async def test_what_begins_like_events_is_read_as_events(
    upstream: Sandbox, api: Api, label: str | None, first: tuple[bytes, ...]
) -> None:
    """faults E1."""
    whole = text("hi") if first != (b"\r\n", b"d", b"a") else text("hi")[2:]
    upstream.script(Reply((*first, whole, STOP, END), content_type=label))
    response, events = await api.chat()
    assert (response.status, text_of(events), events[-1].data["completed"]) == (200, "hi", True)


async def test_an_unlabelled_stream_is_passed_on_while_it_comes(upstream: Sandbox, api: Api) -> None:
    """faults E1."""
    go_on = asyncio.Event()
    upstream.script(Reply((text("a"), Hold(go_on), text("b"), STOP, END), content_type="text/plain"))
    async with api.http.post(f"{api.url}/chat", json=question()) as response:
        async with asyncio.timeout(5):
            await response.content.readuntil(b'{"text":"a"}\n\n')
        go_on.set()
        assert b'{"text":"b"}' in await response.read()


@pytest.mark.parametrize("label", ["text/plain", "text/event-stream", "application/json", "text/html"])
async def test_json_is_read_as_json_whatever_its_label(upstream: Sandbox, api: Api, label: str) -> None:
    """faults E1."""
    upstream.script(Reply.raw(b"\n " + json.dumps(COMPLETION, indent=1).encode(), content_type=label))
    _, events = await api.chat()
    assert (text_of(events), events[-1].data["completed"]) == ("hi", True)
    upstream.script(Reply.raw(json.dumps({"error": {"code": 400, "message": "no"}}).encode(), content_type=label))
    _, events = await api.chat()
    assert events[0].data["type"] == "upstream_rejected"


@pytest.mark.parametrize("label", ["text/plain", "text/event-stream", "text/html"])
async def test_a_page_stays_an_error(upstream: Sandbox, api: Api, label: str) -> None:
    """faults E1."""
    upstream.calls.clear()
    upstream.script(Reply.raw(b"<html><body>\n\ndata: hi\n\n</body></html>", content_type=label))
    _, events = await api.chat()
    assert names_of(events) == ["error", "done"]
    assert events[0].data["type"] == "upstream_protocol"


# -- broken HTTP ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        SSE.replace(b"Connection", b"Transfer-Encoding: chunked\r\nConnection") + b"zz\r\nx",
        SSE.replace(b"Connection", b"Transfer-Encoding: chunked\r\nConnection") + b"5\r\n: x\n\n\r\nzz\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000 + b"\r\n\r\n",
        b"220 mail.example ESMTP ready\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
    ],
    ids=["both lengths", "chunk size", "chunk size later", "long header", "no HTTP", "status"],
)
async def test_broken_http_is_told_as_such(config: Config, reply: bytes) -> None:
    async with raw_upstream(reply) as upstream:
        async with serving(changed(config, "upstream", base_url=upstream.url, max_retries=2)) as api:
            response, events = await api.chat()
        assert len(upstream.heads) == 1
    assert response.status == 502
    assert (events[0].data["type"], events[0].data["retryable"]) == ("upstream_protocol", False)
    assert "network" not in events[0].data["error"]


@pytest.mark.parametrize("rest", [b"zz\r\nx", b"-5\r\nxxxxx\r\n", b"5\r\n: x\n\nXX"], ids=["line", "sign", "end"])
async def test_what_was_said_before_a_chunk_that_is_none_is_passed_on(config: Config, rest: bytes) -> None:
    said = b'data: {"id": "g", "choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'
    reply = SSE.replace(b"Connection", b"Transfer-Encoding: chunked\r\nConnection")
    async with raw_upstream(reply + b"%x\r\n%s\r\n" % (len(said), said) + rest) as upstream:
        async with serving(changed(config, "upstream", base_url=upstream.url, max_retries=2)) as api:
            _, events = await api.chat()
        assert sum(head.startswith(b"POST") for head in upstream.heads) == 1
    assert [event.name for event in events] == ["start", "content", "error", "done"]
    assert events[1].data["text"] == "hi"


async def test_a_chunk_that_is_none_is_broken_http_however_late_it_comes(config: Config) -> None:
    comment = b":" + b"x" * 1_000_000 + b"\n\n"
    reply = SSE.replace(b"Connection", b"Transfer-Encoding: chunked\r\nConnection")
    reply += b"%x\r\n%s\r\nzz\r\nx" % (len(comment), comment)
    async with raw_upstream(reply) as upstream:
        async with serving(changed(config, "upstream", base_url=upstream.url, max_retries=2)) as api:
            _, events = await api.chat()
        assert len(upstream.heads) == 1
    failed = next(event for event in events if event.name == "error")
    assert (failed.data["type"], failed.data["retryable"]) == ("upstream_protocol", False)
