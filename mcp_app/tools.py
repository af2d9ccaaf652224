"""The tools as plain functions: arguments in, output out. They know neither transport nor SDK.

A call that is cancelled closes its request to OpenRouter at once, unless it had handed the answer over to the
background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from client.catalogue import ModelDetails
from client.errors import OpenRouterError, Refusal, UpstreamStatusError
from client.model_query import ModelQuery, QueryError, query_problems
from client.request import InvalidRequest, build_chat_call
from client.stream_log import EventsGone
from client.streams import SHUTTING_DOWN, Stream, StreamsFull
from mcp_app.failures import NO_KEY, ToolFailure, failure_of
from mcp_app.models import describe_model, summarize_model
from mcp_app.progress import AnswerReader, Report, reporting_progress
from mcp_app.results import AnswerFacts, ToolOutput, output_of
from mcp_app.state import McpState

MAX_WAIT_S = 3600.0
_MAX_PAGE = 50
_MAX_PARTIAL = 20_000
_URL_SCHEMES = ("https://", "http://", "data:")


@dataclass(frozen=True)
class ChatArguments:
    """What `llm_chat` was asked; empty text and None mean that the caller said nothing."""

    prompt: str = ""
    messages: list[dict[str, Any]] | None = None
    model: str = ""
    system: str = ""
    reasoning_effort: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    web_search: bool = False


async def chat(
    state: McpState,
    arguments: ChatArguments,
    *,
    owner: str,
    wait_s: float,
    report: Report,
    include_reasoning: bool = False,
) -> ToolOutput:
    """Starts an answer and waits for it; one that is not done after `wait_s` goes on in the background.

    Raises:
        ToolFailure: nothing was started, or there is no answer.
    """
    stream = _start(state, _body_of(state, arguments), owner)
    is_kept = False
    try:
        output = await _follow(state, stream, wait_s, report, include_reasoning=include_reasoning)
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
    report: Report,
    include_reasoning: bool = False,
    offset: int = 0,
) -> ToolOutput:
    """The answer of a stream, waiting for it; a call that is cancelled leaves it running.

    Raises:
        ToolFailure: there is no such stream, or no answer.
    """
    stream = _find(state, stream_id, owner)
    return await _follow(state, stream, wait_s, report, include_reasoning=include_reasoning, offset=offset)


async def chat_stop(state: McpState, stream_id: str, *, owner: str) -> ToolOutput:
    """Ends a stream and gives what came of it.

    Raises:
        ToolFailure: there is no such stream.
    """
    stream = _find(state, stream_id, owner)
    stream.stop("cancelled")
    await stream.ended.wait()
    return await _follow(state, stream, 0, _no_report)


async def search_models(state: McpState, parameters: Mapping[str, Any]) -> ToolOutput:
    """A page of the catalogue, each model in a few words.

    Raises:
        ToolFailure: unknown words, or there is no catalogue.
    """
    try:
        query = ModelQuery.model_validate(
            {name: value for name, value in parameters.items() if value not in (None, "")}
        )
        query = query.model_copy(update={"limit": min(query.limit, _MAX_PAGE)})
        found = await state.catalogue.search(query)
    except ValidationError as exc:
        raise _invalid_query(QueryError(query_problems(exc))) from exc
    except QueryError as exc:
        raise _invalid_query(exc) from exc
    except OpenRouterError as exc:
        raise failure_of(exc.failure) from exc
    models = [summarize_model(model) for model in found.models]
    end = found.offset + len(models)
    data: dict[str, Any] = {"models": models, "total": found.total, "stale": found.stale}
    if end < found.total:
        data["next_offset"] = end
    return ToolOutput(texts=[_search_text(models, data)], data=data)


async def get_model(state: McpState, model_id: str) -> ToolOutput:
    """One model with its endpoints.

    Raises:
        ToolFailure: nobody knows it; with the nearest ids.
    """
    details = await model_details(state, model_id)
    data = describe_model(details)
    return ToolOutput(texts=[_lines(data)], data=data)


async def model_details(state: McpState, model_id: str) -> ModelDetails:
    """One model as upstream describes it.

    Raises:
        ToolFailure: nobody knows it, or there is no catalogue.
    """
    try:
        return await state.catalogue.get(model_id.strip())
    except OpenRouterError as exc:
        raise failure_of(exc.failure) from exc


async def complete_model_id(state: McpState, typed: str) -> list[str]:
    """Ids that begin with what was typed, then ids that hold it; empty while there is no catalogue."""
    try:
        listing = await state.catalogue.listing()
    except OpenRouterError:
        return []
    wanted = typed.strip().lower()
    ids = listing.snapshot.index.by_id
    beginning = [model_id for model_id in ids if model_id.lower().startswith(wanted)]
    holding = [model_id for model_id in ids if wanted in model_id.lower()]
    return list(dict.fromkeys(beginning + holding))


async def account(state: McpState) -> ToolOutput:
    """Limits and use of the key, credits where the key may see them, and what this process spent.

    Raises:
        ToolFailure: upstream does not accept the key.
    """
    data: dict[str, Any] = {
        "upstream": state.openrouter.host,
        "this_process": {
            "answers": state.spending.answers,
            "running": state.streams.active,
            "spent_usd": round(state.spending.total_usd, 6),
            "unsettled_answers": state.spending.unsettled,
        },
    }
    if state.lacks_key:
        data["note"] = NO_KEY
        return ToolOutput(texts=[_lines(data)], data=data)
    key, credits_ = await asyncio.gather(_ask(state, "/key"), _ask(state, "/credits"))
    names = (
        "label",
        "limit",
        "limit_remaining",
        "limit_reset",
        "usage",
        "usage_daily",
        "usage_monthly",
        "is_free_tier",
    )
    if key:
        data["key"] = {name: key[name] for name in names if name in key}
    if credits_ and isinstance(bought := credits_.get("total_credits"), int | float):
        used = credits_.get("total_usage") or 0.0
        data["credits"] = {"total_usd": bought, "used_usd": used, "remaining_usd": round(bought - used, 6)}
    return ToolOutput(texts=[_lines(data)], data=data)


# -- chat ---------------------------------------------------------------------------------------------------------


def _body_of(state: McpState, arguments: ChatArguments) -> dict[str, Any]:
    messages = [{"role": "system", "content": arguments.system}] if arguments.system.strip() else []
    messages += arguments.messages or []
    if arguments.prompt.strip():
        messages.append({"role": "user", "content": arguments.prompt})
    if not messages:
        raise ToolFailure("Nothing to answer: give `prompt` (text), or `messages` ([{role, content}, …]).")
    _check_urls(messages)
    optional = {
        "model": arguments.model.strip() or None,
        "reasoning_effort": arguments.reasoning_effort.strip() or None,
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "web_search": arguments.web_search or None,
    }
    body = {"messages": messages} | {name: value for name, value in optional.items() if value is not None}
    try:
        call = build_chat_call(body, (), default_model=state.openrouter.config.model, max_grace_s=0)
    except InvalidRequest as exc:
        raise ToolFailure(str(exc)) from exc
    return call.body


def _check_urls(messages: list[dict[str, Any]]) -> None:
    """Images and files are passed on as URLs; a path would mean the reader's own disk, and is never read."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            for url in _urls_of(part):
                if not url.lower().startswith(_URL_SCHEMES):
                    raise ToolFailure(
                        f"{url[:100]!r} is not a URL that can be sent: files of this machine are not read. Give an "
                        "https URL, or the content as a data: URL."
                    )


