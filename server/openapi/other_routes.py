"""The operations of everything but `/chat`."""

from __future__ import annotations

from typing import Any

from client.models.query import ModelQuery
from client.streams.wire import EVENT_NAMES
from server.openapi import examples
from server.openapi.parts import (
    IF_NONE_MATCH,
    NOT_MODIFIED,
    Operation,
    Parameter,
    Response,
    failure,
    headers,
    in_path,
    json_response,
    query,
    response,
)
from server.openapi.schemas import Schema, pydantic_schema, ref

_CACHED = headers("ETag", "Cache-Control")
_FETCHED = {"fetched_at": "2026-11-24T16:52:53+00:00", "stale": False}
_NO_PARAMETERS = failure("This route takes no parameters.")


def _search_parameters() -> tuple[Parameter, ...]:
    """One for each field of the model that validates them."""
    fields = pydantic_schema(ModelQuery)["properties"]
    return tuple(_search_parameter(name, field) for name, field in fields.items())


def _search_parameter(name: str, field: Schema) -> Parameter:
    described = {key: value for key, value in field.items() if key not in ("description", "anyOf")}
    branches = [branch for branch in field.get("anyOf", []) if branch["type"] != "null"]
    schema: Schema = {**described, **(branches[0] if branches else {})}
    if schema["type"] == "array":
        del schema["default"]
        return query(name, schema, field["description"], style="form", explode=False)
    return query(name, schema, field["description"])


def _from_upstream(responses: dict[str, Response]) -> dict[str, Response]:
    """For routes that may have to ask OpenRouter."""
    retry = headers("Retry-After")
    return {
        **responses,
        "304": NOT_MODIFIED,
        "4XX": failure("OpenRouter refused with this status.", headers=retry),
        "502": failure("OpenRouter failed, or did not accept this server's key.", headers=retry),
        "503": failure("OpenRouter is not available.", headers=retry),
        "504": failure("OpenRouter took too long.", headers=retry),
    }


MODELS = (
    Operation(
        "get",
        "/models",
        "listModels",
        "Models",
        "List every model",
        _from_upstream(
            {
                "200": json_response(
                    "OpenRouter's objects, whole.",
                    ref("ModelList"),
                    {"data": [examples.MODEL], "total": 1, **_FETCHED},
                    headers=_CACHED,
                ),
                "422": _NO_PARAMETERS,
            }
        ),
        description="Fetched once for all callers and kept for `models.ttl_s`; served on while OpenRouter is down.",
        parameters=(IF_NONE_MATCH,),
    ),
    Operation(
        "get",
        "/models/search",
        "searchModels",
        "Models",
        "Search, filter and sort the models",
        _from_upstream(
            {
                "200": json_response(
                    "The models that match; `total` counts them before paging.",
                    ref("ModelPage"),
                    {"data": [examples.MODEL], "total": 1, "limit": 50, "offset": 0, **_FETCHED},
                    headers=_CACHED,
                ),
                "422": failure("An unknown parameter or value; `details` lists the known ones."),
            }
        ),
        parameters=(*_search_parameters(), IF_NONE_MATCH),
    ),
    Operation(
        "get",
        "/models/families",
        "listFamilies",
        "Models",
        "List the authors of models",
        _from_upstream(
            {
                "200": json_response(
                    "Every author and how many models it has, the largest first.",
                    ref("FamilyList"),
                    {"data": [{"family": "sandbox", "count": 13}]},
                    headers=_CACHED,
                ),
                "422": _NO_PARAMETERS,
            }
        ),
        parameters=(IF_NONE_MATCH,),
    ),
    Operation(
        "get",
        "/models/{model_id}",
        "getModel",
        "Models",
        "Get one model and who serves it",
        _from_upstream(
            {
                "200": json_response(
                    "The model.", ref("ModelReply"), {"data": examples.MODEL, "endpoints": []}, headers=_CACHED
                ),
                "404": failure("Nobody knows it; `suggestions` are near ids.", "no_model"),
                "422": _NO_PARAMETERS,
            }
        ),
        description="An id holds a slash, maybe `~` and `:variant`; the slash may stand as it is or as `%2F`.",
        parameters=(in_path("model_id", "As listed.", "sandbox/refuser"), IF_NONE_MATCH),
    ),
)

_DAY: Schema = {"type": "string", "format": "date"}

USAGE = (
    Operation(
        "get",
        "/usage",
        "getUsage",
        "Running it",
        "What was asked and spent",
        {
            "200": json_response("By day, caller and model.", ref("UsageReply"), examples.USAGE),
            "422": failure("No day, an unknown parameter, or too long a time."),
        },
        description="The caller's own figures; those of all callers for one with `admin`.",
        parameters=(
            query("from", _DAY, "The first day, UTC; 30 days up to `to` without."),
            query("to", _DAY, "The last day, UTC; today without."),
        ),
    ),
)

PROBES = (
    Operation(
        "get",
        "/health",
        "getHealth",
        "Running it",
        "Whether the process lives, and what it holds",
        {"200": json_response("It lives.", ref("Health"), examples.HEALTH)},
        is_open=True,
    ),
    Operation(
        "get",
        "/ready",
        "getReady",
        "Running it",
        "Whether work is taken",
        {
            "200": json_response("It is.", ref("Ready"), {"status": "ready"}),
            "503": failure("It is not: the server starts, stops or has no key."),
        },
        is_open=True,
    ),
)

FIGURES = Operation(
    "get",
    "/metrics",
    "getMetrics",
    "Running it",
    "Figures for Prometheus",
    {
        "200": response(
            "Prometheus' text format, or OpenMetrics for those who ask for it.",
            {
                "text/plain": {"schema": {"type": "string"}},
                "application/openmetrics-text": {"schema": {"type": "string"}},
            },
            headers=headers("Cache-Control"),
        )
    },
    description="`docs/metrics.md` in the source lists every figure.",
)


def _document(description: str, media_type: str, schema: Schema, **more: Any) -> dict[str, Response]:
    found = response(description, {media_type: {"schema": schema}}, headers=_CACHED)
    return {"200": found, "304": NOT_MODIFIED, **more}


DOCUMENTS = (
    Operation(
        "get",
        "/openapi.json",
        "getOpenApi",
        "This document",
        "This document",
        _document("OpenAPI 3.1.", "application/json", {"type": "object", "required": ["openapi", "info", "paths"]}),
        parameters=(IF_NONE_MATCH,),
    ),
    Operation(
        "get",
        "/docs",
        "getDocs",
        "This document",
        "This document as a page",
        _document("Loads nothing from anywhere else.", "text/html", {"type": "string"}),
        description="The page is open to everybody; the document that it shows needs a token where tokens are set.",
        parameters=(IF_NONE_MATCH,),
        is_open=True,
    ),
    Operation(
        "get",
        "/schemas/events/{name}",
        "getEventSchema",
        "This document",
        "The JSON Schema of an event's data",
        _document(
            "JSON Schema 2020-12.",
            "application/schema+json",
            {"type": "object", "required": ["$schema", "$id", "title", "description"]},
            **{"404": failure("No such event; the error names those there are.")},
        ),
        parameters=(
            in_path("name", "The event's name.", "content", {"type": "string", "enum": list(EVENT_NAMES)}),
            IF_NONE_MATCH,
        ),
    ),
)

OPERATIONS = (*MODELS, *USAGE, *PROBES, FIGURES, *DOCUMENTS)
