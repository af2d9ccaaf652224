"""What a caller was granted hears of its answer: that upstream took it, that it ended, what it cost in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from client.config import StreamsConfig, UpstreamConfig
from client.errors import Failure, Refusal
from client.sandbox import Reply, Sandbox
from client.streams.chosen_ids import AlreadyBegun
from client.streams.readable import StreamsFull
from client.streams.stream import Lease, Stream
from client.streams.streams import Streams
from client.upstream.openrouter import OpenRouterClient, create_session

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Why?"}], "stream": True}
REFUSED = Failure("Not now.", "too_many_requests", 429, True, retry_after_s=3.0)


class Heard:
    """A lease that keeps what it is told; `is_over` is set by the last thing that it can be."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.is_over = asyncio.Event()

    def opened(self, stream: Stream) -> None:
        assert stream.is_running
        self.words.append("opened")

    def end(self, stream: Stream) -> None:
        assert not stream.is_running
        self.words.append(f"end, {'sought' if stream.settlement.is_sought else 'not sought'}")
        if not stream.settlement.is_sought:
            self.is_over.set()

    def give_back(self) -> None:
        self.words.append("given back")
        self.is_over.set()

    def settled(self, stream: Stream) -> None:
        self.words.append(f"settled at {stream.settlement.total_cost}")
        self.is_over.set()


class Gate:
    """Grants `places`, then refuses."""

    def __init__(self, places: int = 1) -> None:
        self.places = places
        self.opens = asyncio.Event()
        self.opens.set()
        self.leases: list[Heard] = []
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, body: Mapping[str, Any], owner: str, key: str) -> Lease | None:
        self.asked.append((owner, body["model"]))
        await self.opens.wait()
        if len(self.leases) >= self.places:
            raise Refusal(REFUSED)
        self.leases.append(Heard())
        return self.leases[-1]


@asynccontextmanager
async def open_streams(upstream: Sandbox, gate: Gate, **changes: Any) -> AsyncIterator[Streams]:
    config = UpstreamConfig(base_url=upstream.base_url, max_retries=0)
    async with create_session(config) as session:
        streams = Streams(OpenRouterClient(session, config), StreamsConfig(**changes), admit=gate)
        yield streams
        await streams.aclose()


async def heard_of(upstream: Sandbox, model: str, **more: Any) -> list[str]:
    """What the lease of one answer of that model is told."""
    gate = Gate()
    async with open_streams(upstream, gate) as streams, asyncio.timeout(5):
        await streams.start({**BODY, "model": model, **more}, owner="ann")
        await gate.leases[0].is_over.wait()
    return gate.leases[0].words


async def test_of_a_whole_answer_its_beginning_and_its_end_are_told(upstream: Sandbox) -> None:
    assert await heard_of(upstream, "sandbox/refuser", sandbox={"tokens_per_s": 0}) == ["opened", "end, not sought"]


async def test_of_a_cut_answer_the_cost_is_told_when_it_was_found(upstream: Sandbox) -> None:
    words = await heard_of(upstream, "sandbox/hangs-up", sandbox={"tokens_per_s": 0, "after_tokens": 3})
    assert words[:2] == ["opened", "end, sought"]
    assert float(words[2].removeprefix("settled at ")) > 0


async def test_a_look_up_that_finds_nothing_is_told_too(upstream: Sandbox) -> None:
    upstream.script_always(Reply.error(403, "Not yours"), path="/generation")
    words = await heard_of(upstream, "sandbox/hangs-up", sandbox={"tokens_per_s": 0})
    assert words == ["opened", "end, sought", "settled at None"]


async def test_of_a_refused_answer_only_the_end_is_told(upstream: Sandbox) -> None:
    assert await heard_of(upstream, "sandbox/no-credits") == ["end, not sought"]


