"""Where the protocols are: their mounts, and in whose words a refusal goes out there."""

from __future__ import annotations

from aiohttp import web

from server.http.failures import SHAPES, Shapes
from server.protocols.chat_completions.models import list_models, show_model
from server.protocols.chat_completions.routes import OPENAI, OPENROUTER
from server.protocols.chat_completions.upstream_reads import UPSTREAM_READS, refuse_unknown_cost, show_key

OPENROUTER_MOUNT = "/api/v1"
OPENAI_MOUNT = "/v1"


def add_protocols(app: web.Application) -> None:
    """Adds the routes of all protocols."""
    app[SHAPES] = shapes = Shapes()
    for mount, dialect in ((OPENROUTER_MOUNT, OPENROUTER), (OPENAI_MOUNT, OPENAI)):
        shapes.add(mount, dialect.respond)
        app.router.add_post(f"{mount}/chat/completions", dialect.post)
        app.router.add_post(f"{mount}//chat/completions", dialect.post)  # a base URL that ends with a slash
        app.router.add_get(f"{mount}/models", list_models)
        for path in ("/embeddings", "/completions"):
            app.router.add_post(mount + path, refuse_unknown_cost)
        for path, handler in UPSTREAM_READS.items():
            app.router.add_get(mount + path, handler)
        app.router.add_get(f"{mount}/key", show_key)
        app.router.add_get(f"{mount}/auth/key", show_key)
        app.router.add_get(f"{mount}/models/{{model_id:.+}}", show_model)
