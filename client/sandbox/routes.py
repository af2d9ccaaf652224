"""The GET routes: the catalogue, the account, and what an answer cost."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from client.border.json_codec import encode_json
from client.sandbox.models.catalogue import (
    EMBEDDER,
    PROVIDER,
    Model,
    find_model,
    model_endpoints,
    page_bounds,
    select_models,
)
from client.sandbox.protocols.chat import error_response
from client.sandbox.state import SANDBOX

_GRANTED = 100.0  # credits, USD
_MODEL = r"{author:[^/]+}/{slug:[^/]+}"


def catalogue_and_account_routes(prefix: str) -> list[web.RouteDef]:
    """Every GET route, below `prefix`."""
    handlers = {
        "/models": list_models,
        "/models/count": count_models,
        "/models/user": list_models,
        "/embeddings/models": list_embedders,
        "/endpoints/zdr": list_nothing,
        "/activity": list_nothing,
        f"/models/{_MODEL}/endpoints": show_endpoints,
        f"/model/{_MODEL}": show_model,
        "/providers": list_providers,
        "/key": show_key,
        "/credits": show_credits,
        "/generation": show_generation,
    }
    return [web.get(prefix + path, handler) for path, handler in handlers.items()]


async def list_nothing(request: web.Request) -> web.Response:
    """What there is none of here: endpoints that promise to keep nothing, earlier days."""
    return _json({"data": []})


async def list_embedders(request: web.Request) -> web.Response:
    """The models for embeddings."""
    return _json({"data": [EMBEDDER]})


def _json(body: dict[str, Any]) -> web.Response:
    return web.Response(body=encode_json(body), content_type="application/json")


async def list_models(request: web.Request) -> web.Response:
    try:
        found, bounds = select_models(request.query), page_bounds(request.query)
    except ValueError as exc:
        return error_response(400, str(exc))
    total, next_page = len(found), None
    if bounds is not None:
        offset, limit = bounds
        found = found[offset : offset + limit]
        if offset + limit < total:
            next_page = str(request.url.update_query(offset=offset + limit, limit=limit))
    return _json({"data": found, "total_count": total, "links": {"next": next_page}})


async def count_models(request: web.Request) -> web.Response:
    modalities = {"output_modalities": request.query.get("output_modalities", "text")}
    return _json({"data": {"count": len(select_models(modalities))}})


def _find(request: web.Request) -> Model | None:
    return find_model(f"{request.match_info['author']}/{request.match_info['slug']}")


async def show_model(request: web.Request) -> web.Response:
    model = _find(request)
    return error_response(404, "Model not found") if model is None else _json({"data": model})


async def show_endpoints(request: web.Request) -> web.Response:
    model = _find(request)
    return error_response(404, "Model not found") if model is None else _json({"data": model_endpoints(model)})


async def list_providers(request: web.Request) -> web.Response:
    provider = {
        "name": PROVIDER,
        "slug": PROVIDER.lower(),
        "privacy_policy_url": None,
        "terms_of_service_url": None,
        "status_page_url": None,
        "headquarters": None,
        "datacenters": None,
    }
    return _json({"data": [provider]})


async def show_key(request: web.Request) -> web.Response:
    """Any key, or none, is this one: unlimited, with what was spent since the start."""
    spent = float(request.app[SANDBOX].generations.spent)
    usage = {f"usage{span}": spent for span in ("", "_daily", "_weekly", "_monthly")}
    byok = {f"byok_usage{span}": 0 for span in ("", "_daily", "_weekly", "_monthly")}
    unset = ("creator_user_id", "effective_budget", "expires_at", "organization_id", "workspace_id")
    return _json(
        {
            "data": {
                "label": "sandbox",
                "limit": None,
                "limit_remaining": None,
                "limit_reset": None,
                **usage,
                **byok,
                "include_byok_in_limit": False,
                "is_free_tier": False,
                "is_management_key": False,
                "is_provisioning_key": False,
                "free_model_daily_requests": {"limit": 1000, "used": 0, "remaining": 1000},
                "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated."},
                "budgets": [],
                "allowed_data_regions": ["global"],
                **dict.fromkeys(unset),
            }
        }
    )


async def show_credits(request: web.Request) -> web.Response:
    spent = float(request.app[SANDBOX].generations.spent)
    return _json({"data": {"total_credits": _GRANTED, "total_usage": spent}})


async def show_generation(request: web.Request) -> web.Response:
    generation_id = request.query.get("id")
    if not generation_id:
        return error_response(400, "id: expected the id of a generation")
    generation = request.app[SANDBOX].generations.find(generation_id)
    if generation is None:
        return error_response(404, f"Generation {generation_id} not found")
    return _json({"data": generation.record()})