async def test_what_is_not_admitted_never_reaches_upstream(upstream: Sandbox) -> None:
    gate = Gate(places=0)
    async with open_streams(upstream, gate) as streams:
        with pytest.raises(Refusal) as caught:
            await streams.start({**BODY, "model": "sandbox/echo"}, owner="ann")
        assert (caught.value.failure, streams.active, streams.kept) == (REFUSED, 0, 0)
    assert gate.asked == [("ann", "sandbox/echo")]
    assert not upstream.calls


async def test_a_full_server_asks_for_no_admission(upstream: Sandbox) -> None:
    gate = Gate(places=5)
    async with open_streams(upstream, gate, max_active=1) as streams:
        await streams.start({**BODY, "model": "sandbox/stalls"}, owner="ann")
        with pytest.raises(StreamsFull):
            await streams.start({**BODY, "model": "sandbox/echo"}, owner="ann")
        assert len(gate.asked) == 1


async def begin_in_turn(streams: Streams, gate: Gate, number: int, **more: Any) -> list[asyncio.Task[Stream]]:
    """That many starts, all of which wait for the gate, or for one another."""
    gate.opens.clear()
    ask = {**BODY, "model": "sandbox/stalls"}
    tasks = [asyncio.create_task(streams.start(ask, owner="ann", **more)) for _ in range(number)]
    while not gate.asked:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)
    return tasks


async def test_two_that_choose_one_id_at_once_have_one_answer(upstream: Sandbox) -> None:
    """Also where it takes a while to know whether the first may start."""
    gate = Gate(places=5)
    async with open_streams(upstream, gate) as streams, asyncio.timeout(5):
        tasks = await begin_in_turn(streams, gate, 5, stream_id="chosen", fingerprint=b"same")
        gate.opens.set()
        begun = await asyncio.gather(*tasks, return_exceptions=True)
        [stream] = [each for each in begun if isinstance(each, Stream)]
        assert [each.stream for each in begun if isinstance(each, AlreadyBegun)] == [stream] * 4
        assert (len(gate.asked), streams.active) == (1, 1)


async def test_an_id_whose_first_attempt_was_given_up_is_the_seconds(upstream: Sandbox) -> None:
    gate = Gate(places=1)
    async with open_streams(upstream, gate) as streams, asyncio.timeout(5):
        tasks = await begin_in_turn(streams, gate, 2, stream_id="chosen", fingerprint=b"same")
        tasks[0].cancel()
        gate.opens.set()
        assert (await tasks[1]).id == "chosen"
        assert len(gate.asked) == 2


async def test_no_more_start_at_once_than_may_run(upstream: Sandbox) -> None:
    gate = Gate(places=9)
    async with open_streams(upstream, gate, max_active=2) as streams, asyncio.timeout(5):
        tasks = await begin_in_turn(streams, gate, 5)
        gate.opens.set()
        begun = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(each, StreamsFull) for each in begun] == [False, False, True, True, True]
        assert len(gate.asked) == 2


async def test_a_start_that_is_given_up_leaves_nothing_behind(upstream: Sandbox) -> None:
    gate = Gate(places=9)
    async with open_streams(upstream, gate, max_active=1) as streams, asyncio.timeout(5):
        [task] = await begin_in_turn(streams, gate, 1, request_bytes=5000)
        assert streams.total_bytes > 5000
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (streams.total_bytes, streams.active, streams.kept) == (0, 0, 0)
        gate.opens.set()
        await streams.start({**BODY, "model": "sandbox/stalls"}, owner="ann")


async def test_what_was_granted_while_the_server_was_told_to_end_is_given_back(upstream: Sandbox) -> None:
    gate = Gate(places=1)
    async with open_streams(upstream, gate) as streams, asyncio.timeout(5):
        [task] = await begin_in_turn(streams, gate, 1)
        streams.is_draining = True
        gate.opens.set()
        with pytest.raises(Refusal, match="restarting"):
            await task
        assert gate.leases[0].words == ["given back"]
        assert (streams.total_bytes, streams.active, streams.kept) == (0, 0, 0)
    assert not upstream.calls
