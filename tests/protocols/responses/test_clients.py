"""Clients that people have, against a server whose upstream is asked in chat completions, and in Responses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import openrouter
import pytest

from client.sandbox import HangUp, Hold, Reply, Sandbox
from client.sandbox.script import Step
from client.sandbox.state import CHAT_PATH, RESPONSES_PATH
from server.config import Config
from tests.mcp.test_node import NODE, needed, run
from tests.protocols.responses.test_passed import told
from tests.support.chunks import DONE, END, STOP, call, calls, chunk, text
from tests.support.process import ROOT, running_server
from tests.support.proxies.cutting import cutting_relay
from tests.support.serving import Api, changed, serving

SCRIPT = ROOT / "tests" / "support" / "clients" / "responses.mjs"
PATHS = {"none": CHAT_PATH, "responses": RESPONSES_PATH}
"""By what upstream speaks beside chat completions."""
URL = "data:image/png;base64,iVBORw0KGgo="
SIGNED = {"type": "reasoning.text", "text": "hm", "signature": "sig", "format": "anthropic-claude-v1", "index": 0}
THINKING = chunk({"content": "", "reasoning": "hm", "reasoning_details": [SIGNED]})
CALLED = calls(call(0, "", "tide", "c1")) + calls(call(0, '{"port":"Oslo"}'))
LOST = chunk({}, error={"code": 502, "message": "Provider lost"})
TOOLS: list[Any] = [
    {"type": "function", "name": "tide", "parameters": {"type": "object", "properties": {}}, "strict": False}
]


def said(speaks: str, body: bytes, *steps: Step) -> Reply:
    """A reply of upstream, in what it speaks; `steps` break it off."""
    if speaks == "none":
        return Reply.stream(body, *steps)
    events = told(body)
    if steps:
        events = events[: events.index(b"event: response.failed")]
    return Reply.stream(events, *(steps or (DONE,)))


def replies(speaks: str) -> dict[str, list[Reply]]:
    """What upstream says to each question."""
    whole = said(speaks, THINKING + text("Hello") + STOP + END)
    long = b"".join(text(f"{number} ") for number in range(60))
    called = said(speaks, THINKING + CALLED + chunk({}, "tool_calls") + END)
    return {
        "text": [said(speaks, THINKING + text("Hel") + text("lo 🚀\u2028") + STOP + END)],
        "call": [called],
        "unstored": [called, said(speaks, text("High.") + STOP + END)],
        "turn": [said(speaks, text("High.") + STOP + END)],
        "picture": [said(speaks, text("Look") + STOP + END)],
        "refused": [Reply.error(402, "This request requires more credits")],
        "failed": [said(speaks, text("Hel") + LOST + DONE)],
        "cut": [said(speaks, text("Hel"), HangUp())],
        "short": [said(speaks, calls(call(0, '{"port": "Os', "tide", "c1")) + chunk({}, "length") + END)],
        "whole": [whole],
        "left": [said(speaks, text("a") + text("b") + text("c"), Hold())],
        "resumed": [said(speaks, long + STOP + END)],
        "stopped": [said(speaks, text("a") + text("b"), Hold())],
    }


OF_OPENAI = ("text", "call", "turn", "picture", "refused", "failed", "cut", "whole", "left", "resumed", "stopped")
OF_AI_SDK = ("text", "call", "turn", "unstored", "picture", "refused", "failed", "cut", "short", "whole", "left")


@pytest.mark.parametrize("speaks", PATHS)
async def test_clients_from_npm_see_what_upstream_said(speaks: str, upstream: Sandbox) -> None:
    """traps 2, 5, 6, 8, 9, 10"""
    for package in ("openai", "@ai-sdk/openai", "ai"):
        needed(package)
    scripted = replies(speaks)
    order = [(client, name) for client, names in (("openai", OF_OPENAI), ("ai", OF_AI_SDK)) for name in names]
    upstream.script(*(reply for _, name in order for reply in scripted[name]), path=PATHS[speaks])
    env = {
        "OPENROUTER_BASE_URL": upstream.base_url,
        "OPENROUTER_API_KEY": "k",
        "OPENROUTER_MAX_RETRIES": "0",
        "OPENROUTER_PROTOCOLS": speaks,
    }
    async with running_server(env=env) as server, cutting_relay(server.port, *([6000] * 12)) as relay:
        code, printed = await run(NODE, SCRIPT, server.url, relay.url)
        assert code == 0
        await upstream.calls[-1].closed.wait()
        assert relay.cuts >= 2
    found: dict[str, Any] = json.loads(printed)
    for client in ("openai", "@ai-sdk/openai"):
        seen = found[client]
        assert (seen["text"]["text"], seen["text"]["thinking"]) == ("Hello 🚀\u2028", "hm"), client
        assert (seen["text"]["usage"], seen["text"]["error"]) == (5, None), client
        (called,) = seen["call"]["calls"]
        assert (called["name"], called["arguments"]) == ("tide", '{"port":"Oslo"}')
        assert seen["picture"]["text"] == "Look"
        assert "more credits" in seen["refused"]["error"]
        for question, words in (("failed", "Provider lost"), ("cut", "in the middle")):
            assert (seen[question]["text"], words in seen[question]["error"]) == ("Hel", True), (
                client,
                seen[question],
            )
        assert (seen["whole"]["text"], seen["whole"]["usage"]) == ("Hello", 5)
        assert seen["left"]["text"] == "abc"
    ours, theirs = found["openai"], found["@ai-sdk/openai"]
    assert ours["text"]["cost"] == ours["whole"]["cost"] == 0.001
    assert ours["refused"]["status"] == 402
    assert ours["turn"]["text"] == theirs["call"]["text"] == theirs["unstored"]["text"] == "High."
    assert ours["resumed"]["text"] == "".join(f"{number} " for number in range(60))
    assert ours["resumed"]["numbers"] == list(range(len(ours["resumed"]["numbers"])))
    assert (ours["stopped"]["finish"], ours["stopped"]["text"], ours["stopped"]["status"]) == ("cancelled", "ab", 404)
    assert (theirs["short"]["calls"], theirs["short"]["finish"]) == ([], "length")
    asked = dict(
        zip([(each, place) for each in order for place in _places(each[1], scripted)], upstream.calls, strict=True)
    )
    for client, name, place in (("openai", "turn", 0), ("ai", "turn", 0), ("ai", "unstored", 1)):
        _check_turn(speaks, asked[(client, name), place].json)
    for client in ("openai", "ai"):
        assert URL in json.dumps(asked[(client, "picture"), 0].json)
        assert asked[(client, "left"), 0].cancelled
    assert asked[("openai", "stopped"), 0].cancelled


def _places(name: str, scripted: dict[str, list[Reply]]) -> range:
    return range(len(scripted[name]))


def _check_turn(speaks: str, body: dict[str, Any]) -> None:
    """The second request holds what the model said before, thinking as it gave it."""
    if speaks == "none":
        (turn,) = [each for each in body["messages"] if each["role"] == "assistant"]
        assert turn["reasoning_details"] == [SIGNED]
        assert turn["tool_calls"][0]["function"] == {"name": "tide", "arguments": '{"port":"Oslo"}'}
        assert body["messages"][-1] == {"role": "tool", "tool_call_id": "c1", "content": "high"}
        return
    kinds = [item.get("type", "message") for item in body["input"]]
    assert kinds[-3:] == ["reasoning", "function_call", "function_call_output"], kinds
    assert body["input"][-2]["name"] == "tide"


# -- OpenAI's client for Python -----------------------------------------------------------------------------------


@pytest.fixture(params=PATHS)
def speaks(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
async def api(speaks: str, config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again."""
    protocols = () if speaks == "none" else (speaks,)
    config = changed(config, "upstream", max_retries=0, protocols=protocols)
    async with serving(changed(config, "streams", grace_s=600, max_grace_s=600, retain_s=60)) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0) as ready:
        yield ready


