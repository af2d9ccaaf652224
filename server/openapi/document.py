"""Puts the document together."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from server.openapi import chat_routes, other_routes
from server.openapi.events import event_components
from server.openapi.parts import HEADERS, Operation
from server.openapi.protocols import ag_ui, chat_completions, messages, ollama, responses, ui_stream
from server.openapi.schemas import compact, reply_schemas, request_schemas

OPERATIONS: tuple[Operation, ...] = (
    *chat_routes.OPERATIONS,
    *other_routes.OPERATIONS,
    *chat_completions.OPERATIONS,
    *responses.OPERATIONS,
    *messages.OPERATIONS,
    *ui_stream.OPERATIONS,
    *ag_ui.OPERATIONS,
    *ollama.OPERATIONS,
)

_DESCRIPTION = """\
Streams OpenRouter's answers as typed server-sent events, finds models, and stops paying for answers that nobody \
reads.

**Errors** have one shape everywhere, as JSON bodies and as the `error` event: `Failure`. `type` is a stable word to \
branch on; `error` says what happened and what to do. Below `/v1` and `/api/v1` they have OpenAI's shape and \
OpenRouter's, at `/v1/messages` and `/api/v1/messages` Anthropic's, elsewhere below `/api` Ollama's; for the AI \
SDK's `useChat` they are one sentence of plain text. A path that does not exist is a 404, a method that a path does \
not have a 405 with `Allow`, both in that shape. Only what is no proper HTTP is refused otherwise.

**Streams** outlive connections: every event has an `id`, and `GET /chat/{stream_id}` goes on after any of them.

**Who may call**: programs on the server's own machine, or, where tokens are set, everybody who sends one as \
`Authorization: Bearer <token>`.

The examples name models of the sandbox (`openrouter-server --sandbox`), which needs no key and costs nothing."""


def build_document(*, version: str, routes: Collection[tuple[str, str]], mcp_path: str | None) -> dict[str, Any]:
    """The OpenAPI document of a server that has these routes.

    Args:
        routes: method (lower case) and path of each.
        mcp_path: where MCP is served; None where it is not.
    """
    described = [operation for operation in OPERATIONS if (operation.method, operation.path) in routes]
    paths: dict[str, dict[str, Any]] = {}
    for operation in described:
        paths.setdefault(operation.path, {})[operation.method] = operation.to_document()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "openrouter-sse-backend",
            "version": version,
            "description": _DESCRIPTION + _mcp_note(mcp_path),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/", "description": "The server that gave this document."}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in described)],
        "paths": paths,
        "components": {
            "schemas": compact(
                {
                    **request_schemas(),
                    **event_components(),
                    **reply_schemas(),
                    **chat_completions.SCHEMAS,
                    **messages.SCHEMAS,
                    **ag_ui.SCHEMAS,
                    **responses.SCHEMAS,
                    **ollama.SCHEMAS,
                }
            ),
            "headers": HEADERS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of this server; needed once tokens are set.",
                }
            },
        },
    }


def _mcp_note(path: str | None) -> str:
    if path is None:
        return ""
    return (
        f"\n\n**MCP**: the same is offered as MCP tools at `{path}` (streamable HTTP). That is a protocol of its own "
        "over any method, and not described here."
    )
