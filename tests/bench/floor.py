"""The least that a server on the same libraries can do: what `--floor` puts beside nginx and this project's server.

A request is asked upstream, its text is re-emitted as typed events, one write a read. Public APIs only, every
shortcut that `docs/performance.md` lists; no ids, no log of the stream, no validation, no access rules, no errors,
no figures, no log lines. So whatever costs more here than nginx is the price of the interpreter and the libraries.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import AsyncIterator, Iterator

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

_END = b"\n\n"
_DATA = b"data: "
_HEADERS = {
    "Authorization": "Bearer sk-bench-0000",
    "Accept": "text/event-stream",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_SESSION = web.AppKey("session", aiohttp.ClientSession)
_URL = web.AppKey("url", URL)


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta


class _Chunk(msgspec.Struct, gc=False):
    choices: tuple[_Choice, ...] = ()


class _Question(msgspec.Struct, gc=False):
    message: str
    model: str


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_question = msgspec.json.Decoder(_Question).decode
_encode = msgspec.json.Encoder().encode


class Translator:
    """Upstream's events to typed ones."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The typed events of one read."""
        data = self._rest + data
        end = data.rfind(_END)
        self._rest = data[end + 2 :]
        return b"".join(self._events(data[:end].split(_END))) if end >= 0 else b""

    def _events(self, blocks: list[bytes]) -> Iterator[bytes]:
        for block in blocks:
            if block == b"data: [DONE]":
                yield b'event: done\ndata: {"completed":true}\n\n'
            elif block.startswith(_DATA):
                for choice in _decode(block[len(_DATA) :]).choices:
                    if choice.delta.content:
                        yield b'event: content\ndata: {"text":%b}\n\n' % _encode(choice.delta.content)
                    elif choice.delta.reasoning:
                        yield b'event: reasoning\ndata: {"text":%b}\n\n' % _encode(choice.delta.reasoning)


async def _chat(request: web.Request) -> web.StreamResponse:
    question = _decode_question(await request.read())
    body = {
        "model": question.model,
        "stream": True,
        "messages": [{"role": "user", "content": question.message}],
    }
    reply = await request.app[_SESSION].post(
        request.app[_URL], data=_encode(body), headers=_HEADERS, allow_redirects=False, timeout=_NO_TIMEOUT
    )
    try:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        translator, read = Translator(), reply.content.readany
        while data := await read():
            if events := translator.feed(data):
                await response.write(events)
        await response.write_eof()
        return response
    finally:
        if reply.content.at_eof():
            reply.release()
        else:
            reply.close()


async def _health(request: web.Request) -> web.Response:
    return web.Response()


async def _open_session(app: web.Application) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=_NO_TIMEOUT, auto_decompress=False
    ) as session:
        app[_SESSION] = session
        gc.collect()
        gc.freeze()
        yield


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.floor")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="base URL")
    args = parser.parse_args()
    app = web.Application()
    app[_URL] = URL(args.upstream + "/chat/completions")
    app.cleanup_ctx.append(_open_session)
    app.add_routes([web.post("/chat", _chat), web.get("/health", _health)])
    web.run_app(
        app,
        host="127.0.0.1",
        port=args.port,
        access_log=None,
        handler_cancellation=True,
        backlog=4096,
        print=None,
        loop=_new_loop(),
    )


if __name__ == "__main__":
    main()