def _urls_of(part: Any) -> list[str]:
    if not isinstance(part, dict):
        return []
    image, file = part.get("image_url"), part.get("file")
    found = [
        image.get("url") if isinstance(image, dict) else image,
        file.get("file_data") if isinstance(file, dict) else None,
    ]
    return [url for url in found if isinstance(url, str)]


def _start(state: McpState, body: dict[str, Any], owner: str) -> Stream:
    if state.lacks_key:
        raise ToolFailure(NO_KEY)
    if state.streams.is_draining:
        raise failure_of(SHUTTING_DOWN)
    try:
        return state.streams.start(body, owner=owner, grace_s=state.streams.config.max_grace_s)
    except Refusal as exc:
        raise failure_of(exc.failure) from exc
    except StreamsFull as exc:
        raise ToolFailure(f"The server is at its limit: {exc}. Wait a few seconds and call again.") from exc


def _find(state: McpState, stream_id: str, owner: str) -> Stream:
    stream = state.streams.get(stream_id.strip(), owner)
    if stream is None:
        raise ToolFailure(
            f"There is no stream {stream_id[:80]!r}. It may have expired: a finished answer is kept for "
            f"{state.streams.config.retain_s:g} s. Call llm_chat again."
        )
    return stream


async def _follow(
    state: McpState,
    stream: Stream,
    wait_s: float,
    report: Report,
    *,
    include_reasoning: bool = False,
    offset: int = 0,
) -> ToolOutput:
    """Reads a stream for at most `wait_s`, reporting progress, and says what there is."""
    reader = AnswerReader(stream)
    stream.attach(reader)
    try:
        async with reporting_progress(stream, reader, report):
            await reader.wait_end(min(max(wait_s, 0.0), MAX_WAIT_S))
    except EventsGone as exc:
        raise ToolFailure("The answer is too long to be kept; its beginning is gone. Ask for a shorter one.") from exc
    finally:
        stream.detach(reader)
    if reader.answer.error is not None:
        raise await _failed(state, stream, reader)
    facts = AnswerFacts(
        stream_id=stream.id,
        is_running=stream.is_running,
        model=stream.model,
        settlement=stream.settlement,
        result_path=f"/chat/{stream.id}/result" if state.serves_http else None,
    )
    return output_of(reader.answer, facts, include_reasoning=include_reasoning, offset=max(0, offset))


