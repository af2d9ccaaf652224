"""Every model of the sandbox, asked over a real socket."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from client.sandbox import COMMENT, DONE, PADDING, Sandbox, open_sandbox
from client.sandbox.models.answers import sign_thinking
from client.sandbox.models.catalogue import MODELS
from client.sandbox.models.prose import MARKDOWN

UNLIKE = {"echo", "rate-limited", "no-credits", "breaks", "hangs-up", "stalls"}
"""Models that do not give the same answer streamed and whole."""
TOOL = {
    "type": "function",
    "function": {
        "name": "get_tide",
        "parameters": {
            "type": "object",
            "properties": {"port": {"type": "string"}, "day": {"type": "string", "format": "date"}},
            "required": ["port", "day"],
        },
    },
}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with open_sandbox(settle_s=0) as running:
        yield running


def question(model: str, stream: bool = True, **fields: Any) -> dict[str, Any]:
    knobs = {"tokens_per_s": 0, **fields.pop("sandbox", {})}
    messages = fields.pop("messages", [{"role": "user", "content": "Why is the sky blue?"}])
    return {
        "model": f"sandbox/{model}",
        "stream": stream,
        "messages": messages,
        "sandbox": knobs,
        **fields,
    }


def read_chunks(body: bytes) -> list[dict[str, Any]]:
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event.startswith(b"data: ")]
    return [json.loads(event) for event in events if event != b"[DONE]"]


async def stream(http: aiohttp.ClientSession, model: str, **fields: Any) -> list[dict[str, Any]]:
    """The chunks of a stream that must be whole."""
    async with http.post("chat/completions", json=question(model, **fields)) as response:
        body = await response.read()
        assert response.status == 200, body
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
    chunks = read_chunks(body)
    assert body.startswith(COMMENT)
    assert body.endswith(DONE)
    assert {chunk["id"] for chunk in chunks} == {response.headers["X-Generation-Id"]}
    return chunks


async def ask(http: aiohttp.ClientSession, model: str, **fields: Any) -> dict[str, Any]:
    """The message of a reply that is not streamed."""
    async with http.post("chat/completions", json=question(model, stream=False, **fields)) as response:
        assert response.status == 200
        body = await response.read()
    assert body.startswith(PADDING)
    message: dict[str, Any] = json.loads(body)["choices"][0]["message"]
    return message


async def refused(http: aiohttp.ClientSession, body: Any) -> dict[str, Any]:
    """The error of a request that is refused, with the status under `status`."""
    async with http.post("chat/completions", json=body) as response:
        error: dict[str, Any] = (await response.json())["error"]
    assert error["code"] == response.status
    return error


def text(chunks: list[dict[str, Any]], key: str = "content") -> str:
    return "".join(chunk["choices"][0]["delta"].get(key) or "" for chunk in chunks)


def collect(chunks: list[dict[str, Any]], key: str) -> list[Any]:
    return [item for chunk in chunks for item in chunk["choices"][0]["delta"].get(key) or []]


def finish(chunks: list[dict[str, Any]]) -> list[str]:
    reasons = (chunk["choices"][0]["finish_reason"] for chunk in chunks)
    return [reason for reason in reasons if reason]


async def test_echo_answers_with_the_request_as_it_arrived(http: aiohttp.ClientSession) -> None:
    sent = question("echo", provider={"sort": "price"}, unheard_of="ünïcode 🚀")
    async with http.post("chat/completions", json=sent) as response:
        assert json.loads(text(read_chunks(await response.read()))) == sent


async def test_a_lone_surrogate_is_echoed_and_not_a_crash(http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "echo", odd="\ud83d")
    assert json.loads(text(chunks))["odd"] == "\ud83d"


async def test_the_finish_is_said_again_on_the_usage_chunk(http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "echo")
    assert finish(chunks) == ["stop", "stop"]
    assert [("usage" in chunk) for chunk in chunks[-2:]] == [False, True]
    usage = chunks[-1]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    expected = usage["prompt_tokens"] * 1e-7 + usage["completion_tokens"] * 4e-7
    assert usage["cost"] == pytest.approx(expected)


async def test_reasoner_thinks_and_then_answers(http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "reasoner")
    details = collect(chunks, "reasoning_details")
    thoughts = text(chunks, "reasoning")
    assert thoughts.startswith("Thought 1")
    assert "".join(detail.get("text", "") for detail in details) == thoughts
    assert details[-1]["signature"] == sign_thinking(thoughts)
    assert {detail["index"] for detail in details} == {0}
    assert "Why is the sky blue?" in text(chunks)
    tokens = chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert 0 < tokens < chunks[-1]["usage"]["completion_tokens"]


@pytest.mark.parametrize("off", [{"reasoning": {"enabled": False}}, {"reasoning_effort": "none"}])
async def test_reasoner_does_not_think_when_told_so(http: aiohttp.ClientSession, off: dict[str, Any]) -> None:
    chunks = await stream(http, "reasoner", **off)
    assert not text(chunks, "reasoning")
    assert chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_excluded_reasoning_is_billed_but_not_shown(http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "reasoner", reasoning={"effort": "high", "exclude": True})
    assert not text(chunks, "reasoning")
    assert not collect(chunks, "reasoning_details")
    assert chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


async def test_thinking_may_come_back_untouched_but_not_altered(http: aiohttp.ClientSession) -> None:
    first = await ask(http, "reasoner")
    again = [{"role": "user", "content": "a"}, first, {"role": "user", "content": "b"}]
    assert "b" in (await ask(http, "reasoner", messages=again))["content"]
    first["reasoning_details"][0]["text"] += "!"
    error = await refused(http, question("reasoner", messages=again))
    assert error["code"] == 400
    assert "Invalid `signature`" in error["message"]


async def test_efforts_that_differ_are_refused(http: aiohttp.ClientSession) -> None:
    body = question("reasoner", reasoning={"effort": "low"}, reasoning_effort="high")
    assert (await refused(http, body))["code"] == 400


async def test_tools_calls_the_first_function_and_uses_its_result(http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "tools", tools=[TOOL])
    first, *rest = collect(chunks, "tool_calls")
    assert finish(chunks) == ["tool_calls", "tool_calls"]
    assert (first["function"], first["type"]) == ({"name": "get_tide", "arguments": ""}, "function")
    arguments = "".join(fragment["function"]["arguments"] for fragment in rest)
    assert len(rest) > 1
    assert json.loads(arguments) == {"port": "Oslo", "day": "2026-01-31"}

    call = {"id": first["id"], "type": "function", "function": {"name": "get_tide", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": first["id"], "content": "High at noon"},
    ]
    assert text(await stream(http, "tools", tools=[TOOL], messages=messages)) == ("get_tide answered: High at noon")


async def test_tools_answers_in_text_without_a_function(http: aiohttp.ClientSession) -> None:
    assert text(await stream(http, "tools"))
    assert text(await stream(http, "tools", tools=[TOOL], tool_choice="none"))


async def test_search_cites_and_charges_for_it(http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "search")
    citations = collect(chunks, "annotations")
    assert [citation["url_citation"]["title"] for citation in citations] == ["Page 1", "Page 2"]
    assert "[1]" in text(chunks)
    assert chunks[-1]["usage"]["server_tool_use_details"]["web_search_requests"] == 1
    assert chunks[-1]["usage"]["cost"] > 0.005


async def test_painter_returns_a_png_that_decodes(http: aiohttp.ClientSession) -> None:
    (image,) = collect(await stream(http, "painter"), "images")
    head, _, data = image["image_url"]["url"].partition(",")
    png = base64.b64decode(data)
    assert head == "data:image/png;base64"
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    start = png.index(b"IDAT")
    length = int.from_bytes(png[start - 4 : start])
    assert len(zlib.decompress(png[start + 4 : start + 4 + length])) == 16 * (1 + 16 * 3)


async def test_refuser_refuses_in_the_refusal_field(http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "refuser")
    assert text(chunks, "refusal") == "I'm sorry, but I can't help with that."
    assert text(chunks) == ""
    assert finish(chunks) == ["stop", "stop"]


async def test_long_is_two_thousand_tokens(http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "long")
    assert text(chunks).split() == [str(number) for number in range(1, 2001)]
    assert chunks[-1]["usage"]["completion_tokens"] == 2000


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens"])
async def test_the_callers_limit_ends_the_answer(http: aiohttp.ClientSession, key: str) -> None:
    chunks = await stream(http, "long", **{key: 3})
    assert (text(chunks), finish(chunks)) == ("1 2 3 ", ["length", "length"])


async def test_no_credits_is_a_402(http: aiohttp.ClientSession) -> None:
    error = await refused(http, question("no-credits", max_tokens=500))
    assert error["code"] == 402
    assert "requires more credits, or fewer max_tokens" in error["message"]
    assert error["metadata"]["limit_source"] == "openrouter_credits"


async def test_rate_limited_answers_on_the_third_try(http: aiohttp.ClientSession) -> None:
    for _ in range(2):
        async with http.post("chat/completions", json=question("rate-limited")) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "1")
    assert text(await stream(http, "rate-limited"))
    assert (await refused(http, question("rate-limited")))["code"] == 429


async def test_breaks_reports_an_error_after_some_tokens(http: aiohttp.ClientSession) -> None:
    async with http.post("chat/completions", json=question("breaks", sandbox={"after_tokens": 2})) as response:
        assert response.status == 200
        *before, last = read_chunks(body := await response.read())
    assert text(before) == "1 2 "
    assert (last["choices"], last["error"]["code"]) == ([], 502)
    assert DONE not in body


async def test_breaks_reports_it_in_a_200_when_not_streamed(http: aiohttp.ClientSession) -> None:
    async with http.post("chat/completions", json=question("breaks", stream=False)) as response:
        assert response.status == 200
        assert json.loads(await response.read())["error"]["code"] == 502


@pytest.mark.parametrize("streamed", [True, False])
async def test_hangs_up_cuts_the_answer(http: aiohttp.ClientSession, streamed: bool) -> None:
    async with http.post("chat/completions", json=question("hangs-up", streamed)) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_stalls_is_silent_until_its_caller_leaves(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    body = question("stalls", sandbox={"after_tokens": 2})
    async with http.post("chat/completions", json=body) as response:
        seen = b""
        while b'"2 "' not in seen:
            seen += await response.content.readany()
        response.close()
    call = await sandbox.wait_call()
    await call.closed.wait()
    assert call.cancelled
    generation = await show_generation(http, call.generation_id)
    assert generation["cancelled"] is True
    assert generation["tokens_completion"] == 2


async def show_generation(http: aiohttp.ClientSession, generation_id: str | None) -> dict[str, Any]:
    async with http.get("generation", params={"id": str(generation_id)}) as response:
        assert response.status == 200
        data: dict[str, Any] = (await response.json())["data"]
    return data


async def test_a_finished_answer_can_be_looked_up(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "echo")
    generation = await show_generation(http, chunks[0]["id"])
    assert generation["total_cost"] == chunks[-1]["usage"]["cost"]
    assert (generation["cancelled"], generation["finish_reason"]) == (False, "stop")
    assert (await sandbox.wait_call()).generation_id == generation["id"]


async def test_an_answer_not_streamed_is_billed_whole_though_its_caller_left(
    sandbox: Sandbox, http: aiohttp.ClientSession
) -> None:
    body = question("long", stream=False, sandbox={"tokens_per_s": 1})
    async with http.post("chat/completions", json=body) as response:
        await response.content.readany()
        response.close()
    call = await sandbox.wait_call()
    await call.closed.wait()
    generation = await show_generation(http, call.generation_id)
    assert (generation["tokens_completion"], generation["cancelled"]) == (2000, False)


async def test_an_answer_is_unknown_until_it_has_settled() -> None:
    async with open_sandbox(settle_s=3600) as sandbox, aiohttp.ClientSession(sandbox.base_url + "/") as http:
        chunks = await stream(http, "refuser")
        async with http.get("generation", params={"id": chunks[0]["id"]}) as response:
            assert response.status == 404
            assert (await response.json())["error"]["code"] == 404


@pytest.mark.parametrize("slug", sorted({model["id"].removeprefix("sandbox/") for model in MODELS} - UNLIKE))
async def test_streamed_and_whole_answers_say_the_same(http: aiohttp.ClientSession, slug: str) -> None:
    chunks, message = await stream(http, slug, tools=[TOOL]), await ask(http, slug, tools=[TOOL])
    assert (message["content"] or "") == text(chunks)
    assert (message["reasoning"] or "") == text(chunks, "reasoning")
    assert (message["refusal"] or "") == text(chunks, "refusal")
    assert message.get("images", []) == collect(chunks, "images")
    assert message.get("annotations", []) == collect(chunks, "annotations")


async def test_an_unknown_model_is_refused(http: aiohttp.ClientSession) -> None:
    assert (await refused(http, question("nobody")))["message"] == "sandbox/nobody is not a valid model ID"


async def test_the_next_model_answers_when_the_first_refuses(http: aiohttp.ClientSession) -> None:
    chunks = await stream(http, "no-credits", models=["sandbox/refuser"])
    assert chunks[0]["model"].startswith("sandbox/refuser")


@pytest.mark.parametrize(
    "knobs",
    [{"tokens_per_s": -1}, {"tokens_per_s": "x"}, {"tokens": 1.5}, {"tokens": True}, {"nonsense": 1}],
)
async def test_a_bad_knob_is_refused(http: aiohttp.ClientSession, knobs: dict[str, Any]) -> None:
    error = await refused(http, question("long", sandbox=knobs))
    assert error["code"] == 400
    assert "sandbox" in error["message"]


@pytest.mark.parametrize(
    "fields", [{"messages": []}, {"messages": "hi"}, {"max_tokens": 0}, {"max_tokens": "9"}, {"model": 7}]
)
async def test_a_bad_request_is_refused(http: aiohttp.ClientSession, fields: dict[str, Any]) -> None:
    assert (await refused(http, {**question("echo"), **fields}))["code"] == 400


async def test_a_body_that_is_no_object_is_refused(http: aiohttp.ClientSession) -> None:
    assert (await refused(http, [1]))["code"] == 400
    async with http.post("chat/completions", data=b"{") as response:
        assert response.status == 400


async def test_comments_fill_the_time_to_the_first_token(http: aiohttp.ClientSession) -> None:
    body = question("refuser", sandbox={"comments": 5, "first_token_delay_s": 0.01})
    async with http.post("chat/completions", json=body) as response:
        assert (await response.read()).startswith(COMMENT * 5 + b"data:")


async def test_silence_before_anything_is_sent(http: aiohttp.ClientSession) -> None:
    body = question("refuser", sandbox={"first_token_s": 3600})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await http.post("chat/completions", json=body)


async def test_markdown_holds_what_a_page_must_cope_with(http: aiohttp.ClientSession) -> None:
    answer = text(await stream(http, "markdown"))
    assert answer == MARKDOWN
    assert len(set(re.findall(r"^```(\w+)$", answer, re.MULTILINE))) == 5
    for piece in (
        "# ",
        "   - ",
        "| ",
        "$$",
        "\\(",
        "<script>",
        "](javascript:",
        "](https://example.com/pixel",
        "مرحبا",
    ):
        assert piece in answer


async def test_a_paced_answer_arrives_in_pieces(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    body = question("long", sandbox={"tokens_per_s": 200, "tokens": 5})
    async with http.post("chat/completions", json=body) as response:
        seen = b""
        while b'"1 "' not in seen:
            seen += await response.content.readany()
        call = await sandbox.wait_call()
        assert not call.closed.is_set()
        assert (seen + await response.read()).endswith(DONE)


async def test_a_caller_who_does_not_read_holds_the_answer_back(
    sandbox: Sandbox, http: aiohttp.ClientSession
) -> None:
    body = question("long", sandbox={"tokens": 1_000_000})
    async with http.post("chat/completions", json=body) as response:
        await response.content.readany()
        call = await sandbox.wait_call()
        assert not call.closed.is_set()
        response.close()
    await call.closed.wait()
    assert call.cancelled
    assert call.bytes_sent < 100_000_000


@pytest.mark.parametrize("schema", [{"properties": 7}, {"properties": {"a": {"enum": 3}}}, {"required": [[]]}])
async def test_a_function_without_a_schema_worth_the_name_is_refused(
    http: aiohttp.ClientSession, schema: dict[str, Any]
) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert (await refused(http, question("tools", tools=[tool])))["code"] == 400


async def test_a_request_that_the_sandbox_cannot_cope_with_is_a_500_in_the_error_shape(
    http: aiohttp.ClientSession,
) -> None:
    messages = [{"role": "assistant", "tool_calls": [{"function": 7}]}, {"role": "tool", "content": "x"}]
    assert (await refused(http, question("tools", messages=messages)))["code"] == 500
