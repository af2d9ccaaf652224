"""Several models in one call."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from client.sandbox import Hold, Reply, Sandbox, chunk
from tests.support.mcp.clients import ERAS, Era, Progress, answer, call, data_of, in_memory, text_of

ASK = {"prompt": "hi", "models": ["sandbox/reasoner", "sandbox/no-credits", "sandbox/search"]}


async def test_each_model_answers_or_fails_in_its_place(upstream: Sandbox) -> None:
    """G5."""
    result = await call(upstream, "llm_chat", ASK)
    assert not result.is_error
    data = data_of(result)
    assert data["status"] == "completed"
    assert [each["model"] for each in data["answers"]] == ASK["models"]
    good, failed, other = data["answers"]
    assert good["text"]
    assert good["stream_id"]
    assert good["cost_usd"] > 0
    assert good["time_s"] >= 0
    assert failed["status"] == "failed"
    assert "credits" in failed["error"]
    assert data["cost_usd"] == pytest.approx(good["cost_usd"] + other["cost_usd"])
    for model in ASK["models"]:
        assert f"## {model}" in text_of(result)
    assert "credits" in text_of(result)
    assert len([block for block in result.content if block.type == "text"]) == 1, "some hosts read the first only"


@pytest.mark.parametrize("era", ERAS)
async def test_they_run_side_by_side_and_progress_names_who_is_done(upstream: Sandbox, era: Era) -> None:
    seen, both = Progress(), asyncio.Event()
    done = asyncio.Event()
    first = Reply.stream(chunk({"content": "A"}), Hold(both), chunk({}, "stop"))
    upstream.script(first, answer("B", ahead=(Hold(done),)))

    async def report(progress: float, total: float | None, message: str | None) -> None:
        await seen(progress, total, message)
        if len(upstream.calls) == 2:
            both.set()
        if "1 of 2 models done" in (message or ""):
            done.set()

    async with asyncio.timeout(30), in_memory(upstream, era) as client:
        arguments = {"prompt": "hi", "models": "acme/a, acme/b"}
        result = await client.call_tool("llm_chat", arguments, progress_callback=report)
    assert [each["text"] for each in data_of(result)["answers"]] == ["A", "B"]
    assert any("1 of 2 models done" in said and "done: acme/a; waiting for acme/b" in said for said in seen.messages)


async def test_one_that_is_not_done_goes_on_and_says_how_to_fetch_it(upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(answer("whole"), answer(" rest", ahead=(chunk({"content": "half"}), Hold(go_on))))
    async with asyncio.timeout(30), in_memory(upstream) as client:
        result = await client.call_tool("llm_chat", {"prompt": "hi", "models": ["acme/a", "acme/b"], "wait_s": 0.5})
        data = data_of(result)
        assert data["status"] == "running"
        assert [each["status"] for each in data["answers"]] == ["completed", "running"]
        assert "acme/b" in data["note"]
        go_on.set()
        rest = await client.call_tool("llm_chat_result", {"stream_id": data["answers"][1]["stream_id"]})
        assert data_of(rest)["text"] == "half rest"


async def test_a_cancelled_call_stops_all_of_them(upstream: Sandbox) -> None:
    upstream.script(*[Reply.stream(chunk({"content": "x"}), Hold())] * 2)
    async with asyncio.timeout(30), in_memory(upstream) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "llm_chat", {"prompt": "hi", "models": ["acme/a", "acme/b"]})
            await upstream.wait_call(0)
            await upstream.wait_call(1)
            group.cancel_scope.cancel()
        for number in (0, 1):
            await upstream.calls[number].closed.wait()
            assert upstream.calls[number].cancelled


async def test_all_together_are_no_longer_than_one_result(upstream: Sandbox) -> None:
    upstream.script(answer("ä" * 40_000), answer("b" * 40_000))
    result = await call(upstream, "llm_chat", {"prompt": "hi", "models": ["acme/a", "acme/b"]})
    assert len(text_of(result).encode()) < 31_000
    assert all(each["next_offset"] for each in data_of(result)["answers"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"models": ["sandbox/no-credits", "sandbox/nothing"]}, "None of the models"),
        ({"models": ["acme/a"], "model": "acme/b"}, "cannot stand beside model"),
        ({"models": [f"acme/{n}" for n in range(11)]}, "at most 10"),
        ({"models": 7}, "list"),
    ],
)
async def test_what_cannot_be_meant_is_refused(upstream: Sandbox, more: dict[str, Any], said: str) -> None:
    result = await call(upstream, "llm_chat", {"prompt": "hi", **more})
    assert result.is_error
    assert said in text_of(result)


async def test_one_named_twice_is_asked_once_and_one_alone_is_a_plain_answer(upstream: Sandbox) -> None:
    result = await call(upstream, "llm_chat", {"prompt": "hi", "models": ["sandbox/echo", " sandbox/echo"]})
    assert len(upstream.calls) == 1
    blank = await call(upstream, "llm_chat", {"prompt": "hi", "model": "sandbox/echo", "models": ["", " "]})
    assert not blank.is_error
    assert data_of(result)["text"]
    assert "answers" not in data_of(result)