async def _failed(state: McpState, stream: Stream, reader: AnswerReader) -> ToolFailure:
    """The failure with its advice; what came before it is still the model's to use."""
    error = reader.answer.error or {}
    suggestions: list[str] = []
    if error.get("type") == "model_not_found":
        with suppress(OpenRouterError):
            await state.catalogue.listing()
        suggestions = state.catalogue.suggestions(stream.requested_model)
    failure = failure_of(error, suggestions)
    partial = reader.answer.text("content")[-_MAX_PARTIAL:]
    return ToolFailure(f"{failure} The answer up to there:\n\n{partial}") if partial else failure


async def _no_report(progress: float, message: str) -> None:
    """For waits that end at once."""


# -- models and account -------------------------------------------------------------------------------------------


def _invalid_query(error: QueryError) -> ToolFailure:
    said = "; ".join(f"{detail.where.removeprefix('query.')}: {detail.what}" for detail in error.details)
    return ToolFailure(said)


def _search_text(models: list[dict[str, Any]], data: dict[str, Any]) -> str:
    if not models:
        return "No model fits. Leave out a condition, or use other words."
    lines = [_model_line(model) for model in models]
    lines.append(f"{len(models)} of {data['total']} models; prices in USD per million tokens, prompt/completion.")
    if "next_offset" in data:
        lines.append(f"More with offset {data['next_offset']}.")
    return "\n".join(lines)


def _model_line(model: dict[str, Any]) -> str:
    extras = ["reasons"] if model.get("reasoning") else []
    extras += [f"takes {', '.join(model['inputs'])}"] if model.get("inputs") else []
    context = f"{model['context_length']:,} tokens" if model.get("context_length") else "context unknown"
    price = f"{model.get('prompt_usd_per_m', '?')}/{model.get('completion_usd_per_m', '?')}"
    return "; ".join([f"{model['id']} ({model['name']})", context, price, *extras])


def _lines(data: Mapping[str, Any], indent: str = "") -> str:
    """Nested facts as indented lines."""
    lines: list[str] = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}:", _lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines.append(f"{indent}{name}:")
            lines += [indent + "- " + ", ".join(f"{key} {item}" for key, item in entry.items()) for entry in value]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{name}: {shown}")
    return "\n".join(lines)


async def _ask(state: McpState, path: str) -> dict[str, Any] | None:
    """The `data` of an account route; None where upstream has none or the key may not see it."""
    try:
        answer = await state.openrouter.get_json(path)
    except UpstreamStatusError as exc:
        if path == "/key" and exc.upstream_status == 401:
            raise failure_of(exc.failure) from exc
        return None
    except OpenRouterError as exc:
        if path == "/key":
            raise failure_of(exc.failure) from exc
        return None
    data = answer.get("data") if isinstance(answer, dict) else None
    return data if isinstance(data, dict) else None
