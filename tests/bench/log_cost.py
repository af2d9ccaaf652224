"""`python -m tests.bench.log_cost`: what it costs that streams outlive their readers.

CPU of an event with and without its log (translated and encoded in both cases, nothing else: sockets would only make
the ratio smaller), the speed of a replay, and the memory of a stream that nobody reads and of one that has ended.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

import aiohttp

from client.sandbox import Hold, Reply, Sandbox, open_sandbox
from client.streams.log import StreamLog
from client.streams.readable import KEPT_BYTES
from client.streams.wire import EventEncoder
from client.translation.translate import ChatTranslator
from tests.support.callers import call_and_read_head
from tests.support.chunks import END, STOP, text
from tests.support.process import ServerProcess, running_server
from tests.support.serving import question

EVENTS = 2000
LIVE_PER_S = 50
STREAMS = 500
ROUNDS = 15
SETTINGS = {"STREAM_GRACE": "600", "STREAM_RETAIN": "600"}


def cpu_per_event_us(*, logged: bool) -> float:
    """One read an event, the best of several rounds."""
    reads = [text(f"word {number} ") for number in range(EVENTS)]
    best_s = float("inf")
    for _ in range(ROUNDS):
        translator, encoder, log = ChatTranslator(time.monotonic), EventEncoder("s" * 22), StreamLog()
        began_s = time.process_time()
        for read in reads:
            events = translator.receive_data(read)
            data = encoder.encode(events)
            if logged:
                log.append(data, len(events))
        best_s = min(best_s, time.process_time() - began_s)
    return best_s / EVENTS * 1e6


async def replay_s(server: ServerProcess, upstream: Sandbox, http: aiohttp.ClientSession) -> float:
    """How long a finished stream of 2,000 events takes to be read again."""
    upstream.script(Reply.stream(*[text(f"word {number} ") for number in range(EVENTS)], STOP, END))
    async with http.post(f"{server.url}/chat", json=question()) as response:
        first = await response.read()
    began_s = time.monotonic()
    async with http.get(server.url + response.headers["Location"]) as again:
        if await again.read() != first:
            raise RuntimeError("the replay differs")
    return time.monotonic() - began_s


async def kib_per_stream(server: ServerProcess, http: aiohttp.ClientSession) -> float:
    """Memory of a stream beside its log, once its caller has gone."""
    before, counts = server.rss_bytes(), await server.counts(http)
    for _ in range(STREAMS):
        caller = await call_and_read_head(server.port, "POST", "/chat", question())
        await caller.read_chunk()
        await caller.aclose()
    while (await server.counts(http))["readers"]:
        pass
    logs = (await server.counts(http))["log_bytes"] - counts["log_bytes"] - STREAMS * KEPT_BYTES
    return (server.rss_bytes() - before - logs) / STREAMS / 1024


async def measure() -> None:
    """Prints everything, one figure a line."""
    with_log, without = cpu_per_event_us(logged=True), cpu_per_event_us(logged=False)
    print(f"CPU per event: {without:.2f} µs without a log, {with_log:.2f} µs with one: {with_log / without:.3f} x")
    async with open_sandbox(record=0) as upstream, aiohttp.ClientSession() as http:
        env = {**SETTINGS, "OPENROUTER_BASE_URL": upstream.base_url}
        async with running_server(env=env) as server:
            took_s = min([await replay_s(server, upstream, http) for _ in range(5)])
            live = EVENTS / LIVE_PER_S / took_s
            print(f"replay of {EVENTS} events: {took_s * 1000:.1f} ms, {live:.0f} x the pace of {LIVE_PER_S}/s")
            for what, ending in (("that ended", [STOP, END]), ("that runs", [Hold()])):
                upstream.script_always(Reply.stream(text("x"), *ending))
                await kib_per_stream(server, http)  # fills pools
                print(f"memory of a stream {what}: {await kib_per_stream(server, http):.1f} KiB beside its log")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(measure())
    sys.exit()
