"""Traces: what a collector gets, what upstream gets, and that nobody waits for a collector that is gone."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from mcp import Client

from client.sandbox import Reply, Sandbox
from client.upstream.tracing import read_trace_context
from server.config import Config
from tests.support.chunks import COMMENT, STOP, USAGE, chunk, text
from tests.support.process import ROOT, ServerProcess, running_server
from tests.support.serving import Api, changed, question, serving
from tests.support.sse_reader import parse_events
from tests.support.telemetry.otlp_receiver import Receiver, open_receiver

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
DETAILS = {"prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 2}}
ANSWER = Reply.stream(
    COMMENT, text("secret answer"), STOP, chunk({}, "stop", usage={**USAGE, **DETAILS}), b"data: [DONE]\n\n"
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A collector."""
    async with open_receiver() as running:
        yield running


def environment(upstream: Sandbox, endpoint: str, **more: str) -> dict[str, str]:
    """Sends spans soon, and only once."""
    return {
        "OPENROUTER_BASE_URL": upstream.base_url,
        "OPENROUTER_API_KEY": "sk-or-x",
        "OPENROUTER_MAX_RETRIES": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        **more,
    }


async def ask(server: ServerProcess, http: aiohttp.ClientSession, headers: Any = None, **more: Any) -> int:
    """The status of an answer that was read to its end."""
    body = question(message="secret question", **more)
    async with http.post(f"{server.url}/chat", json=body, headers=headers) as response:
        parse_events(await response.read())
        return response.status


async def test_an_answer_is_a_span_below_the_callers_and_upstream_is_told(
    upstream: Sandbox, receiver: Receiver
) -> None:
    async with running_server(env=environment(upstream, receiver.url)) as server, aiohttp.ClientSession() as http:
        upstream.script(ANSWER)
        headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
        assert await ask(server, http, headers, max_tokens=7, temperature=0.5) == 200
        [span] = await receiver.wait_spans(1)
        assert await server.stop() == 0
    assert span.name == "chat acme/m"
    assert (span.trace_id, span.parent_id, span.trace_state) == (TRACE_ID, SPAN_ID, "vendor=1")
    assert span.is_error is False
    first_s = span.attributes.pop("gen_ai.response.time_to_first_chunk")
    assert 0 <= first_s < 10
    assert len(span.attributes.pop("openrouter_sse.stream.id")) > 16
    host, _, port = upstream.base_url.removeprefix("http://").partition("/")[0].partition(":")
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": "acme/m",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.id": "gen-1",
        "gen_ai.response.model": "acme/m",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 1,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "server.address": host,
        "server.port": int(port),
        "openrouter_sse.cost.usd": 0.001,
        "openrouter_sse.stream.events": 4,
        "openrouter_sse.upstream.provider": "Acme",
        "openrouter_sse.upstream.retries": 0,
    }
    assert receiver.resource["service.name"] == "openrouter-sse-backend"
    sent = upstream.calls[0].headers
    assert sent["traceparent"] == f"00-{TRACE_ID}-{span.span_id}-01"
    assert sent["tracestate"] == "vendor=1"
    assert not any(b"secret" in body for body in receiver.bodies)


async def test_failures_are_errors_and_a_caller_without_a_trace_begins_one(
    upstream: Sandbox, receiver: Receiver
) -> None:
    env = environment(upstream, receiver.url, OTEL_SERVICE_NAME="mine")
    async with running_server(env=env) as server, aiohttp.ClientSession() as http:
        upstream.script(Reply.error(402, "secret reason"), Reply.stream(text("secret"), b"data: {\n"))
        assert await ask(server, http) == 402
        assert await ask(server, http, {"traceparent": "nonsense"}) == 200
        refused, cut = await receiver.wait_spans(2)
    assert (refused.is_error, cut.is_error) == (True, True)
    assert refused.attributes["error.type"] == "insufficient_credits"
    assert "gen_ai.response.model" not in refused.attributes
    assert cut.attributes["error.type"] == "stream_interrupted"
    assert refused.parent_id == cut.parent_id == ""
    assert refused.trace_id != cut.trace_id
    assert receiver.resource["service.name"] == "mine"
    assert upstream.calls[1].headers["traceparent"].startswith(f"00-{cut.trace_id}-{cut.span_id}-")
    assert not any(b"secret" in body for body in receiver.bodies)


async def test_an_mcp_call_is_the_parent_of_its_answer_and_no_span_itself(
    upstream: Sandbox, receiver: Receiver
) -> None:
    async with running_server(env=environment(upstream, receiver.url)) as server:
        upstream.script(ANSWER)
        async with asyncio.timeout(30), Client(f"{server.url}/mcp") as connected:
            meta: Any = {"traceparent": TRACEPARENT}
            await connected.call_tool("llm_chat", {"prompt": "secret question"}, meta=meta)
            await connected.call_tool("llm_chat", {"prompt": ""})  # an error, whose text stays here
        assert await server.stop() == 0
    [span] = receiver.spans
    assert span.name.startswith("chat ")
    assert (span.trace_id, span.parent_id) == (TRACE_ID, SPAN_ID)
    assert not any(b"secret" in body for body in receiver.bodies)


