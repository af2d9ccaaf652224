"""The tools that find models, over the catalogue; they know neither transport nor SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from client.errors import Detail, OpenRouterError
from client.models.catalogue import ModelDetails
from client.models.query import ModelQuery, QueryError, query_problems
from mcp_app.results.failures import ToolFailure, failure_of
from mcp_app.results.output import ToolOutput, facts_output
from mcp_app.state import McpState
from mcp_app.tools.models import describe_model, summarize_model

_PAGE: Final = 20
MAX_PAGE: Final = 50


async def search_models(state: McpState, parameters: Mapping[str, Any]) -> ToolOutput:
    """A page of the catalogue, each model in a few words.

    Raises:
        ToolFailure: unknown words, or there is no catalogue.
    """
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    asked = given.get("limit", _PAGE)
    if asked < 1:
        raise ToolFailure(f"limit: must be 1 to {MAX_PAGE}. Correct that and call again.")
    given["limit"] = min(asked, MAX_PAGE)
    try:
        query = ModelQuery.model_validate(given)
        found = await state.catalogue.search(query)
    except ValidationError as exc:
        raise _invalid_query(query_problems(exc)) from exc
    except QueryError as exc:
        raise _invalid_query(exc.details) from exc
    except OpenRouterError as exc:
        raise failure_of(exc.failure) from exc
    models = [summarize_model(model) for model in found.models]
    end = found.offset + len(models)
    data: dict[str, Any] = {"models": models, "total": found.total, "stale": found.stale}
    if end < found.total:
        data["next_offset"] = end
    if note := _note(asked, found.offset, found.total):
        data["note"] = note
    return ToolOutput(texts=[_search_text(models, data)], data=data)


async def get_model(
    state: McpState, model_id: str, prompt_tokens: int | None = None, completion_tokens: int | None = None
) -> ToolOutput:
    """One model with its endpoints, and what so many tokens would cost where they are given.

    Raises:
        ToolFailure: nobody knows it; with the nearest ids.
    """
    if min(prompt_tokens or 0, completion_tokens or 0) < 0:
        raise ToolFailure("prompt_tokens, completion_tokens: must not be negative. Correct that and call again.")
    details = await model_details(state, model_id)
    if prompt_tokens is None and completion_tokens is None:
        return facts_output(describe_model(details))
    return facts_output(describe_model(details, (prompt_tokens or 0, completion_tokens or 0)))


async def model_details(state: McpState, model_id: str) -> ModelDetails:
    """One model as upstream describes it.

    Raises:
        ToolFailure: nobody knows it, or there is no catalogue.
    """
    if not model_id.strip():
        raise ToolFailure("model_id: is required; search_models finds ids. Correct that and call again.")
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


def _invalid_query(details: list[Detail]) -> ToolFailure:
    said = "; ".join(f"{detail.where.removeprefix('query.')}: {detail.what}" for detail in details)
    return ToolFailure(f"{said}. Correct that and call again.")


def _note(limit: int, offset: int, total: int) -> str | None:
    if total == 0:
        return "No model fits. Leave out a condition, or use other words."
    if offset >= total:
        return f"The offset {offset} is past the end: {total} models fit."
    return f"At most {MAX_PAGE} come at once." if limit > MAX_PAGE else None


def _search_text(models: list[dict[str, Any]], data: dict[str, Any]) -> str:
    if not models:
        return str(data["note"])
    lines = [_model_line(model) for model in models]
    lines.append(f"{len(models)} of {data['total']} models; prices in USD per million tokens, prompt/completion.")
    if "next_offset" in data:
        lines.append(f"More with offset {data['next_offset']}.")
    if "note" in data:
        lines.append(data["note"])
    if data["stale"]:
        lines.append("OpenRouter's list cannot be renewed just now: this is an older one.")
    return "\n".join(lines)


def _model_line(model: dict[str, Any]) -> str:
    extras = ["reasons"] if model.get("reasoning") else []
    extras += [f"takes {', '.join(model['inputs'])}"] if model.get("inputs") else []
    context = f"{model['context_length']:,} tokens" if model.get("context_length") else "context unknown"
    price = f"{model.get('prompt_usd_per_m', '?')}/{model.get('completion_usd_per_m', '?')}"
    return "; ".join([f"{model['id']} ({model['name']})", context, price, *extras])
