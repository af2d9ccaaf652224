"""The table of wire cases in Responses: as events, and whole; read along, and again from any place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from client.streams.raw_log import records_of
from client.translation.reasoning import ReasoningMerger
from server.config import Config
from server.protocols.responses.reasoning import replayed
from server.protocols.responses.view import view_of
from tests.protocols.wire_cases import BREAKS, CASES, Call, Said
from tests.streams.test_raw_log import STREAMS, Both
from tests.support.responses import ENDS, Kept, Reader, asking, events_in, respond, response_in, texts_in
from tests.support.serving import Api, changed, serving

CODES = {"rate_limited": "rate_limit_exceeded", "insufficient_credits": "insufficient_quota"}


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again; answers can be read again."""
    config = changed(config, "upstream", max_retries=0)
    async with serving(changed(config, "streams", retain_s=60)) as running:
        yield running


async def test_events_and_objects_say_what_the_table_says(once: Api, upstream: Sandbox) -> None:
    """traps 2, 6, 7"""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps), Reply.stream(*case.steps))
        response, body = await respond(once)
        refused, whole = await respond(once, asking(stream=False))
        if response.status != 200:
            assert case.said.error is not None, name
            assert json.loads(body)["error"]["metadata"]["type"] == case.said.error, name
            assert refused.status == response.status
            continue
        read = Reader().read(events_in(body)).response
        assert read is not None, name
        assert_says(read, case.said, name)
        _, found = await once.request("GET", f"/v1/responses/{read['id']}")
        assert json.loads(found) == read, name
        if name in BREAKS:
            assert refused.status >= (400 if case.said.error in CODES else 500), name
            assert json.loads(whole).keys() == {"error"}
        else:
            assert refused.status == 200
            assert neutral(response_in(json.loads(whole))) == neutral(read), name


async def test_streams_of_chat_read_in_this_protocol(once: Api, upstream: Sandbox) -> None:
    """Of typed events less can be told where details are concerned: they are together, at the end."""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        refused, events = await once.chat()
        if refused.status != 200:
            continue
        stream_id = events[0].id.partition(":")[0]
        _, body = await once.request("GET", f"/v1/responses/{stream_id}?stream=true")
        read = Reader().read(events_in(body)).response
        assert read is not None
        assert_says(read, case.said, name)
        assert read["id"] == f"resp_{stream_id}"


@pytest.mark.parametrize("name", CASES)
def test_records_may_come_in_any_pieces(name: str) -> None:
    both = Both().receive(CASES[name].body).end()
    for kept, log in ((Kept(holds_chunks=True), both.records), (Kept(holds_chunks=False), both.events)):
        whole = view_of(kept).view(log)
        records = [record + b"\n\n" for record in log.split(b"\n\n")[:-1]]
        view = view_of(kept)
        assert b"".join(map(view.view, records)) == whole
        view = view_of(kept)
        middle = len(records) // 2
        assert view.view(b"".join(records[:middle])) + view.view(b"".join(records[middle:])) == whole
        events = events_in(whole)
        assert events[0][1]["response"]["metadata"] == {"a": "b"}
        for after in (0, 1, len(events) // 2, len(events) - 1, len(events)):
            rest = view_of(kept, after).view(log)
            assert events_in(rest, after) == events[after + 1 :]
            assert whole.endswith(rest)
    assert len(list(records_of(both.records))) > 0


def assert_says(read: dict[str, Any], said: Said, name: str) -> None:
    finish = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(said.finish or "")
    assert texts_in(read) == said.text, name
    assert texts_in(read, "refusal") == said.refusal, name
    thoughts = [item for item in read["output"] if item["type"] == "reasoning"]
    assert "".join(part["text"] for item in thoughts for part in item["summary"]) == said.thinking, name
    found = [item for item in read["output"] if item["type"] == "function_call"]
    calls = [Call(each["name"], each["arguments"], each["status"] == "completed") for each in found]
    told = [replace_call(call, is_whole=call.is_whole and said.error is None) for call in said.calls]
    assert calls == told, name
    assert sum(item["type"] == "image_generation_call" for item in read["output"]) == said.images, name
    parts = [part for item in read["output"] if item["type"] == "message" for part in item["content"]]
    assert sum(len(part.get("annotations", ())) for part in parts) == said.annotations, name
    assert (None if read["usage"] is None else read["usage"]["total_tokens"]) == said.total_tokens, name
    details = [entry for item in thoughts for entry in replayed(item).entries if replayed(item).is_exact]
    if said.error is None:
        assert merged(details) == list(said.details), name
    if said.error is not None:
        assert read["status"] == "failed", name
        assert read["error"]["type"] == said.error, name
        assert read["error"]["code"] == CODES.get(said.error, "server_error"), name
    else:
        assert read["status"] == ("completed" if finish is None else "incomplete"), name
        assert (read["incomplete_details"] or {}).get("reason") == finish, name


def replace_call(call: Call, *, is_whole: bool) -> Call:
    return call._replace(is_whole=is_whole)


def merged(entries: list[Any]) -> list[Any]:
    merger = ReasoningMerger()
    merger.add(entries)
    return merger.merged()


def neutral(response: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from one answer to the next."""
    text = json.dumps({**response, "created_at": 0}).replace(response["id"].removeprefix("resp_"), "S")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("name", STREAMS)
def test_odd_streams_keep_to_the_protocols_rules(name: str) -> None:
    """traps 5, 7: whatever upstream sends, there is one end, and every item and number in its place."""
    both = Both().receive(STREAMS[name]).end()
    for holds_chunks, log in ((True, both.records), (False, both.events)):
        read = Reader().read(events_in(view_of(Kept(holds_chunks=holds_chunks)).view(log)))
        assert read.response is not None
        assert read.kinds[-1] in ENDS
