"""Answers that began in other words, read as Chat Completions; and any answer, read again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import openai
import pytest

from client.sandbox import Hold, Reply, Sandbox
from client.streams.log_events import EventsOfChunks, EventsOfEvents
from client.streams.raw_log import TypedView, records_of
from server.config import Config
from server.protocols.chat_completions.made_chunks import MadeChunks
from server.protocols.chat_completions.view import OpenAiView
from tests.protocols.ag_ui.reading import run
from tests.protocols.chat_completions.test_wire_table import as_told, said_by
from tests.protocols.test_wire_cases import said_by as said_by_events
from tests.protocols.wire_cases import BREAKS, CASES, SIGNED
from tests.streams.test_raw_log import Both
from tests.support.chunks import END, HEAD, STOP, call, calls, chunk, text
from tests.support.completions import MOUNTS, complete, complete_whole, frames_in, text_in
from tests.support.serving import Api, changed, serving, with_tokens
from tests.support.sse_reader import parse_events, read_until


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again; answers can be read again."""
    config = changed(config, "upstream", max_retries=0)
    async with serving(changed(config, "streams", retain_s=60)) as running:
        yield running


def made(both: Both) -> bytes:
    """A typed log as one of chunks."""
    return MadeChunks(EventsOfEvents(), 7)(both.events)


@pytest.mark.parametrize("name", CASES)
def test_chunks_that_are_made_say_what_the_table_says(name: str) -> None:
    """traps 2, 5, 6, 7"""
    both = Both().receive(CASES[name].body).end()
    events = parse_events(TypedView("s").view(made(both)))
    assert replace(said_by_events(events), details=()) == replace(CASES[name].said, details=())
    frames = frames_in(OpenAiView().view(made(both)))
    thinking = "".join(_delta(frame).get("reasoning") or "" for frame in frames)
    assert thinking == CASES[name].said.thinking
    entries = [entry for frame in frames for entry in _delta(frame).get("reasoning_details", ())]
    told = "".join(entry.get("text") or entry.get("summary") or "" for entry in entries)
    assert told == CASES[name].said.thinking
    ends = [
        choice["finish_reason"] for frame in frames for choice in frame.get("choices", ()) if choice["finish_reason"]
    ]
    assert ends == ([] if name in BREAKS or CASES[name].said.finish is None else [CASES[name].said.finish])


@pytest.mark.parametrize("name", CASES)
def test_the_same_chunks_are_made_however_the_records_come(name: str) -> None:
    body = CASES[name].body
    both = Both().receive(*(body[at : at + 41] for at in range(0, len(body), 41))).end()
    events = [block + b"\n\n" for block in both.events.split(b"\n\n")[:-1]]
    convert = MadeChunks(EventsOfEvents(), 7)
    assert b"".join(map(convert, events)) == made(both)
    whole, convert = MadeChunks(EventsOfChunks(), 7)(both.records), MadeChunks(EventsOfChunks(), 7)
    assert b"".join(map(convert, both.batches)) == whole
    assert all(json.loads(data)["created"] == 7 for kind, data in records_of(whole) if kind is None)


def _delta(frame: dict[str, Any]) -> dict[str, Any]:
    choices = frame.get("choices")
    found: dict[str, Any] = choices[0]["delta"] if choices else {}
    return found


def test_a_signature_comes_under_the_index_of_its_text() -> None:
    both = Both().receive(CASES["Q37 signature alone"].body).end()
    frames = frames_in(OpenAiView().view(made(both)))
    entries = [entry for frame in frames for entry in _delta(frame).get("reasoning_details", ())]
    merged: dict[str, Any] = {}
    for entry in entries:
        assert (entry["type"], entry["index"]) == ("reasoning.text", 0)
        merged |= {**entry, "text": merged.get("text", "") + entry.get("text", "")}
    assert merged == SIGNED


def test_fragments_of_another_log_go_out_as_they_came() -> None:
    both = Both().receive(CASES["Q39 summary, then encrypted"].body).end()
    frames = frames_in(OpenAiView().view(MadeChunks(EventsOfChunks(), 7)(both.records)))
    entries = [entry for frame in frames for entry in _delta(frame).get("reasoning_details", ())]
    assert entries == list(CASES["Q39 summary, then encrypted"].said.details)


async def read_again(api: Api, mount: str, stream_id: str, query: str = "") -> tuple[int, bytes]:
    async with api.http.get(f"{api.url}{mount}/chat/completions/{stream_id}{query}") as response:
        assert response.headers.get("X-Stream-Id", stream_id) == stream_id
        return response.status, await response.read()


@pytest.mark.parametrize("mount", MOUNTS)
async def test_an_answer_of_chat_in_chunks_and_whole(mount: str, once: Api, upstream: Sandbox) -> None:
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        stream_id = (await once.chat())[0].headers["X-Stream-Id"]
        status, body = await read_again(once, mount, stream_id, "?stream=true")
        frames = frames_in(body)
        assert status == 200
        assert text_in(frames).encode("utf-16", "surrogatepass").decode("utf-16") == case.said.text, name
        errors = [frame["error"]["metadata"]["type"] for frame in frames if frame.get("error")]
        assert errors == ([] if case.said.error is None else [case.said.error]), name
        status, body = await read_again(once, mount, stream_id)
        if case.said.error is None:
            assert status == 200
            assert said_by(json.loads(body)) == replace(case.said, calls=as_told(case.said.calls)), name
        else:
            assert (status >= 400, json.loads(body)["error"]["metadata"]["type"]) == (True, case.said.error)


