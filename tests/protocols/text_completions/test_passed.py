"""The older completions: chunks as upstream sent them, whole replies made of them, ends that are true."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import openai
import pytest

from client.config import PROTOCOLS
from client.sandbox import DONE, HangUp, Hold, Reply, Sandbox
from server.config import Config
from tests.support.chunks import USAGE, event
from tests.support.completions import MOUNTS, frames_in
from tests.support.process import running_server
from tests.support.serving import Api, changed, serving
from tests.support.sse_reader import parse_events, text_of

PATH = "/completions"
ASKED = {"model": "acme/m", "prompt": "Once", "max_tokens": 9, "suffix": "end", "odd": {"a": 1}}
HEAD = {"id": "gen-1", "object": "text_completion", "created": 7, "model": "acme/m-1", "provider": "Acme"}


@pytest.fixture
def config(config: Config) -> Config:
    """An upstream that has all protocols."""
    return changed(config, "upstream", protocols=PROTOCOLS, max_retries=0)


def piece(text: str, finish: str | None = None, logprobs: Any = None, **top: Any) -> bytes:
    choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": finish}
    return event({**HEAD, "choices": [choice], **top})


def probable(token: str) -> dict[str, Any]:
    return {"tokens": [token], "token_logprobs": [-0.5], "top_logprobs": None, "text_offset": [0]}


WHOLE = (piece("Hel"), piece("lo", logprobs=probable("lo")), piece("!", logprobs=probable("!")), piece("", "stop"))
USED = event({**HEAD, "choices": [], "usage": USAGE})


async def complete(
    api: Api, mount: str = "/v1", headers: dict[str, str] | None = None, **more: Any
) -> tuple[aiohttp.ClientResponse, bytes]:
    async with api.http.post(f"{api.url}{mount}{PATH}", json={**ASKED, **more}, headers=headers) as response:
        return response, await response.read()


@pytest.mark.parametrize("mount", MOUNTS)
async def test_chunks_come_back_byte_for_byte(mount: str, api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(*WHOLE, USED, DONE), path=PATH)
    response, body = await complete(api, mount, stream=True, grace_s=1)
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    assert body == b"".join((*WHOLE, USED, DONE))
    assert upstream.calls[0].json == {**ASKED, "stream": True}
    stream = api.streams.kept_of("local", 1)[0]
    assert (stream.protocol, stream.finish_reason, stream.settlement.total_cost) == ("completions", "stop", 0.001)
    async with api.http.get(f"{api.url}/chat/{stream.id}") as typed:
        events = parse_events(await typed.read())
    assert text_of(events) == "Hello!"
    assert events[-1].data["completed"] is True


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("is_whole", [False, True], ids=["streamed", "whole"])
async def test_a_whole_reply_is_one_completion(mount: str, is_whole: bool, api: Api, upstream: Sandbox) -> None:
    """Also where upstream does not stream."""
    choice = {"text": "Hello!", "index": 0, "finish_reason": "stop", "logprobs": None}
    told = Reply.json({**HEAD, "choices": [choice], "usage": USAGE})
    upstream.script(told if is_whole else Reply.stream(*WHOLE, USED, DONE), path=PATH)
    response, body = await complete(api, mount)
    assert response.status == 200
    found = json.loads(body)
    assert {name: found[name] for name in HEAD} == HEAD
    assert found["usage"]["cost"] == 0.001
    [choice] = found["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("Hello!", "stop")
    tokens = {"tokens": ["lo", "!"], "token_logprobs": [-0.5, -0.5], "text_offset": [0, 0]}
    assert choice["logprobs"] == (None if is_whole else tokens)
    assert upstream.calls[0].json["stream"] is True


@pytest.mark.parametrize("last", [HangUp(), piece("", error={"code": 502, "message": "lost"})], ids=["cut", "error"])
@pytest.mark.parametrize("mount", MOUNTS)
async def test_what_breaks_off_is_never_a_whole_answer(mount: str, last: Any, api: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(piece("Hel"), last), path=PATH)
    _, body = await complete(api, mount, stream=True)
    assert body.startswith(piece("Hel"))
    assert body.endswith(DONE)
    assert body.count(DONE) == 1
    errors = [frame["error"] for frame in frames_in(body) if frame.get("error")]
    assert len(errors) == 1
    response, body = await complete(api, mount)
    assert response.status == 502
    assert json.loads(body).keys() == {"error"}


async def test_text_beside_an_error_is_not_lost(api: Api, upstream: Sandbox) -> None:
    last = piece("lo", error={"code": 502, "message": "lost"})
    upstream.script(Reply.stream(piece("Hel"), last), path=PATH)
    _, body = await complete(api, stream=True)
    texts = [frame["choices"][0]["text"] for frame in frames_in(body) if frame.get("choices")]
    assert texts == ["Hel", "lo"]


async def test_whoever_leaves_ends_the_bill(api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(piece("Hel"), Hold()), path=PATH)
    async with api.http.post(f"{api.url}/v1{PATH}", json={**ASKED, "stream": True}) as response:
        await response.content.readuntil(b"\n\n")
    async with asyncio.timeout(10):
        await upstream.calls[0].closed.wait()
    assert upstream.calls[0].cancelled


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"model": 7}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"n": 2}, "n"),
        ({"grace_s": -1}, "grace_s"),
    ],
)
async def test_what_cannot_be_asked_is_told_by_its_field(
    more: dict[str, Any], field: str, api: Api, upstream: Sandbox
) -> None:
    response, body = await complete(api, **more)
    assert (response.status, json.loads(body)["error"]["param"]) == (400, field)
    assert not upstream.calls


@pytest.mark.parametrize("prompt", ["a", ["a"], [1, 2], [[1, 2]]])
async def test_a_prompt_is_one_text_however_it_is_given(prompt: Any, api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(*WHOLE, USED, DONE), path=PATH)
    response, _ = await complete(api, prompt=prompt)
    assert response.status == 200
    assert upstream.calls[0].json["prompt"] == prompt


async def test_without_a_model_it_is_the_servers(config: Config, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(*WHOLE, USED, DONE), path=PATH)
    async with serving(changed(config, "upstream", model="acme/default")) as api:
        await complete(api, model=None)
    assert upstream.calls[0].json["model"] == "acme/default"


async def read_into(texts: list[str], chunks: Any) -> None:
    async for chunk in chunks:
        texts += [choice.text for choice in chunk.choices]


async def test_openais_client_reads_the_sandboxs_models_and_their_faults() -> None:
    fast = {"sandbox": {"tokens_per_s": 0}}
    async with (
        running_server("--sandbox") as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        ask = client.completions.create
        whole = await ask(model="sandbox/reasoner", prompt="Why?", extra_body=fast)
        assert whole.choices[0].text == "You asked: Why?. Having thought about it, I agree."
        assert whole.usage is not None
        stream = await ask(model="sandbox/reasoner", prompt="Why?", stream=True, extra_body=fast)
        texts = [chunk.choices[0].text async for chunk in stream if chunk.choices]
        assert "".join(texts) == whole.choices[0].text
        with pytest.raises(openai.APIStatusError) as refused:
            await ask(model="sandbox/no-credits", prompt="Why?")
        assert refused.value.status_code == 402
        for model in ("sandbox/breaks", "sandbox/hangs-up"):
            with pytest.raises(openai.InternalServerError):
                await ask(model=model, prompt="Why?", extra_body=fast)
            broken = await ask(model=model, prompt="Why?", stream=True, extra_body=fast)
            texts = []
            with pytest.raises(openai.APIError):
                await read_into(texts, broken)
            assert "".join(texts) == "1 2 3 4 5 6 7 8 "
