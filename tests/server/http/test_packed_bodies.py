"""Compressed requests: unpacked only for callers who may ask, in steps, and no further than the limit."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from server.config import Config
from tests.support.chunks import END, STOP, text
from tests.support.mcp.clients import ACCEPT
from tests.support.raw_http import ask
from tests.support.serving import Api, changed, serving, with_tokens

LIMIT = 8 * 1024 * 1024
BODY = json.dumps({"message": "Why?", "model": "acme/m"}).encode()


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def of_tiny_members(data: bytes) -> bytes:
    return b"".join(gzip.compress(data[at : at + 1], mtime=0) for at in range(len(data)))


@pytest.fixture
async def roomy(config: Config) -> AsyncIterator[Api]:
    async with serving(changed(config, "server", max_body_bytes=LIMIT)) as running:
        yield running


@pytest.fixture
def unpackers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that began to be unpacked, by whomever."""
    made: list[Any] = []
    make = zlib.decompressobj

    def count(*args: Any, **kwargs: Any) -> Any:
        made.append(args)
        return make(*args, **kwargs)

    monkeypatch.setattr(zlib, "decompressobj", count)
    return made


def packed_head(path: str, size: int, *more: str, method: str = "POST", kind: str = "application/json") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", "Content-Encoding: gzip", *more]
    return ("\r\n".join([*lines, f"Content-Length: {size}"]) + "\r\n\r\n").encode()


REFUSED = {
    "no token": ("POST", "/chat", "application/json", 401),
    "a token, and no such route": ("POST", "/nowhere", "application/json", 404),
    "a token, and another method": ("POST", "/health", "application/json", 405),
    "no token, MCP": ("POST", "/mcp", "application/json", 401),
    "a token, and another type": ("POST", "/chat", "text/plain", 415),
    "a method without a body": ("DELETE", "/chat/x", "application/json", 404),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_break_it_2_nothing_is_unpacked_for_a_request_that_is_refused(
    config: Config, unpackers: list[Any], case: str
) -> None:
    method, path, kind, status = REFUSED[case]
    bomb = gzip.compress(bytes(4 * LIMIT))
    token = () if "no token" in case else ("Authorization: Bearer 0123456789abcdef",)
    async with serving(with_tokens(config, "0123456789abcdef")) as api:
        reply = await ask(api.port, packed_head(path, len(bomb), *token, method=method, kind=kind), bomb)
        assert reply.status == status
        await api.request("GET", "/health")
    assert not unpackers


@pytest.mark.parametrize("path", ["/chat", "/mcp"])
async def test_break_it_2_unpacking_ends_at_the_limit_and_others_have_their_turn(roomy: Api, path: str) -> None:
    bomb = gzip.compress(bytes(LIMIT * 16))
    headers = {**ACCEPT, "Content-Encoding": "gzip"}
    async with roomy.http.post(roomy.url + path, data=None, headers=headers):
        pass  # what /mcp loads at its first request is loaded
    answered: list[str] = []

    async def send() -> None:
        async with roomy.http.post(roomy.url + path, data=bomb, headers=headers) as response:
            assert response.status == 413
            assert b"server.max_body_bytes" in await response.read()
            answered.append("bomb")

    async def look() -> None:
        while "bomb" not in answered:
            await roomy.request("GET", "/health")
            answered.append("health")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        tasks.create_task(look())
    assert answered.index("bomb") >= 3


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare_deflate),
        ("identity", bytes),
        ("", bytes),
        ("identity, gzip", gzip.compress),
        ("gzip", of_tiny_members),
    ],
)
async def test_a_body_in_a_known_coding_is_unpacked(upstream: Sandbox, roomy: Api, coding: str, pack: Any) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    headers = {"Content_Type": "application/json", "Content_Encoding": coding}
    response, _ = await roomy.request("POST", "/chat", pack(BODY), **headers)
    assert response.status == 200
    assert upstream.calls[0].json["messages"][0]["content"] == "Why?"


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072, 1_000_000])
@pytest.mark.parametrize("kind", ["even", "odd"])
async def test_a_packed_body_of_any_size_comes_whole(upstream: Sandbox, roomy: Api, size: int, kind: str) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    letters = "x" * size if kind == "even" else "".join(random.Random(size).choices("abcdefgh", k=size))
    body = json.dumps({"message": letters}).encode()
    packed = gzip.compress(body, mtime=0)
    response = await ask(roomy.port, packed_head("/chat", len(packed)), packed)
    assert response.status == 200
    assert upstream.calls[0].json["messages"][0]["content"] == letters