async def test_openai_streams_calls_and_goes_on(speaks: str, client: openai.AsyncOpenAI, upstream: Sandbox) -> None:
    """traps 4, 5, 6"""
    scripted = replies(speaks)
    questions = ("text", "call", "turn", "picture", "whole")
    upstream.script(*(reply for name in questions for reply in scripted[name]), path=PATHS[speaks])
    async with client.responses.stream(model="acme/m", input="Why?") as events:
        kinds = [event.type async for event in events]
        final = await events.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert (final.output_text, final.output[0].type) == ("Hello 🚀\u2028", "reasoning")
    assert final.usage is not None
    assert (final.usage.total_tokens, final.usage.cost) == (5, 0.001)  # type: ignore[attr-defined]
    ask: Any = {"role": "user", "content": "Why?"}
    async with client.responses.stream(model="acme/m", input=[ask], tools=TOOLS) as events:
        final = await events.get_final_response()
    result = {"type": "function_call_output", "call_id": "c1", "output": "high"}
    turn: Any = [ask, *(item.model_dump(exclude_none=True) for item in final.output), result]
    assert (await client.responses.create(model="acme/m", input=turn, tools=TOOLS)).output_text == "High."
    _check_turn(speaks, upstream.calls[2].json)
    pictured: Any = [{"role": "user", "content": [{"type": "input_image", "image_url": URL, "detail": "auto"}]}]
    assert (await client.responses.create(model="acme/m", input=pictured)).output_text == "Look"
    found = await client.responses.create(model="acme/m", input="Why?", metadata={"a": "b"})
    assert (found.output_text, found.status, found.error) == ("Hello", "completed", None)
    assert found.usage is not None
    assert found.usage.total_tokens == 5


