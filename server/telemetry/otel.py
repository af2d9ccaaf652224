"""Spans of answers, by OpenTelemetry's conventions for GenAI clients; only this module knows its SDK.

A span holds what an answer was and cost, never a word of it. The provider is this module's own, not the process'
global one: the MCP SDK's spans, whose errors may quote what a client sent, stay unrecorded, but the trace context
that an MCP client sends with a call is the parent of the answers that the call starts.
https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-spans.md
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from client.border.fit import count_of, fit_name
from client.config import UpstreamConfig
from client.streams.stream import Stream
from client.upstream.tracing import TraceContext
from server.version import DISTRIBUTION, program_version

_FLUSH_S = 3.0
"""How long what is left may take at the end; a collector that is gone must not hold up the exit."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REQUEST_NUMBERS = ("max_tokens", "temperature", "top_p")

Attributes = dict[str, Any]


class Tracer:
    """Begins spans, and sends them in batches from a thread of its own."""

    def __init__(self, upstream: UpstreamConfig) -> None:
        named = Resource.create({"service.name": DISTRIBUTION, "service.version": program_version()})
        # only errors: while a collector is away it would also tell of every attempt
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").setLevel(logging.ERROR)
        self._provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(DISTRIBUTION, program_version())
        self._propagator = TraceContextTextMapPropagator()
        self._upstream = _address_of(upstream.base_url)

    def start(self, body: Mapping[str, Any], trace: TraceContext | None) -> AnswerSpan:
        """A span for an answer, below the caller's, or below what is current where the caller sent no header."""
        context = None if trace is None else self._propagator.extract(trace.headers)
        attributes = {**self._upstream, **_request_attributes(body)}
        name = f"chat {attributes['gen_ai.request.model']}"
        span = self._tracer.start_span(name, context=context, kind=SpanKind.CLIENT, attributes=attributes)
        headers: dict[str, str] = {}
        self._propagator.inject(headers, context=set_span_in_context(span))
        return AnswerSpan(span, headers)

    async def aclose(self) -> None:
        """Sends what is left, for at most a few seconds."""
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()

        def close() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(closed.set)

        # no executor: its threads are waited for when the process ends
        threading.Thread(target=close, name="last traces", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await closed.wait()


class AnswerSpan:
    """The span of one answer, see `client.upstream.tracing.Span`."""

    def __init__(self, span: Span, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self._span = span

    def end(self, stream: Stream) -> None:
        """Says what became of the answer."""
        failure = stream.pump.translator.failure
        if self._span.is_recording():
            self._span.set_attributes(_response_attributes(stream))
            if failure is not None:
                self._span.set_attribute("error.type", failure.type)
                self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _address_of(base_url: str) -> Attributes:
    parts = urlsplit(base_url)
    return {"server.address": parts.hostname or "", "server.port": parts.port or _DEFAULT_PORTS[parts.scheme]}


def _request_attributes(body: Mapping[str, Any]) -> Attributes:
    numbers = {
        f"gen_ai.request.{name}": body[name]
        for name in _REQUEST_NUMBERS
        if isinstance(body.get(name), int | float) and not isinstance(body[name], bool)
    }
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": fit_name(body.get("model")) or "",
        "gen_ai.request.stream": True,
        **numbers,
    }


def _response_attributes(stream: Stream) -> Attributes:
    translator = stream.pump.translator
    first_s = translator.first_token_s
    found = {
        "gen_ai.response.id": stream.generation_id,
        "gen_ai.response.model": translator.model,
        "gen_ai.response.finish_reasons": None if translator.finish_reason is None else [translator.finish_reason],
        "gen_ai.response.time_to_first_chunk": None if first_s is None else first_s - translator.started_s,
        "openrouter_sse.stream.id": stream.id,
        "openrouter_sse.stream.events": stream.log.last,
        "openrouter_sse.upstream.provider": translator.provider,
        "openrouter_sse.upstream.retries": stream.pump.retries,
        "openrouter_sse.cost.usd": stream.settlement.total_cost,
        **_usage_attributes(stream.settlement.usage or {}),
    }
    return {name: value for name, value in found.items() if value is not None}


def _usage_attributes(usage: Mapping[str, Any]) -> Attributes:
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return {
        "gen_ai.usage.input_tokens": _count(usage, "prompt_tokens"),
        "gen_ai.usage.output_tokens": _count(usage, "completion_tokens"),
        "gen_ai.usage.cache_read.input_tokens": _count(prompt, "cached_tokens"),
        "gen_ai.usage.reasoning.output_tokens": _count(completion, "reasoning_tokens"),
    }


def _count(found: Any, name: str) -> int | None:
    return count_of(found.get(name)) if isinstance(found, Mapping) else None