@pytest.mark.parametrize(
    "coding", ["br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "nonsense", "gzip;q=1", "*"]
)
@pytest.mark.parametrize("path", ["/chat", "/mcp"])
async def test_faults_k1_another_coding_is_a_415_that_names_those_that_are_taken(
    api: Api, unpackers: list[Any], coding: str, path: str
) -> None:
    headers = {**{name.replace("-", "_"): value for name, value in ACCEPT.items()}, "Content_Encoding": coding}
    response, found = await api.request("POST", path, b"\x0b\x02\x80{}\x03", **headers)
    assert response.status == 415
    assert response.headers["Accept-Encoding"] == "gzip, deflate"
    assert response.content_type == "application/json"
    error = json.loads(found)
    said = error["error"] if path == "/chat" else error["error"]["message"]
    assert "gzip, deflate" in str(said)
    assert not unpackers


@pytest.mark.parametrize(
    "packed",
    [
        b"no gzip",
        gzip.compress(BODY, mtime=0)[:-1],
        gzip.compress(BODY, mtime=0)[:10],
        gzip.compress(BODY, mtime=0) + b"\0",
        gzip.compress(BODY, mtime=0)[:-8] + b"\0" * 8,
        b"",
    ],
)
async def test_a_body_that_is_not_whole_or_not_coded_as_it_says_is_refused(api: Api, packed: bytes) -> None:
    headers = {"Content_Type": "application/json", "Content_Encoding": "gzip"}
    response, found = await api.request("POST", "/chat", packed, **headers)
    assert (response.status, json.loads(found)["type"]) == (400, "invalid_json")


async def test_what_stands_behind_a_deflated_body_is_refused(api: Api) -> None:
    headers = {"Content_Type": "application/json", "Content_Encoding": "deflate"}
    response, _ = await api.request("POST", "/chat", zlib.compress(BODY) + b"more", **headers)
    assert response.status == 400


# -- a caller who waits for leave to send -------------------------------------------------------------------------

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    "Expect: 100-Continue\r\nContent-Length: {size}\r\n"
)


def waiting(path: str = "/chat", size: int = len(BODY), kind: str = "application/json", more: str = "") -> bytes:
    return (HEAD.format(path=path, kind=kind, size=size) + more + "\r\n").encode()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (waiting("/nowhere"), 404),
        (waiting("/health"), 405),
        (waiting(kind="text/plain"), 415),
        (waiting(size=10**12), 413),
        (waiting(more="Content-Encoding: br\r\n"), 415),
        (waiting(more="Origin: https://evil.example\r\n"), 403),
        (waiting("/mcp", size=10**12), 413),
    ],
)
async def test_faults_k1_a_refusal_that_the_head_decides_stands_in_place_of_100_continue(
    api: Api, head: bytes, status: int
) -> None:
    reply = await ask(api.port, head)
    assert (reply.status, reply.interim) == (status, ())
    assert reply.headers["connection"] == "close"


async def test_a_caller_who_waits_for_100_continue_gets_it_once(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(waiting())
    async with asyncio.timeout(10):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert b"event: done" in await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def test_a_caller_who_does_not_wait_gets_its_answer_alone(upstream: Sandbox, api: Api) -> None:
    upstream.script(Reply.stream(text("x"), STOP, END))
    reply = await ask(api.port, waiting() + BODY)
    assert (reply.status, reply.interim) == (200, ())
