"""Models in Ollama's words: what its clients list, and what they ask of one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from client.models.catalogue import Catalogue, ModelNotFound
from server.access.callers import check_models
from server.errors import refuse
from server.http.json_body import read_json_object
from server.http.json_reply import json_reply
from server.keys import CALLER, CATALOGUE
from server.protocols.ollama.request import LATEST

VERSION = "0.12.0"
"""That whose words are spoken here: clients ask for it to know what they may ask."""
_CAPABILITIES = {"tools": "tools", "reasoning": "thinking"}
"""What a model can, by the parameters that it takes."""


async def show_version(request: web.Request) -> web.Response:
    """`GET /api/version`."""
    return json_reply({"version": VERSION})


async def list_loaded(request: web.Request) -> web.Response:
    """`GET /api/ps`: models that take memory; here none does."""
    return json_reply({"models": []})


async def list_models(request: web.Request) -> web.Response:
    """`GET /api/tags`: every model that the caller may use."""
    caller = request[CALLER]
    listing = await request.app[CATALOGUE].listing(caller.may_use if caller.models else None)
    return json_reply({"models": [_listed(entry.model) for entry in listing.snapshot.index.entries]})


async def show_model(request: web.Request) -> web.Response:
    """`POST /api/show`."""
    body = await read_json_object(request, may_be_unsaid=True)
    name = body.get("model") or body.get("name")
    if not isinstance(name, str):
        raise refuse("invalid_request", 422, "model: is missing")
    catalogue = request.app[CATALOGUE]
    model_id = meant_model(name, catalogue)
    check_models(request[CALLER], {"model": model_id})
    try:
        found = await catalogue.get(model_id)
    except ModelNotFound as exc:
        raise refuse("model_not_found", 404, f"model '{name[:200]}' not found") from exc
    return json_reply(_shown(found.model))


def meant_model(name: str, catalogue: Catalogue) -> str:
    """The model that a client means that puts `:latest` behind names: that is no variant of a model here."""
    if not name.endswith(LATEST):
        return name
    known = catalogue.known(name)
    return name if known is not None and known.get("id") == name else name.removesuffix(LATEST)


def _listed(model: Mapping[str, Any]) -> dict[str, Any]:
    model_id = str(model.get("id"))
    return {
        "name": model_id,
        "model": model_id,
        "modified_at": _created_at(model),
        "size": 0,
        "digest": hashlib.sha256(model_id.encode(errors="replace")).hexdigest(),
        "details": _details(model),
    }


def _shown(model: Mapping[str, Any]) -> dict[str, Any]:
    family, name = _family(model), str(model.get("name") or model.get("id"))
    info: dict[str, Any] = {"general.architecture": family, "general.basename": name}
    if isinstance(context_length := model.get("context_length"), int):
        info[f"{family}.context_length"] = context_length
    return {
        "details": _details(model),
        "model_info": info,
        "capabilities": _capabilities(model),
        "modified_at": _created_at(model),
    }


def _details(model: Mapping[str, Any]) -> dict[str, Any]:
    family = _family(model)
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": "",
    }


def _family(model: Mapping[str, Any]) -> str:
    """Its author, as one word: nothing more is known of most."""
    return re.sub(r"[^a-z0-9]", "", str(model.get("id")).partition("/")[0].lower()) or "other"


def _capabilities(model: Mapping[str, Any]) -> list[str]:
    parameters, architecture = model.get("supported_parameters"), model.get("architecture")
    taken = parameters if isinstance(parameters, list) else []
    read = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    vision = ["vision"] if isinstance(read, list) and "image" in read else []
    return ["completion", *(word for name, word in _CAPABILITIES.items() if name in taken), *vision]


def _created_at(model: Mapping[str, Any]) -> str:
    created = model.get("created")
    created_s = created if isinstance(created, int) and 0 <= created < 2**32 else 0
    return datetime.fromtimestamp(created_s, UTC).isoformat().replace("+00:00", "Z")
