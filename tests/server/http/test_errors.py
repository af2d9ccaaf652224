"""Our own refusals: one shape on every route, with the way out."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from server.config import Config
from server.keys import SETTINGS
from tests.support.chunks import END, STOP, text
from tests.support.serving import KEY, Api, changed, serving

JSON = "application/json"


def assert_refused(found: bytes, type_: str, status: int) -> dict[str, Any]:
    """The one error shape."""
    error: dict[str, Any] = json.loads(found)
    assert {"error", "type", "status", "retryable"} <= set(error)
    assert (error["type"], error["status"]) == (type_, status), error
    assert isinstance(error["error"], str)
    assert "Traceback" not in error["error"]
    assert KEY not in found.decode()
    return error


@pytest.mark.parametrize(
    ("body", "status", "type_", "said"),
    [
        (b"", 400, "invalid_json", "line 1, column 1"),
        (b'{"message": ', 400, "invalid_json", "line 1, column 13"),
        (b'{\n"message": x}', 400, "invalid_json", "line 2, column 12"),
        (b"[]", 400, "invalid_json", "an array"),
        (b"null", 400, "invalid_json", "null"),
        (b'"text"', 400, "invalid_json", "a string"),
        (b"true", 400, "invalid_json", "a boolean"),
        (b'{"message": NaN}', 400, "invalid_json", "NaN"),
        (b'{"message": -Infinity}', 400, "invalid_json", "-Infinity"),
        (b'{"message": "x", "temperature": 1e400}', 400, "invalid_json", "1e400"),
        (b'{"message": "x", "temperature": -1E400}', 400, "invalid_json", "-1E400"),
        (b'{"message": "x", "temperature": ' + b"1" * 400 + b".0}", 400, "invalid_json", "beyond every number"),
        (b'{"message": "x", "a": [{"b": [1.5, 1e999]}]}', 400, "invalid_json", "1e999"),
        (b'{"messages": [{"role": "user", "content": "x", "a": 2e308}]}', 400, "invalid_json", "2e308"),
        (b'{"message": "x", "seed": ' + b"1" * 1900 + b"e9}", 400, "invalid_json", "beyond every number"),
        (b'"\xff"', 400, "invalid_json", "UTF-8"),
        (b"{}", 422, "invalid_request", "message"),
        (b'{"message": " "}', 422, "invalid_request", "blank"),
        (b'{"message": 5}', 422, "invalid_request", "message"),
        (b'{"message": "x", "messages": []}', 422, "invalid_request", "messages"),
        (b'{"message": "x", "grace_s": -1}', 422, "invalid_request", "grace_s"),
        (b'{"message": "x", "grace_s": "soon"}', 422, "invalid_request", "grace_s"),
        (b'{"message": "x", "grace_s": 1e9}', 422, "invalid_request", "600"),
        (b'{"message": "x", "sort": "price", "provider": {"sort": "x"}}', 422, "invalid_request", "provider.sort"),
        (
            b'{"message": "x", "disable_reasoning": true, "reasoning_effort": "low"}',
            422,
            "invalid_request",
            "disable",
        ),
    ],
)
async def test_a_bad_body_is_refused_and_nothing_is_asked_upstream(
    upstream: Sandbox, api: Api, body: bytes, status: int, type_: str, said: str
) -> None:
    response, found = await api.request("POST", "/chat", body, Content_Type=JSON)
    assert response.status == status
    error = assert_refused(found, type_, status)
    assert said in error["error"]
    if status == 422:
        assert all(detail["where"] and detail["what"] for detail in error["details"])
    assert not upstream.requests


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"message": "x", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["arrays", "objects", "whole"],
)
async def test_what_no_python_reads_is_refused_as_nested_too_deeply(
    upstream: Sandbox, config: Config, body: bytes
) -> None:
    """bare 11: the depth that can be read differs between versions of Python."""
    async with serving(changed(config, "server", max_body_bytes=1_000_000)) as api:
        response, found = await api.request("POST", "/chat", body, Content_Type=JSON)
    assert response.status == 400
    assert "nested" in assert_refused(found, "invalid_json", 400)["error"]
    assert not upstream.requests


async def test_an_object_nested_too_deeply_is_refused_whatever_its_depth(upstream: Sandbox, api: Api) -> None:
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    for depth in range(700, 990, 29):
        body = b'{"message":"x","a":' + b"[" * depth + b"]" * depth + b"}"
        response, found = await api.request("POST", "/chat", body, Content_Type=JSON)
        assert response.status in (200, 400), (depth, found)


async def test_half_a_surrogate_pair_goes_through(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    response, _ = await api.request("POST", "/chat", b'{"message": "\\ud83d"}', Content_Type=JSON)
    assert response.status == 200
    assert upstream.calls[0].json["messages"][0]["content"] == "\ud83d"


async def test_faults_i3_numbers_within_reason_go_through(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    body = b'{"message": "x", "a": 1e308, "b": -1.5e-400, "c": 1' + b"0" * 30 + b', "d": [0.0, -0]}'
    response, _ = await api.request("POST", "/chat", body, Content_Type=JSON)
    assert response.status == 200
    sent = upstream.calls[0].json
    assert (sent["a"], sent["b"], sent["c"], sent["d"]) == (1e308, 0, 10**30, [0, 0])


@pytest.mark.parametrize("digits", [5_000, 900_000])
async def test_faults_i3_an_integer_of_no_end_is_refused(api: Api, digits: int) -> None:
    config = api.app[SETTINGS].current
    api.app[SETTINGS].current = changed(config, "server", max_body_bytes=1_000_000)
    body = b'{"message": "x", "seed": ' + b"1" * digits + b"}"
    response, found = await api.request("POST", "/chat", body, Content_Type=JSON)
    assert response.status == 400
    assert_refused(found, "invalid_json", 400)


@pytest.mark.parametrize(
    "query", ["max_price=1e400", "max_price=nan", "max_price=-inf", "reasoning_max_tokens=1e400"]
)
async def test_faults_i3_a_query_is_held_to_the_same(api: Api, query: str) -> None:
    response, found = await api.request("POST", f"/chat?{query}", b'{"message": "x"}', Content_Type=JSON)
    assert response.status == 422
    assert_refused(found, "invalid_request", 422)


@pytest.mark.parametrize("more", [b"", b', "x": "\\ud83d"'], ids=["the fast way", "the careful way"])
async def test_of_a_key_that_stands_twice_the_last_counts(upstream: Sandbox, api: Api, more: bytes) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    body = b'{"message": "first", "n": 2, "message": "last", "n": 1' + more + b"}"
    response, _ = await api.request("POST", "/chat", body, Content_Type=JSON)
    assert response.status == 200
    assert upstream.calls[0].json["messages"][0]["content"] == "last"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_another_content_type_is_refused(api: Api, content_type: str) -> None:
    response, found = await api.request("POST", "/chat", b"{}", Content_Type=content_type)
    assert response.status == 415
    assert "application/json" in assert_refused(found, "unsupported_media_type", 415)["error"]


async def test_a_body_above_the_limit_is_refused_however_it_is_sent(api: Api) -> None:
    big = json.dumps({"message": "x" * 3000}).encode()

    async def in_chunks() -> Any:
        for start in range(0, len(big), 500):
            yield big[start : start + 500]

    for data, coding in ((big, {}), (in_chunks(), {}), (gzip.compress(big), {"Content-Encoding": "gzip"})):
        headers = {"Content-Type": JSON, **coding}
        async with api.http.post(f"{api.url}/chat", data=data, headers=headers) as response:
            assert response.status == 413
            error = assert_refused(await response.read(), "payload_too_large", 413)
        assert error["error"].endswith("exceeded (server.max_body_bytes).")


async def test_a_body_that_is_not_coded_as_it_says_is_refused(api: Api) -> None:
    response, found = await api.request("POST", "/chat", b"no gzip", Content_Type=JSON, Content_Encoding="gzip")
    assert response.status == 400
    assert_refused(found, "invalid_json", 400)


ROUTES = ["/chat", "/chat/x", "/chat/x/result", "/models", "/models/search", "/models/families", "/health", "/ready"]


@pytest.mark.parametrize("path", ROUTES)
async def test_a_wrong_method_is_refused_with_those_allowed(api: Api, path: str) -> None:
    for method in ("PUT", "PATCH", "OPTIONS"):
        response, found = await api.request(method, path)
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
        assert "POST" in response.headers["Allow"] if path == "/chat" else True
        assert_refused(found, "method_not_allowed", 405)


@pytest.mark.parametrize("path", ["/nowhere", "/chat/x/y", "/%ff", "/health/", "/chat//", "/../etc/passwd"])
async def test_a_path_that_is_not_there_is_a_404(api: Api, path: str) -> None:
    response, found = await api.request("GET", path)
    assert response.status == 404
    assert_refused(found, "not_found", 404)


async def test_a_stream_that_is_not_there_is_a_404(api: Api) -> None:
    for method, path in (("GET", "/chat/x"), ("DELETE", "/chat/x"), ("GET", "/chat/x/result")):
        response, found = await api.request(method, path)
        assert response.status == 404
        assert_refused(found, "not_found", 404)


async def test_a_head_request_has_no_body(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    answer, _ = await api.chat()
    streamed = answer.headers["Location"]
    for path, status in (("/chat", 200), ("/health", 200), (f"{streamed}/result", 200), (streamed, 405)):
        response, body = await api.request("HEAD", path)
        assert (response.status, body) == (status, b"")
    response, body = await api.request("GET", "/health")  # the connection is still in step
    assert response.status == 200


async def test_an_error_of_ours_is_a_500_without_its_trace(
    upstream: Sandbox, api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.streams, "list_of", None)
    response, found = await api.request("GET", "/chat")
    assert response.status == 500
    assert_refused(found, "internal", 500)
    assert "TypeError" in caplog.text


async def test_a_caller_who_leaves_while_sending_is_no_failure(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    writer.write(b'Content-Length: 500\r\n\r\n{"message": "priv')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    response, _ = await api.request("GET", "/health")
    assert response.status == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    "head",
    [b"NONSENSE private words\r\n\r\n", b"GET /health HTTP/1.1\r\nA private\r\n\r\n", b"\x16\x03\x01private\r\n\r\n"],
)
async def test_what_is_no_http_gets_a_400(api: Api, head: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert b"Traceback" not in answer