@pytest.mark.parametrize("mount", MOUNTS)
async def test_an_answer_in_chunks_is_read_again_byte_for_byte(mount: str, once: Api, upstream: Sandbox) -> None:
    sent = [chunk({"reasoning": "hm"}), text("Hi"), calls(call(0, "{}", "f", "a")), chunk({}, "tool_calls"), END]
    upstream.script(Reply.stream(*sent), Reply.stream(*sent))
    response, body = await complete(once, mount)
    stream_id = response.headers["X-Stream-Id"]
    assert await read_again(once, mount, stream_id, "?stream=true") == (200, body)
    _, whole = await complete_whole(once, mount)
    _, again = await read_again(once, mount, stream_id)
    changing = {"created", "usage"}
    found = {name: value for name, value in json.loads(again).items() if name not in changing}
    assert found == {name: value for name, value in whole.items() if name not in changing}


async def test_a_run_of_ag_ui_is_read_as_chunks(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), STOP, END))
    response, _ = await run(once)
    _, body = await read_again(once, "/v1", response.headers["X-Stream-Id"], "?stream=true")
    assert body == text("Hi") + STOP + END


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_running_answer_is_read_along_and_waited_for(mount: str, once: Api, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("H"), Hold(go_on), text("i"), STOP, END))
    async with once.http.post(f"{once.url}/chat", json={"message": "Why?", "model": "acme/m"}) as first:
        await read_until(first, b'"H"')
        path = f"{once.url}{mount}/chat/completions/{first.headers['X-Stream-Id']}"
        async with once.http.get(f"{path}?stream=true") as along:
            body = await read_until(along, b'"H"')
            waiting = asyncio.create_task(read_again(once, mount, first.headers["X-Stream-Id"]))
            go_on.set()
            body += await along.read()
        await first.read()
    assert text_in(frames_in(body)) == "Hi"
    status, found = await waiting
    assert (status, json.loads(found)["choices"][0]["message"]["content"]) == (200, "Hi")
    head = frames_in(body)[0]
    assert {name: head[name] for name in HEAD} == HEAD


async def test_a_stopped_answer_is_no_whole_one(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("H"), Hold()))
    async with once.http.post(f"{once.url}/chat", json={"message": "Why?", "model": "acme/m"}) as first:
        await read_until(first, b'"H"')
        stream_id = first.headers["X-Stream-Id"]
        await once.request("DELETE", f"/chat/{stream_id}")
    _, body = await read_again(once, "/api/v1", stream_id, "?stream=true")
    assert frames_in(body)[-1]["error"]["code"] == 499
    assert (await read_again(once, "/v1", stream_id))[0] == 499


@pytest.mark.parametrize("mount", MOUNTS)
async def test_what_is_somebody_elses_or_unknown_is_refused_in_the_mounts_words(
    mount: str, config: Config, upstream: Sandbox
) -> None:
    upstream.script(Reply.stream(text("Hi"), END))
    config = with_tokens(changed(config, "streams", retain_s=60), "one" * 11, "two" * 11)
    one, two = ({"Authorization": f"Bearer {token * 11}"} for token in ("one", "two"))
    async with serving(config) as api:
        async with api.http.post(f"{api.url}/chat", json={"message": "Why?"}, headers=one) as response:
            await response.read()
            stream_id = response.headers["X-Stream-Id"]
        for found, headers, status in ((stream_id, one, 200), (stream_id, two, 404), ("nobody", one, 404)):
            for query in ("", "?stream=true"):
                async with api.http.get(
                    f"{api.url}{mount}/chat/completions/{found}{query}", headers=headers
                ) as response:
                    assert response.status == status
                    if status == 404:
                        code = (await response.json())["error"]["code"]
                        assert code == (404 if mount == "/api/v1" else "not_found")


async def test_openais_client_retrieves_it(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(chunk({"reasoning": "hm", "content": "Hi"}), STOP, END))
    stream_id = (await once.chat())[0].headers["X-Stream-Id"]
    async with openai.AsyncOpenAI(base_url=f"{once.url}/v1", api_key="none", max_retries=0) as client:
        found = await client.chat.completions.retrieve(stream_id)
        assert found.choices[0].message.content == "Hi"
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.retrieve("nobody")


@pytest.mark.parametrize("model", ["sandbox/reasoner", "sandbox/tools", "sandbox/breaks"])
async def test_an_answer_that_upstream_gave_in_other_words_is_read_as_chunks(model: str, once: Api) -> None:
    asked = {"model": model, "max_tokens": 900, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    asked["tools"] = [
        {"name": "tide", "input_schema": {"type": "object", "properties": {"port": {"type": "string"}}}}
    ]
    async with once.http.post(f"{once.url}/v1/messages", json=asked) as response:
        assert b"message_start" in await response.read()
        stream_id = response.headers["X-Stream-Id"]
    frames = frames_in((await read_again(once, "/api/v1", stream_id, "?stream=true"))[1])
    assert all(frame["id"].startswith("gen-") and type(frame["created"]) is int for frame in frames)
    assert bool(frames[-1].get("error")) == (model == "sandbox/breaks")
    status, body = await read_again(once, "/v1", stream_id)
    assert status == (502 if model == "sandbox/breaks" else 200)
    if status == 200:
        message = json.loads(body)["choices"][0]["message"]
        assert text_in(frames) == (message["content"] or "")
        thought = [entry for frame in frames for entry in _delta(frame).get("reasoning_details", ())]
        signed = message.get("reasoning_details", [{}])[0]
        assert "".join(entry.get("text", "") for entry in thought) == signed.get("text", "")
        assert [entry["signature"] for entry in thought if "signature" in entry] == (
            [signed["signature"]] if signed else []
        )
        fragments = [piece for frame in frames for piece in _delta(frame).get("tool_calls", ())]
        told = "".join(piece["function"]["arguments"] for piece in fragments)
        assert told == "".join(each["function"]["arguments"] for each in message.get("tool_calls", ()))