async def test_what_is_left_is_sent_at_the_end(upstream: Sandbox, receiver: Receiver) -> None:
    env = environment(upstream, receiver.url, OTEL_BSP_SCHEDULE_DELAY="60000")
    async with running_server(env=env) as server, aiohttp.ClientSession() as http:
        upstream.script(ANSWER)
        await ask(server, http)
        assert receiver.spans == []
        assert await server.stop() == 0
    assert len(receiver.spans) == 1


@pytest.mark.parametrize("is_listening", [True, False])
async def test_a_dead_collector_holds_up_neither_answers_nor_the_exit(upstream: Sandbox, is_listening: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        port = silent.getsockname()[1]
        if not is_listening:
            silent.close()
        env = environment(upstream, f"http://127.0.0.1:{port}")
        async with running_server(env=env) as server, aiohttp.ClientSession() as http:
            for _ in range(3):
                upstream.script(ANSWER)
                assert await ask(server, http) == 200
            started_s = time.monotonic()
            assert await server.stop() == 0
            took_s = time.monotonic() - started_s
    assert took_s < 9  # the exporter alone would take 10
    assert b"Traceback" not in server.output


@pytest.mark.parametrize(
    ("variables", "hidden", "said"),
    [
        ({}, "opentelemetry.sdk", b"pip install opentelemetry-sdk"),
        ({}, "opentelemetry.exporter", b"pip install opentelemetry-sdk"),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0"}, "", b"refused its settings"),
    ],
)
async def test_without_working_opentelemetry_there_is_one_warning_and_service(
    upstream: Sandbox, variables: dict[str, str], hidden: str, said: bytes
) -> None:
    program = f"import sys; sys.modules[{hidden!r}] = None; from server.__main__ import main; sys.exit(main())"
    env = {**os.environ, **environment(upstream, "http://127.0.0.1:9", PYTHONPATH=str(ROOT)), **variables}
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, "--port", "0", cwd=folder, env=env, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        output = b""
        async with asyncio.timeout(20):
            while b"Serving http://" not in output:
                line = await process.stderr.readline()
                assert line, output
                output += line
            process.terminate()
            output += await process.stderr.read()
            assert await process.wait() == 0
    assert output.count(said) == 1
    assert output.count(b"OTEL_EXPORTER_OTLP_ENDPOINT is set") == 1
    assert b"Traceback" not in output


@pytest.mark.parametrize("variables", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
async def test_traces_can_be_switched_off_beside_an_endpoint(
    upstream: Sandbox, receiver: Receiver, variables: dict[str, str]
) -> None:
    env = environment(upstream, receiver.url, **variables)
    async with running_server(env=env) as server, aiohttp.ClientSession() as http:
        upstream.script(ANSWER)
        await ask(server, http, {"traceparent": TRACEPARENT})
        assert await server.stop() == 0
    assert receiver.bodies == []
    assert upstream.calls[0].headers["traceparent"] == TRACEPARENT


async def test_without_traces_a_callers_context_goes_on_as_it_is(upstream: Sandbox, api: Api) -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": "a=1,b=2"}
    sent = [headers, {"traceparent": TRACEPARENT.upper()}, {}]
    for each in sent:
        upstream.script(ANSWER)
        async with api.http.post(f"{api.url}/chat", json=question(), headers=each) as response:
            await response.read()
    passed = [{name: call.headers[name] for name in headers if name in call.headers} for call in upstream.calls]
    assert passed == [headers, {}, {}]


async def test_pages_may_send_their_trace_context(config: Config) -> None:
    page = "https://app.example"
    async with serving(changed(config, "server", cors_origins=(page,))) as api:
        headers = {"Origin": page, "Access-Control-Request-Method": "POST"}
        for path in ("/chat", "/mcp"):
            async with api.http.options(f"{api.url}{path}", headers=headers) as response:
                assert "traceparent, tracestate" in response.headers["Access-Control-Allow-Headers"]


VALID = [TRACEPARENT, TRACEPARENT[:-2] + "00", f"cc-{TRACEPARENT[3:]}", f"01-{TRACEPARENT[3:]}-what-comes-later"]
INVALID = [
    "",
    "nonsense",
    f"ff-{TRACEPARENT[3:]}",
    f"00-{TRACEPARENT[3:]}-more",
    f"00-{'0' * 32}-{SPAN_ID}-01",
    f"00-{TRACE_ID}-{'0' * 16}-01",
    f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
    f"00-{TRACE_ID}-{SPAN_ID}-1",
    f"01-{TRACEPARENT[3:]}-{'x' * 600}",
]


@pytest.mark.parametrize("traceparent", VALID)
def test_a_traceparent_is_read_as_w3c_has_it(traceparent: str) -> None:
    found = read_trace_context([traceparent], ["a=1", "b=2"])
    assert found is not None
    assert found.headers == {"traceparent": traceparent, "tracestate": "a=1,b=2"}


@pytest.mark.parametrize("traceparent", INVALID)
def test_what_is_no_traceparent_counts_as_missing(traceparent: str) -> None:
    assert read_trace_context([traceparent], ["a=1"]) is None


def test_two_traceparents_are_none_and_a_tracestate_that_is_too_long_is_left_out() -> None:
    assert read_trace_context([TRACEPARENT, TRACEPARENT]) is None
    for state in ("x" * 513, "a=\x01", ""):
        found = read_trace_context([TRACEPARENT], [state])
        assert found is not None
        assert found.headers == {"traceparent": TRACEPARENT}
