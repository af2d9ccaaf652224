"""Answers as the AI SDK's message stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import Hold, Reply, Sandbox
from client.streams.log_events import EventsOfChunks, EventsOfEvents
from client.translation.reasoning import ReasoningMerger
from server.config import Config
from server.protocols.ui_stream.view import CUT_CALL, UiView
from tests.protocols.wire_cases import CASES, PICTURE, Call, Said
from tests.support.chunks import DONE, END, STOP, USAGE, call, calls, chunk, event, text
from tests.support.serving import Api, changed, serving
from tests.support.sse_reader import read_until
from tests.support.ui_parts import ask, parts_in, posting, text_in


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again."""
    async with serving(changed(config, "upstream", max_retries=0)) as running:
        yield running


async def test_parts_say_what_the_table_says(once: Api, upstream: Sandbox) -> None:
    """traps 2, 3, 5, 6, 7: and every way in which the same log comes to a reader gives the same bytes."""
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        response, body = await ask(once)
        if case.said.error is not None and response.status != 200:
            assert "data:" not in body.decode()
            assert response.content_type == "text/plain", name
            continue
        said = _said_by(parts_in(body), case.said)
        assert said == case.said, name
        await _reads_the_same(once, response.headers["X-Stream-Id"], body)


async def _reads_the_same(api: Api, stream_id: str, body: bytes) -> None:
    stream = api.streams.get(stream_id, "local")
    assert stream is not None
    records, _ = await stream.log.read_after(0, 1 << 30)
    each = [record + b"\n\n" for record in records.split(b"\n\n")[:-1]]
    for size in (1, 2, len(each)):
        view = UiView(EventsOfChunks(), message_id=f"msg-{stream_id}", facts={"stream_id": stream_id})
        pieces = [view.view(b"".join(each[start : start + size])) for start in range(0, len(each), size)]
        assert b"".join(pieces) == body


async def test_a_log_of_typed_events_says_the_same(once: Api, upstream: Sandbox) -> None:
    for name, case in CASES.items():
        upstream.script(Reply.stream(*case.steps))
        async with once.http.post(f"{once.url}/chat", json={"message": "Why?"}) as response:
            events = await response.read()
        view = UiView(EventsOfEvents(), message_id=None, facts={})
        parts = parts_in(view.view(events))
        assert _said_by(parts, case.said) == case.said, name
        assert "messageId" not in parts[0]


def _said_by(parts: list[dict[str, Any]], expected: Said) -> Said:
    """What the parts say; a refusal is text here, and this protocol has no word for our type of an error."""
    last = parts[-1]
    metadata: dict[str, Any] = next((part["messageMetadata"] for part in parts[1:] if "messageMetadata" in part), {})
    finish = last.get("finishReason")
    whole = [part for part in parts if part["type"] in ("tool-input-available", "tool-input-error")]
    merger = ReasoningMerger()
    for part in parts:
        merger.add(part.get("providerMetadata", {}).get("openrouter", {}).get("reasoning_details", []))
    said = text_in(parts).encode("utf-16", "surrogatepass").decode("utf-16")
    if expected.refusal:
        assert finish == "content-filter"
    return Said(
        text="" if expected.refusal else said,
        refusal=said if expected.refusal else "",
        thinking=text_in(parts, "reasoning"),
        calls=tuple(map(_call_in, whole)),
        images=sum(part["type"] == "file" for part in parts),
        annotations=sum(part["type"] == "source-url" for part in parts),
        finish="stop" if expected.refusal else metadata.get("finish_reason") or _word(finish),
        error=expected.error if last["type"] == "error" else None,
        total_tokens=metadata.get("usage", {}).get("total_tokens"),
        details=tuple(merger.merged()),
    )


def _word(finish: str | None) -> str | None:
    return None if finish is None or finish == "other" else finish.replace("-", "_")


def _call_in(part: dict[str, Any]) -> Call:
    if part["type"] == "tool-input-error":
        assert part["errorText"] == CUT_CALL
        return Call(part["toolName"], part["input"], is_whole=False)
    arguments = json.dumps(part["input"])
    return Call(part["toolName"], arguments)


