"""The chat tools as plain functions: arguments in, output out. They know neither transport nor SDK.

A call that is cancelled closes its request to OpenRouter at once, unless it had handed the answer over to the
background.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from client.errors import OpenRouterError, Refusal
from client.streams.log import EventsGone
from client.streams.stream import Stream, StreamsFull
from client.streams.streams import SHUTTING_DOWN
from mcp_app.results.clean import clean_text
from mcp_app.results.failures import NO_KEY, ToolFailure, failure_of
from mcp_app.results.output import ToolOutput
from mcp_app.results.progress import AnswerReader
from mcp_app.results.reports import Reports
from mcp_app.results.results import AnswerFacts, output_of
from mcp_app.state import McpState
from mcp_app.tools.chat_request import ChatArguments, body_of

MAX_WAIT_S = 3600.0
_MAX_PARTIAL_BYTES = 20_000
_ENDED_WITH_ITS_PROCESS = (
    " If the host starts this server anew for every call, no answer outlives its call: give llm_chat a wait_s that "
    "is long enough."
)


async def chat(
    state: McpState,
    arguments: ChatArguments,
    *,
    owner: str,
    wait_s: float,
    reports: Reports | None = None,
    include_reasoning: bool = False,
) -> ToolOutput:
    """Starts an answer and waits for it; one that is not done after `wait_s` goes on in the background.

    Raises:
        ToolFailure: nothing was started, or there is no answer.
    """
    stream = _start(state, arguments, owner)
    is_kept = False
    try:
        output = await _follow(state, stream, wait_s, reports, include_reasoning=include_reasoning)
        is_kept = True
    finally:
        if not is_kept:
            stream.stop("cancelled")
    return output


async def chat_result(
    state: McpState,
    stream_id: str,
    *,
    owner: str,
    wait_s: float,
    reports: Reports | None = None,
    include_reasoning: bool = False,
    offset: int = 0,
) -> ToolOutput:
    """The answer of a stream, waiting for it; a call that is cancelled leaves it running.

    Raises:
        ToolFailure: there is no such stream, or no answer.
    """
    stream = _find(state, stream_id, owner)
    return await _follow(state, stream, wait_s, reports, include_reasoning=include_reasoning, offset=offset)


async def chat_stop(state: McpState, stream_id: str, *, owner: str) -> ToolOutput:
    """Ends a stream and gives what came of it.

    Raises:
        ToolFailure: there is no such stream.
    """
    stream = _find(state, stream_id, owner)
    stream.stop("cancelled")
    await stream.ended.wait()
    return await _follow(state, stream, 0, None)


def _start(state: McpState, arguments: ChatArguments, owner: str) -> Stream:
    if state.lacks_key:
        raise ToolFailure(NO_KEY)
    if state.streams.is_draining:
        raise failure_of(SHUTTING_DOWN)
    body = body_of(arguments, state.openrouter.config.model)
    try:
        return state.streams.start(body, owner=owner, grace_s=state.streams.config.max_grace_s)
    except Refusal as exc:
        raise failure_of(exc.failure) from exc
    except StreamsFull as exc:
        raise ToolFailure(f"The server is at its limit: {exc}. Wait a few seconds and call again.") from exc


def _find(state: McpState, stream_id: str, owner: str) -> Stream:
    if not stream_id.strip():
        raise ToolFailure("stream_id: is required; llm_chat gives it. Correct that and call again.")
    stream = state.streams.get(stream_id.strip(), owner)
    if stream is None:
        others = "" if state.serves_http else _ENDED_WITH_ITS_PROCESS
        raise ToolFailure(
            f"There is no stream {stream_id[:80]!r}. It may have expired: a finished answer is kept for "
            f"{state.streams.config.retain_s:g} s.{others} Call llm_chat again."
        )
    return stream


async def _follow(
    state: McpState,
    stream: Stream,
    wait_s: float,
    reports: Reports | None,
    *,
    include_reasoning: bool = False,
    offset: int = 0,
) -> ToolOutput:
    """Reads a stream for at most `wait_s`, and says what there is."""
    reader = AnswerReader(stream)
    stream.attach(reader)
    try:
        if reports is not None:
            reports.follow(stream, reader)
        await reader.wait_end(min(max(wait_s, 0.0), MAX_WAIT_S))
    except EventsGone as exc:
        raise ToolFailure("The answer is too long to be kept; its beginning is gone. Ask for a shorter one.") from exc
    finally:
        stream.detach(reader)
        reader.let_go()
    if reader.answer.error is not None:
        raise await _failed(state, stream, reader)
    facts = AnswerFacts(
        stream_id=stream.id,
        is_running=stream.is_running,
        model=stream.model,
        settlement=stream.settlement,
        result_path=f"{state.prefix}/chat/{stream.id}/result" if state.serves_http else None,
    )
    return output_of(reader.answer, facts, include_reasoning=include_reasoning, offset=max(0, offset))


async def _failed(state: McpState, stream: Stream, reader: AnswerReader) -> ToolFailure:
    """The failure with its advice; what came before it is still the model's to use."""
    error = reader.answer.error or {}
    suggestions: list[str] = []
    if error.get("type") == "model_not_found":
        with suppress(OpenRouterError):
            await state.catalogue.listing()
        suggestions = await asyncio.to_thread(state.catalogue.suggestions, stream.requested_model)
    failure = failure_of(error, suggestions)
    partial = clean_text(reader.answer.text("content")).encode()[-_MAX_PARTIAL_BYTES:].decode("utf-8", "ignore")
    return ToolFailure(f"{failure} The answer up to there:\n\n{partial}") if partial else failure