async def test_openai_is_told_of_failures(speaks: str, client: openai.AsyncOpenAI, upstream: Sandbox) -> None:
    """traps 2, 8"""
    scripted = replies(speaks)
    questions = ("refused", "failed", "cut", "failed", "cut")
    upstream.script(*(reply for name in questions for reply in scripted[name]), path=PATHS[speaks])
    with pytest.raises(openai.APIStatusError, match="more credits") as refused:
        await client.responses.create(model="acme/m", input="Why?", stream=True)
    assert (refused.value.status_code, bool(refused.value.request_id)) == (402, True)
    for words in ("Provider lost", "in the middle"):
        events = [event async for event in await client.responses.create(model="acme/m", input="Why?", stream=True)]
        assert events[-1].type == "response.failed"
        assert events[-1].response.error is not None
        assert words in events[-1].response.error.message
    with pytest.raises(RuntimeError, match="completed"):
        async with client.responses.stream(model="acme/m", input="Why?") as streamed:
            await streamed.get_final_response()
    with pytest.raises(openai.InternalServerError, match="in the middle"):
        await client.responses.create(model="acme/m", input="Why?")


async def test_trap_10_openai_resumes_through_a_relay_that_cuts(speaks: str, api: Api, upstream: Sandbox) -> None:
    upstream.script(*replies(speaks)["resumed"], path=PATHS[speaks])
    port = int(api.url.rsplit(":", 1)[1])
    numbers: list[int] = []
    content, response_id, status = "", "", ""
    async with (
        cutting_relay(port, 3500, *([2500] * 30)) as relay,
        openai.AsyncOpenAI(base_url=f"{relay.url}/v1", api_key="none", max_retries=0) as client,
    ):
        while status != "completed":
            try:
                events = (
                    await client.responses.retrieve(response_id, stream=True, starting_after=numbers[-1])
                    if response_id
                    else await client.responses.create(
                        model="acme/m", input="Why?", stream=True, background=True, store=True
                    )
                )
                async for event in events:
                    numbers.append(event.sequence_number)
                    if event.type == "response.output_text.delta":
                        content += event.delta
                    if event.type in ("response.created", "response.completed"):
                        response_id, status = event.response.id, event.response.status or ""
            except (openai.APIConnectionError, httpx.HTTPError):
                assert response_id, "cut before anything came"
    assert relay.cuts >= 3
    assert content == "".join(f"{number} " for number in range(60))
    assert numbers == list(range(len(numbers)))
    assert len(upstream.calls) == 1


async def test_openai_polls_stops_and_forgets(speaks: str, client: openai.AsyncOpenAI, upstream: Sandbox) -> None:
    upstream.script(*replies(speaks)["stopped"], path=PATHS[speaks])
    begun = await client.responses.create(model="acme/m", input="Why?", background=True)
    assert begun.status in ("queued", "in_progress")
    while (await client.responses.retrieve(begun.id)).output_text != "ab":
        continue
    assert (await client.responses.cancel(begun.id)).status == "cancelled"
    await client.responses.delete(begun.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(begun.id)
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(model="acme/m", input="Why?", previous_response_id=begun.id)
    assert refused.value.param == "previous_response_id"
    assert upstream.calls[0].cancelled


# -- OpenRouter's own ------------------------------------------------------------------------------------------


async def test_openrouters_sdk_knows_every_event(speaks: str, api: Api, upstream: Sandbox) -> None:
    scripted = replies(speaks)
    questions = ("text", "call", "failed", "cut", "whole")
    broke = said(speaks, text("Hel") + chunk({}, error={"code": 402, "message": "No credit"}) + DONE)
    pictured = said(speaks, chunk({"images": [{"type": "image_url", "image_url": {"url": URL}}]}) + STOP + END)
    queue = [reply for name in questions for reply in scripted[name]]
    upstream.script(*queue[:-1], broke, pictured, queue[-1], path=PATHS[speaks])
    async with openrouter.OpenRouter(api_key="none", server_url=f"{api.url}/api/v1") as sdk:
        ends = []
        for _ in range(6):
            stream = await sdk.beta.responses.send_async(model="acme/m", input="Why?", stream=True)
            async with stream:
                events = [event async for event in stream]
            kinds = [event.type for event in events]
            assert "UNKNOWN" not in kinds, kinds
            assert kinds[:2] == ["response.created", "response.in_progress"]
            ends.append(kinds[-1])
        assert ends == ["response.completed"] * 2 + ["response.failed"] * 3 + ["response.completed"]
        whole = await sdk.beta.responses.send_async(model="acme/m", input="Why?", stream=False)
    assert isinstance(whole, openrouter.components.OpenResponsesResult)
    assert isinstance(whole.usage, openrouter.components.Usage)
    assert (whole.status, whole.usage.cost) == ("completed", 0.001)