async def test_a_whole_answer_part_by_part(once: Api, upstream: Sandbox) -> None:
    details = [{"type": "reasoning.text", "text": "hm", "index": 0}, {"type": "reasoning.encrypted", "data": "x"}]
    sent = [
        chunk({"reasoning": "hm", "reasoning_details": details[:1]}),
        chunk({"content": "Hi", "reasoning_details": details[1:]}),
        calls(call(0, "", "tide", "c1")) + calls(call(0, '{"port":')) + calls(call(0, '"a"}')),
        chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.b", "title": "A"}}]}),
        chunk({"annotations": [{"type": "file", "file": {"hash": "h"}}], "images": [PICTURE]}),
        chunk({}, "tool_calls") + event({"choices": [], "usage": USAGE}) + DONE,
    ]
    upstream.script(Reply.stream(*sent))
    response, body = await ask(once)
    assert response.headers["X-Vercel-AI-UI-Message-Stream"] == "v1"
    assert (response.content_type, response.headers["Cache-Control"]) == ("text/event-stream", "no-cache")
    stream_id = response.headers["X-Stream-Id"]
    facts = {"stream_id": stream_id, "generation_id": "gen-1", "model": "acme/m", "provider": "Acme"}
    parts = parts_in(body)
    metadata = parts[-1].pop("messageMetadata")
    assert parts == [
        {"type": "start", "messageId": f"msg-{stream_id}", "messageMetadata": facts},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "reasoning-1"},
        {"type": "reasoning-delta", "id": "reasoning-1", "delta": "hm"},
        {
            "type": "reasoning-end",
            "id": "reasoning-1",
            "providerMetadata": {"openrouter": {"reasoning_details": details}},
        },
        {"type": "text-start", "id": "text-2"},
        {"type": "text-delta", "id": "text-2", "delta": "Hi"},
        {"type": "text-end", "id": "text-2"},
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "tide"},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"port":'},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '"a"}'},
        {"type": "source-url", "sourceId": "source-1", "url": "https://a.b", "title": "A"},
        {"type": "data-annotation", "data": {"type": "file", "file": {"hash": "h"}}},
        {"type": "file", "url": PICTURE["image_url"]["url"], "mediaType": "image/png"},  # type: ignore[index]
        {"type": "tool-input-available", "toolCallId": "c1", "toolName": "tide", "input": {"port": "a"}},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "tool-calls"},
    ]
    assert metadata["usage"].items() >= {**USAGE, "total_cost": 0.001}.items()


async def test_a_late_signature_stands_at_the_end_of_the_text(once: Api, upstream: Sandbox) -> None:
    late = {"type": "reasoning.text", "signature": "s", "index": 0}
    first = {"type": "reasoning.text", "text": "hm", "index": 0}
    sent = chunk({"reasoning": "hm", "reasoning_details": [first]}) + text("Hi")
    upstream.script(Reply.stream(sent, chunk({"content": "", "reasoning_details": [late]}), STOP, END))
    parts = parts_in((await ask(once))[1])
    ends = {part["type"]: part["providerMetadata"] for part in parts if part.get("providerMetadata")}
    assert ends == {
        "reasoning-end": {"openrouter": {"reasoning_details": [first]}},
        "text-end": {"openrouter": {"reasoning_details": [late]}},
    }


async def test_usage_goes_before_an_error(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), chunk({}, error={"code": 502, "message": "lost"}, usage=USAGE), DONE))
    *_, closed, told, error = parts_in((await ask(once))[1])
    assert closed["type"] == "text-end"
    assert told["messageMetadata"]["usage"]["cost"] == 0.001
    assert "lost" in error["errorText"]


async def test_audio_goes_out_as_it_comes(once: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(chunk({"audio": {"id": "a", "data": "QUJD"}}), STOP, END))
    parts = parts_in((await ask(once))[1])
    assert [part["data"]["data"] for part in parts if part["type"] == "data-audio"] == ["QUJD"]


async def test_silence_is_filled_with_comments_and_a_refusal_after_one_is_a_part(
    config: Config, upstream: Sandbox
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.error(402, "No credit").after(Hold(go_on)))
    async with (
        serving(changed(config, "server", ping_interval_s=0.02)) as api,
        api.http.post(f"{api.url}/api/chat", json=posting()) as response,
    ):
        body = await read_until(response, b": ping\n\n")
        go_on.set()
        body += await response.read()
    *_, last = parts_in(body)
    assert "No credit" in last["errorText"]


async def test_trap_17_a_large_picture_is_one_line(once: Api, upstream: Sandbox) -> None:
    url = "data:image/webp;base64," + "A" * 5_000_000
    upstream.script(Reply.stream(chunk({"images": [{"type": "image_url", "image_url": {"url": url}}]}), STOP, END))
    files = [part for part in parts_in((await ask(once))[1]) if part["type"] == "file"]
    assert files == [{"type": "file", "url": url, "mediaType": "image/webp"}]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", " javascript:alert(1)", "data:text/html,<script>", "vbscript:x"]
)
async def test_what_a_page_must_not_follow_goes_out_as_data(once: Api, upstream: Sandbox, url: str) -> None:
    """A page may make a link of a source, and of a file."""
    cited = {"type": "url_citation", "url_citation": {"url": url, "title": "t"}}
    pictures = [{"type": "image_url", "image_url": {"url": url}}] if not url.startswith("data:") else []
    upstream.script(Reply.stream(text("x"), chunk({"annotations": [cited], "images": pictures}), STOP, END))
    parts = parts_in((await ask(once))[1])
    assert not [part for part in parts if part["type"] in ("source-url", "file")]
    assert [part["data"] for part in parts if part["type"] == "data-annotation"] == [cited]
    assert [part["data"] for part in parts if part["type"] == "data-image"] == pictures
