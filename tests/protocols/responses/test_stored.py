"""Answers that are read again, polled, resumed, stopped and forgotten by their id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from tests.support.chunks import DONE, END, STOP, USAGE, call, calls, chunk, event, text
from tests.support.completions import complete
from tests.support.responses import Reader, asking, events_in, respond, response_in, texts_in
from tests.support.serving import Api, changed, serving, with_tokens
from tests.support.sse_reader import parse_events, read_until, text_of

MOUNTS = ("/v1", "/api/v1")


@pytest.fixture
async def patient(config: Config) -> AsyncIterator[Api]:
    """A server whose own streams go on for long with nobody who reads, and can be read again."""
    async with serving(changed(config, "streams", grace_s=600, max_grace_s=600, retain_s=60)) as running:
        yield running


async def get(api: Api, path: str, status: int = 200, method: str = "GET") -> Any:
    response, body = await api.request(method, path)
    assert response.status == status, body
    return json.loads(body)


@pytest.mark.parametrize("mount", MOUNTS)
async def test_trap_10_a_background_answer_is_resumed_behind_any_event(
    mount: str, patient: Api, upstream: Sandbox
) -> None:
    go_on = asyncio.Event()
    said = chunk({"reasoning": "hm"}) + text("Hel")
    upstream.script(Reply.stream(said, Hold(go_on), text("lo"), calls(call(0, "{}", "f", "a")), STOP, END))
    response = await patient.http.post(f"{patient.url}{mount}/responses", json=asking(background=True, store=True))
    body = await read_until(response, b'"Hel"')
    response.close()
    events = events_in(body)
    response_id = events[0][1]["response"]["id"]
    assert response_id == f"resp_{response.headers['X-Stream-Id']}"
    assert (events[0][1]["response"]["background"], events[0][1]["response"]["store"]) == (True, True)
    path = f"{mount}/responses/{response_id}"
    assert (await get(patient, path))["status"] == "in_progress"
    last = len(events) - 1
    async with patient.http.get(f"{patient.url}{path}?stream=true&starting_after={last}") as resumed:
        go_on.set()
        rest = events_in(await resumed.read(), last)
    read = Reader().read([*events, *rest])
    assert read.response is not None
    assert texts_in(read.response) == "Hello"
    everything = events_in((await patient.request("GET", f"{path}?stream=true"))[1])
    assert everything == [*events, *rest]
    for after in range(len(everything)):
        _, body = await patient.request("GET", f"{path}?stream=true&starting_after={after}")
        assert events_in(body, after) == everything[after + 1 :]
    assert await get(patient, path) == read.response
    assert len(upstream.calls) == 1


async def test_a_background_answer_is_polled(patient: Api, upstream: Sandbox) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Hold(go_on), text("lo"), STOP, END))
    response, body = await respond(
        patient, {"model": "acme/m", "input": "x", "background": True, "metadata": {"a": "b"}}
    )
    assert response.status == 200
    begun = response_in(json.loads(body))
    assert begun["status"] in ("queued", "in_progress")
    assert (begun["background"], begun["metadata"], begun["model"]) == (True, {"a": "b"}, "acme/m")
    path = f"/v1/responses/{begun['id']}"
    while texts_in(found := await get(patient, path)) != "Hel":
        pass
    assert (found["status"], found["output"][0]["status"], found["usage"]) == ("in_progress", "in_progress", None)
    go_on.set()
    (stream,) = patient.streams.kept_of("local")
    await stream.ended.wait()
    found = await get(patient, path)
    assert (found["status"], texts_in(found), found["usage"]["cost"]) == ("completed", "Hello", 0.001)
    assert "background" not in upstream.calls[0].json


async def test_polling_is_reading_and_who_stops_it_stops_the_bill(config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hel"), Hold()))
    async with serving(changed(config, "streams", grace_s=0)) as api:
        response, _ = await respond(api, {"model": "acme/m", "input": "x", "background": True})
        assert response.status == 200
        asked = await upstream.wait_call(0)
        async with asyncio.timeout(1):
            await asked.closed.wait()
        assert asked.cancelled
    async with serving(changed(config, "streams", grace_s=0, max_grace_s=60)) as api:
        response, body = await respond(
            api, {"model": "acme/m", "input": "x", "background": True}, X_Stream_Grace="60"
        )
        path = f"/v1/responses/{json.loads(body)['id']}"
        assert (await get(api, path))["status"] in ("queued", "in_progress")
        (running,) = [stream for stream in api.streams.kept_of("local") if stream.is_running]
        assert running.grace_s == 60
        assert (await get(api, f"{path}/cancel", method="POST"))["status"] == "cancelled"


@pytest.mark.parametrize("moment", ["before the head", "mid-stream", "whole"])
async def test_trap_9_leaving_without_background_closes_upstream(
    moment: str, patient: Api, upstream: Sandbox
) -> None:
    silence = Hold()
    upstream.script(
        Reply.stream().after(silence) if moment == "before the head" else Reply.stream(text("a"), text("c"), silence)
    )
    body = asking(stream=moment != "whole")
    asked = asyncio.create_task(patient.http.post(f"{patient.url}/v1/responses", json=body))
    call = await upstream.wait_call(0)
    if moment == "mid-stream":
        response = await asked
        await read_until(response, b'"c"')
        response.close()
    else:
        await call.started.wait()
        asked.cancel()
    async with asyncio.timeout(1):
        await call.closed.wait()
    assert call.cancelled


async def test_a_cancelled_answer_says_so_everywhere(patient: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), Hold()))
    async with patient.http.post(f"{patient.url}/v1/responses", json=asking(background=True)) as response:
        body = await read_until(response, b'"Hi"')
        path = f"/v1/responses/{response.headers['X-Stream-Id']}"
        cancelled = await get(patient, f"{path}/cancel", method="POST")
        body += await response.read()
    assert (cancelled["status"], texts_in(cancelled)) == ("cancelled", "Hi")
    read = Reader().read(events_in(body)).response
    assert read is not None
    assert read == cancelled == await get(patient, path) == await get(patient, f"{path}/cancel", method="POST")
    assert read["error"]["code"] == "invalid_prompt"
    assert "stopped" in read["error"]["message"]


async def test_cancelling_what_has_ended_changes_nothing(patient: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), STOP, END))
    response, _ = await respond(patient)
    path = f"/v1/responses/{response.headers['X-Stream-Id']}"
    whole = await get(patient, path)
    assert whole["status"] == "completed"
    assert await get(patient, f"{path}/cancel", method="POST") == whole


async def test_a_deleted_answer_is_gone_for_everybody(patient: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), Hold()))
    response = await patient.http.post(f"{patient.url}/v1/responses", json=asking(background=True))
    await read_until(response, b'"Hi"')
    stream_id = response.headers["X-Stream-Id"]
    before = patient.streams.kept
    found = await get(patient, f"/v1/responses/resp_{stream_id}", method="DELETE")
    assert found == {"id": f"resp_{stream_id}", "object": "response", "deleted": True}
    asked = await upstream.wait_call(0)
    await asked.closed.wait()
    assert asked.cancelled
    response.close()
    for method, path in (
        ("GET", f"/v1/responses/resp_{stream_id}"),
        ("DELETE", f"/v1/responses/resp_{stream_id}"),
        ("GET", f"/chat/{stream_id}"),
    ):
        await get(patient, path, 404, method)
    assert patient.streams.kept == before - 1


@pytest.mark.parametrize("mount", MOUNTS)
async def test_answers_of_others_and_unknown_ones_are_not_found(
    mount: str, config: Config, upstream: Sandbox
) -> None:
    upstream.script_always(Reply.stream(text("Hi"), STOP, END))
    one, other = "a-token-of-this-server", "another-token-of-it"
    config = changed(with_tokens(config, one, other), "streams", retain_s=60)
    async with serving(config) as api:
        response, _ = await respond(api, mount=mount, Authorization=f"Bearer {one}")
        path = f"{mount}/responses/resp_{response.headers['X-Stream-Id']}"
        for token, where, status in ((one, path, 200), (other, path, 404), (one, f"{path}x", 404)):
            for method, below in (("GET", ""), ("GET", "?stream=true"), ("POST", "/cancel")):
                found, body = await api.request(method, where + below, Authorization=f"Bearer {token}")
                assert found.status == status, (token, where, method)
                if status == 404:
                    error = json.loads(body)["error"]
                    assert error["metadata"]["type"] == "not_found"
                    assert error["code"] == (404 if mount == "/api/v1" else "not_found")
        found, _ = await api.request("DELETE", path, Authorization=f"Bearer {other}")
        assert found.status == 404


async def test_any_stream_is_read_in_any_dialect(patient: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(chunk({"reasoning": "hm"}), text("Hi"), STOP, END))
    _, events = await patient.chat()
    response, _ = await complete(patient, "/v1")
    for stream_id in (events[0].id.partition(":")[0], response.headers["X-Stream-Id"]):
        for path in (f"/v1/responses/{stream_id}", f"/api/v1/responses/resp_{stream_id}"):
            found = response_in(await get(patient, path))
            assert (found["id"], found["status"], texts_in(found)) == (f"resp_{stream_id}", "completed", "Hi")
            read = Reader().read(events_in((await patient.request("GET", f"{path}?stream=true"))[1])).response
            assert read == found
    response, _ = await respond(patient)
    _, body = await patient.request("GET", f"/chat/{response.headers['X-Stream-Id']}")
    assert text_of(parse_events(body)) == "Hi"
    assert (await get(patient, "/chat"))["data"][0]["protocol"] == "responses"


async def test_a_name_that_the_caller_chose_is_the_id(patient: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), STOP, END))
    key = "resp_0123456789abcdefghijk"
    first, body = await respond(patient, Idempotency_Key=key)
    again, same = await respond(patient, Idempotency_Key=key)
    assert (first.status, again.status, body) == (200, 200, same)
    assert events_in(body)[0][1]["response"]["id"] == f"resp_{key}"
    assert (await get(patient, f"/v1/responses/{key}"))["id"] == f"resp_{key}"
    assert (await get(patient, f"/v1/responses/resp_{key}"))["id"] == f"resp_{key}"
    other, _ = await respond(patient, asking(input="Else"), Idempotency_Key=key)
    assert other.status == 400


async def test_what_was_said_here_may_be_referred_to(patient: Api, upstream: Sandbox) -> None:
    signed = {"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}
    said = chunk({"reasoning": "hm", "reasoning_details": [signed]}) + text("Look.") + calls(call(0, "{}", "f", "a"))
    upstream.script(Reply.stream(said, STOP, END), Reply.stream(text("High."), STOP, END))
    _, body = await respond(patient)
    read = Reader().read(events_in(body)).response
    assert read is not None
    references: list[dict[str, Any]] = [{"type": "item_reference", "id": item["id"]} for item in read["output"]]
    references[1] = {"id": references[1]["id"]}
    result = {"type": "function_call_output", "call_id": read["output"][2]["call_id"], "output": "high"}
    ask = {"role": "user", "content": "Why?"}
    response, _ = await respond(patient, asking(input=[ask, *references, result]))
    assert response.status == 200
    assert upstream.calls[1].json["messages"] == [
        ask,
        {
            "role": "assistant",
            "content": "Look.",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            "reasoning_details": [signed],
        },
        {"role": "tool", "tool_call_id": "a", "content": "high"},
    ]
    gone = f"msg_{'x' * 22}_0"
    for item_id in (gone, "msg_of_elsewhere", references[0]["id"][:-1] + "9"):
        response, body = await respond(patient, asking(input=[ask, {"type": "item_reference", "id": item_id}]))
        assert response.status == 400
        error = json.loads(body)["error"]
        assert (error["param"], item_id in error["message"]) == ("input.1", True)


async def test_a_refusal_of_upstream_can_be_read_as_what_became_of_the_answer(
    patient: Api, upstream: Sandbox
) -> None:
    upstream.script_always(Reply.error(402, "No credit"))
    for body in (asking(background=True), {**asking(background=True), "stream": False}):
        response, refusal = await respond(patient, body)
        assert response.status == 402
        assert json.loads(refusal)["error"]["code"] == "insufficient_quota"
        found = await get(patient, f"/v1/responses/{response.headers['X-Stream-Id']}")
        assert (found["status"], found["error"]["code"]) == ("failed", "insufficient_quota")
        _, events = await patient.request("GET", f"/v1/responses/{found['id']}?stream=true")
        assert Reader().read(events_in(events)).response == found


async def test_the_cost_that_is_found_out_later_is_in_the_object(patient: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(chunk({"content": "Hi"}), Hold()))
    response = await patient.http.post(f"{patient.url}/v1/responses", json=asking(background=True))
    await read_until(response, b'"Hi"')
    stream_id = response.headers["X-Stream-Id"]
    record = {"total_cost": 0.5, "native_tokens_prompt": 3, "native_tokens_completion": 1}
    upstream.script_always(Reply.json({"data": record}), path="/generation")
    found = await get(patient, f"/v1/responses/{stream_id}/cancel", method="POST")
    assert found["status"] == "cancelled"
    response.close()
    stream = patient.streams.get(stream_id, "local")
    assert stream is not None
    while patient.streams.pending_settlements:
        await get(patient, "/health")
    found = await get(patient, f"/v1/responses/{stream_id}")
    assert found["usage"] is None or found["usage"]["cost"] == 0.5
    assert (found["usage"] is None) == (stream.settlement.usage is None)


@pytest.mark.parametrize("mount", MOUNTS)
async def test_odd_questions_about_an_answer(mount: str, patient: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), STOP, event({"usage": USAGE, "choices": []}), DONE))
    response, _ = await respond(patient, mount=mount)
    path = f"{mount}/responses/{response.headers['X-Stream-Id']}"
    for query in (
        "stream=maybe",
        "starting_after=1",
        "stream=true&starting_after=x",
        "stream=true&starting_after=-2",
    ):
        await get(patient, f"{path}?{query}", 400)
    for query in ("", "?stream=false", "?include[]=reasoning.encrypted_content"):
        assert (await get(patient, path + query))["status"] == "completed"
    _, body = await patient.request("GET", f"{path}?stream=true&starting_after=999")
    assert body == b""
    await get(patient, f"{path}/input_items", 404)
    for absent in ("compact", "input_tokens"):
        found, _ = await patient.request("POST", f"{mount}/responses/{absent}", b"{}")
        assert found.status == 404
    found, _ = await patient.request("HEAD", path)
    assert found.status == 405
    found, _ = await patient.request("PUT", path)
    assert (found.status, set(found.headers["Allow"].split(", "))) == (405, {"GET", "DELETE"})


async def test_what_a_log_has_dropped_cannot_be_read_again(config: Config, upstream: Sandbox) -> None:
    config = changed(config, "streams", retain_s=60, max_log_bytes=65_536)
    upstream.script_always(Reply.stream(*(text("x" * 30_000) for _ in range(8)), STOP, END))
    async with serving(config) as api:
        response, body = await respond(api, asking(background=True))
        assert len(texts_in(await get(api, f"/v1/responses/{response.headers['X-Stream-Id']}"))) == 240_000
        response, body = await respond(api)
        read = Reader().read(events_in(body)).response
        assert read is not None
        assert len(texts_in(read)) == 240_000
        for query in ("", "?stream=true"):
            found, _ = await api.request("GET", f"/v1/responses/{response.headers['X-Stream-Id']}{query}")
            assert found.status == 404
