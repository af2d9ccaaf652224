"""`GET /v1/models`: one body that the SDKs of OpenAI, Anthropic and OpenRouter all accept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from client.models.catalogue import ModelNotFound
from server.access.callers import check_models
from server.errors import ApiError
from server.http.json_reply import json_reply
from server.keys import CALLER, CATALOGUE


async def list_models(request: web.Request) -> web.Response:
    """Every model that the caller may use. No query is read: clients send limits of their own."""
    caller = request[CALLER]
    listing = await request.app[CATALOGUE].listing(caller.may_use if caller.models else None)
    models = [model_object(entry.model) for entry in listing.snapshot.index.entries]
    ids = [model["id"] for model in models]
    return json_reply(
        {
            "object": "list",
            "data": models,
            "has_more": False,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "links": {"next": None},
            "total_count": len(models),
        }
    )


async def show_model(request: web.Request) -> web.Response:
    """One model; the slash of its id may be sent as `%2F`."""
    model_id = request.match_info["model_id"]
    check_models(request[CALLER], {"model": model_id})
    try:
        found = await request.app[CATALOGUE].get(model_id)
    except ModelNotFound as exc:
        raise ApiError(msgspec.structs.replace(exc.failure, type="model_not_found")) from exc
    return json_reply(model_object(found.model))


def model_object(model: Mapping[str, Any]) -> dict[str, Any]:
    """OpenRouter's object with the fields that other families look for."""
    model_id, created = str(model.get("id")), model.get("created")
    created_s = created if isinstance(created, int) and 0 <= created < 2**32 else 0
    return {
        **model,
        "object": "model",
        "created": created_s,
        "owned_by": model_id.lstrip("~").partition("/")[0],
        "type": "model",
        "display_name": str(model.get("name") or model_id),
        "created_at": datetime.fromtimestamp(created_s, UTC).isoformat().replace("+00:00", "Z"),
    }
