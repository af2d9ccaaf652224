"""The MCP tools as a model and its host see them, without transport."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from contextlib import suppress
from typing import Any

import pytest
from mcp.types import ResourceTemplateReference

from client.sandbox import COMMENT, Hold, Pause, Reply, Sandbox, Step, chunk
from mcp_app.results.failures import ToolFailure
from mcp_app.results.progress import AnswerReader
from mcp_app.results.reports import reporting
from tests.support.mcp.clients import ERAS, Era, Progress, answer, call, data_of, in_memory, open_state, text_of

FACTS = ("model", "provider", "finish_reason", "usage", "cost_usd", "stream_id")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


# -- what is listed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
async def test_the_list_of_tools_is_small(upstream: Sandbox, era: Era) -> None:
    async with in_memory(upstream, era) as client:
        listed = await client.list_tools()
    size = len(listed.model_dump_json(by_alias=True, exclude_none=True))
    assert size < 6500, size
    names = ["llm_chat", "llm_chat_result", "llm_chat_stop", "search_models", "get_model", "account"]
    assert [tool.name for tool in listed.tools] == names


async def test_schemas_need_no_resolving_and_have_no_unions(upstream: Sandbox) -> None:
    async with in_memory(upstream) as client:
        listed = await client.list_tools()
    for tool in listed.tools:
        for schema in (tool.input_schema, tool.output_schema or {"type": "object"}):
            assert schema["type"] == "object"
            spelled = json.dumps(schema)
            for word in ("$ref", "$defs", "anyOf", "oneOf", "allOf", '"null"'):
                assert word not in spelled, (tool.name, word)
        assert all("type" in prop for prop in tool.input_schema["properties"].values())
        assert tool.description
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool.name)
        assert tool.annotations is not None


async def test_the_chats_output_schema_names_what_an_answer_is_judged_by(upstream: Sandbox) -> None:
    async with in_memory(upstream) as client:
        listed = await client.list_tools()
    for tool in listed.tools[:3]:
        assert tool.output_schema is not None
        assert {"text", *FACTS} <= set(tool.output_schema["properties"]), tool.name


async def test_scalars_may_come_as_text_and_blanks_count_as_nothing(upstream: Sandbox) -> None:
    arguments = {
        "prompt": "hi",
        "messages": "",
        "model": None,
        "system": "",
        "reasoning_effort": "",
        "max_tokens": "300",
        "temperature": "0.5",
        "web_search": "true",
        "wait_s": "20",
        "include_reasoning": "",
    }
    result = await call(upstream, "llm_chat", arguments)
    sent = json.loads(data_of(result)["text"])
    assert sent["max_tokens"] == 300
    assert sent["temperature"] == 0.5
    assert sent["tools"] == [{"type": "openrouter:web_search"}]
    assert "reasoning" not in sent
    assert sent["model"] == "sandbox/echo"


async def test_a_prompt_that_looks_like_json_stays_text(upstream: Sandbox) -> None:
    result = await call(upstream, "llm_chat", {"prompt": '{"a": [1]}'})
    assert json.loads(data_of(result)["text"])["messages"] == [{"role": "user", "content": '{"a": [1]}'}]


async def test_messages_may_come_as_text_and_go_between_system_and_prompt(upstream: Sandbox) -> None:
    turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    result = await call(upstream, "llm_chat", {"messages": json.dumps(turns), "system": "be", "prompt": "three"})
    sent = json.loads(data_of(result)["text"])["messages"]
    assert sent == [{"role": "system", "content": "be"}, *turns, {"role": "user", "content": "three"}]


async def test_only_what_was_asked_for_is_sent(upstream: Sandbox) -> None:
    await call(upstream, "llm_chat", {"prompt": "hi"})
    assert upstream.calls[0].json == {
        "model": "sandbox/echo",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
    }


# -- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
async def test_the_whole_answer_stands_in_both_forms_with_its_cost(upstream: Sandbox, era: Era) -> None:
    upstream.script(answer("Hel", "lo"))
    async with in_memory(upstream, era) as client:
        result = await client.call_tool("llm_chat", {"prompt": "hi", "model": "acme/m"})
    assert not result.is_error
    assert set(FACTS) <= set(data_of(result))
    data = data_of(result)
    stream_id = data.pop("stream_id")
    assert data == {
        "status": "completed",
        "text": "Hello",
        "model": data["model"],
        "provider": data["provider"],
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        "cost_usd": 0.25,
    }
    assert text_of(result) == (
        f"Hello\n\n[{data['model']} via {data['provider']}, finish_reason stop, "
        f"tokens: 3 prompt + 5 completion, 8 total, cost 0.250000 USD, stream_id {stream_id}]"
    )


async def test_reasoning_is_given_only_on_request(upstream: Sandbox) -> None:
    arguments = {"prompt": "hi", "model": "sandbox/reasoner"}
    without = await call(upstream, "llm_chat", arguments)
    assert "reasoning" not in data_of(without)
    thought = data_of(without)["usage"]["reasoning_tokens"]
    assert thought > 0
    assert f"{thought} of them thinking" in text_of(without)
    thinking = await call(upstream, "llm_chat", {**arguments, "include_reasoning": True})
    assert "Thought 1" in data_of(thinking)["reasoning"]
    assert "Thought 1" in text_of(thinking)


async def test_citations_stand_in_both_forms(upstream: Sandbox) -> None:
    result = await call(upstream, "llm_chat", {"prompt": "hi", "model": "sandbox/search"})
    assert [cited["url"] for cited in data_of(result)["citations"]] == [
        "https://example.com/page-1",
        "https://example.com/page-2",
    ]
    assert "https://example.com/page-2" in text_of(result)


async def test_a_long_answer_is_given_in_parts_that_join_to_the_whole(upstream: Sandbox) -> None:
    whole = "äöü€" * 10_000
    upstream.script(answer(whole))
    async with in_memory(upstream) as client:
        result = await client.call_tool("llm_chat", {"prompt": "hi", "model": "acme/m"})
        parts = [data_of(result)["text"]]
        while (offset := data_of(result).get("next_offset")) is not None:
            assert f"offset {offset}" in text_of(result)
            assert len(result.model_dump_json()) < 500_000
            arguments = {"stream_id": data_of(result)["stream_id"], "offset": str(offset)}
            result = await client.call_tool("llm_chat_result", arguments)
            parts.append(data_of(result)["text"])
    assert len(parts) > 1
    assert "".join(parts) == whole


@pytest.mark.parametrize("part", [{"type": "image_url"}, {"type": "video_url"}, {"type": "file"}])
async def test_urls_are_passed_on_and_local_paths_are_not_read(upstream: Sandbox, part: dict[str, Any]) -> None:
    async with in_memory(upstream) as client:
        for url in ("https://example.org/a.png", f"data:image/png;base64,{PIXEL}"):
            content = [_part(part, url)]
            result = await client.call_tool("llm_chat", {"messages": [{"role": "user", "content": content}]})
            assert not result.is_error
            assert upstream.calls[-1].json["messages"][0]["content"] == content
        sent = len(upstream.calls)
        for url in ("/etc/passwd", "file:///etc/passwd", "C:\\secret.png"):
            content = [_part(part, url)]
            result = await client.call_tool("llm_chat", {"messages": [{"role": "user", "content": content}]})
            assert result.is_error
            assert "data: URL" in text_of(result)
        assert len(upstream.calls) == sent


def _part(part: dict[str, Any], url: str) -> dict[str, Any]:
    if part["type"] == "file":
        return {**part, "file": {"filename": "a", "file_data": url}}
    return {**part, part["type"]: {"url": url}}


# -- progress, waiting, stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
async def test_progress_begins_soon_grows_and_ends_with_the_text_so_far(upstream: Sandbox, era: Era) -> None:
    go_on = asyncio.Event()
    upstream.script(answer(" world", ahead=(COMMENT, chunk({"content": "Hello"}), Hold(go_on))))
    reported, seen = asyncio.Event(), Progress()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        await seen(progress, total, message)
        if "Hello" in (message or ""):
            reported.set()

    async with asyncio.timeout(10), in_memory(upstream, era) as client:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        arguments = {"prompt": "hi", "model": "acme/m"}
        calling = asyncio.create_task(client.call_tool("llm_chat", arguments, progress_callback=note))
        await reported.wait()
        assert loop.time() - started_s < 5
        assert not calling.done()
        go_on.set()
        assert data_of(await calling)["text"] == "Hello world"
    assert seen.values == sorted(set(seen.values))
    assert any(message.endswith("Hello") for message in seen.messages)


async def test_a_call_that_ends_within_a_quarter_of_a_second_reports_nothing() -> None:
    """Mcp F2."""
    told: list[str] = []

    async def report(progress: float, message: str) -> None:
        told.append(message)

    async with reporting(report):
        pass
    with pytest.raises(ToolFailure):
        async with reporting(report):
            raise ToolFailure("no key")
    assert not told


async def test_the_last_report_is_read_before_the_answer() -> None:
    """Mcp F2: neither a good call nor a failing one ends on the heels of a report."""
    loop = asyncio.get_running_loop()
    reported, reported_s = asyncio.Event(), 0.0

    async def report(progress: float, message: str) -> None:
        nonlocal reported_s
        reported_s = loop.time()
        reported.set()

    async with reporting(report):
        await reported.wait()
    assert loop.time() - reported_s >= 0.02
    reported.clear()
    with suppress(ToolFailure):
        async with reporting(report):
            await reported.wait()
            raise ToolFailure("no key")
    assert loop.time() - reported_s >= 0.02


async def test_progress_beats_in_silence_and_never_more_than_four_times_a_second(upstream: Sandbox) -> None:
    pieces = [chunk({"content": f"{number} "}) for number in range(200)]
    steps: list[Step] = []
    for piece in pieces:
        steps += [piece, Pause(0.005)]
    upstream.script(Reply.stream(*steps, Hold()))
    times_s: list[float] = []
    messages: list[str] = []
    silent = asyncio.Event()

    async def report(progress: float, message: str) -> None:
        times_s.append(time.monotonic())
        messages.append(message)
        if [said.endswith("199 ") for said in messages].count(True) == 2:
            silent.set()  # nothing new has come, and it still reports

    async with open_state(upstream) as state:
        stream = await state.streams.start({"model": "acme/m", "messages": []}, owner="local")
        reader = AnswerReader(stream)
        stream.attach(reader)
        async with asyncio.timeout(30), reporting(report, heartbeat_s=1.0) as reports:
            reports.follow(stream, reader)
            await reader.wait_end(0)
            await silent.wait()
        stream.stop("cancelled")
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
    assert len(gaps_s) >= 4
    assert min(gaps_s) > 0.24


async def test_an_answer_that_takes_longer_goes_on_and_can_be_fetched(upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(answer(" world", ahead=(chunk({"content": "Hello"}), Hold(go_on))))
    async with asyncio.timeout(10), in_memory(upstream) as client:
        first = await client.call_tool("llm_chat", {"prompt": "hi", "model": "acme/m", "wait_s": 0.3})
        assert not first.is_error
        data = data_of(first)
        assert (data["status"], data["text"]) == ("running", "Hello")
        assert data["stream_id"] in text_of(first)
        assert "llm_chat_result" in text_of(first)
        again = await client.call_tool("llm_chat_result", {"stream_id": data["stream_id"], "wait_s": 0})
        assert data_of(again)["status"] == "running"
        assert not upstream.calls[0].closed.is_set()
        go_on.set()
        whole = await client.call_tool("llm_chat_result", {"stream_id": data["stream_id"]})
        assert (data_of(whole)["status"], data_of(whole)["text"]) == ("completed", "Hello world")
    assert len(upstream.calls) == 1


async def test_stopping_closes_upstream_and_gives_the_text_so_far(upstream: Sandbox) -> None:
    upstream.script(Reply.stream(chunk({"content": "Hello"}), Hold()))
    async with asyncio.timeout(10), in_memory(upstream) as client:
        running = await client.call_tool("llm_chat", {"prompt": "hi", "model": "acme/m", "wait_s": 0.2})
        stream_id = data_of(running)["stream_id"]
        stopped = await client.call_tool("llm_chat_stop", {"stream_id": stream_id})
        await upstream.calls[0].closed.wait()
        assert upstream.calls[0].cancelled
        data = data_of(stopped)
        assert (data["status"], data["text"], data["finish_reason"]) == ("stopped", "Hello", "cancelled")
        again = await client.call_tool("llm_chat_stop", {"stream_id": stream_id})
        assert data_of(again)["status"] == "stopped"


@pytest.mark.parametrize("tool", ["llm_chat_result", "llm_chat_stop"])
async def test_an_unknown_stream_is_an_error_that_says_what_to_do(upstream: Sandbox, tool: str) -> None:
    result = await call(upstream, tool, {"stream_id": "nobody-knows"})
    assert result.is_error
    assert "Call llm_chat again" in text_of(result)


# -- models and account -------------------------------------------------------------------------------------------


async def test_models_are_searched_in_pages_of_few_words(upstream: Sandbox) -> None:
    async with in_memory(upstream) as client:
        page = await client.call_tool("search_models", {"families": ["sandbox"], "sort": "name", "limit": "2"})
        data = data_of(page)
        assert len(data["models"]) == 2
        assert data["next_offset"] == 2
        assert all(model["id"] in text_of(page) for model in data["models"])
        second = await client.call_tool("search_models", {"families": "sandbox", "sort": "name", "offset": 2})
        assert data_of(second)["total"] == data["total"]
        assert data["models"][0] not in data_of(second)["models"]
        none = await client.call_tool("search_models", {"q": "nothing-is-called-this"})
        assert data_of(none)["models"] == []
        assert "No model fits" in text_of(none)


@pytest.mark.parametrize("arguments", [{"families": "opnai"}, {"sort": "cheapest"}, {"input_modalities": "smell"}])
async def test_an_unknown_word_of_a_search_is_an_error_that_lists_the_known(
    upstream: Sandbox, arguments: dict[str, Any]
) -> None:
    result = await call(upstream, "search_models", arguments)
    assert result.is_error
    assert "known:" in text_of(result)


async def test_a_model_is_described_with_its_endpoints(upstream: Sandbox) -> None:
    result = await call(upstream, "get_model", {"model_id": "sandbox/reasoner"})
    data = data_of(result)
    assert data["id"] == "sandbox/reasoner"
    assert data["endpoints"][0]["provider"] == "Sandbox"
    assert "Sandbox" in text_of(result)


async def test_an_unknown_model_is_an_error_with_near_ids(upstream: Sandbox) -> None:
    result = await call(upstream, "get_model", {"model_id": "sandbox/reasonner"})
    assert result.is_error
    assert "sandbox/reasoner" in text_of(result)


async def test_the_account_tells_limits_credits_and_what_was_spent(upstream: Sandbox) -> None:
    upstream.script(answer("Hello"))
    async with in_memory(upstream) as client:
        await client.call_tool("llm_chat", {"prompt": "hi", "model": "acme/m"})
        data = data_of(await client.call_tool("account", {}))
    assert data["this_process"] == {"answers": 1, "running": 0, "spent_usd": 0.25, "unsettled_answers": 0}
    assert data["key"]["label"] == "sandbox"
    assert data["credits"]["remaining_usd"] == 100.0


async def test_facts_of_upstream_are_one_line_each_and_bounded(upstream: Sandbox) -> None:
    large = {
        "label": "x\nlimit: 5" + "y" * 1_000_000,
        "limit": ["z"] * 100_000,
        "usage": {"a": 1},
        "limit_reset": None,
    }
    upstream.script(Reply.json({"data": large}), path="/key")
    result = await call(upstream, "account", {})
    assert len(text_of(result)) < 3_000
    key = data_of(result)["key"]
    assert key["label"].startswith("x limit: 5yyy")
    assert (key["usage"], key["limit_reset"]) == (None, None)


async def test_an_upstream_without_accounts_still_tells_what_was_spent(upstream: Sandbox) -> None:
    for path in ("/key", "/credits"):
        upstream.script(Reply.error(404, "Not found"), path=path)
    data = data_of(await call(upstream, "account", {}))
    assert data["this_process"]["answers"] == 0
    assert "key" not in data


@pytest.mark.parametrize("era", ERAS)
async def test_the_catalogue_is_a_resource_whose_ids_are_completed(upstream: Sandbox, era: Era) -> None:
    async with in_memory(upstream, era) as client:
        templates = await client.list_resource_templates()
        [template] = templates.resource_templates
        read = await client.read_resource("openrouter://models/sandbox/echo")
        assert json.loads(read.contents[0].model_dump()["text"])["id"] == "sandbox/echo"
        reference = ResourceTemplateReference(type="ref/resource", uri=template.uri_template)
        completed = await client.complete(reference, {"name": "model_id", "value": "sandbox/re"})
        assert completed.completion.values == ["sandbox/reasoner", "sandbox/refuser"]
        every = await client.complete(reference, {"name": "model_id", "value": ""})
        assert len(every.completion.values) <= 100


async def test_spending_counts_what_upstream_states_later(upstream: Sandbox) -> None:
    async with open_state(upstream) as state:
        stream = await state.streams.start({"model": "acme/m", "messages": []}, owner="local")
        stream.stop("cancelled")
        await stream.ended.wait()
        assert (state.spending.total_usd(), state.spending.answers()) == (0.0, 1)
        stream.settlement.is_sought = True
        state.spending.note_end(stream)
        assert state.spending.unsettled() == 1
        stream.settlement.state({"cost": 0.5})
        assert (state.spending.total_usd(), state.spending.unsettled()) == (0.5, 0)
