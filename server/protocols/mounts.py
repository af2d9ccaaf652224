"""Where the protocols are: their mounts, and in whose words a refusal goes out there."""

from __future__ import annotations

from aiohttp import web

from server.http.failures import SHAPES, Shapes
from server.protocols import api_chat
from server.protocols.ag_ui import routes as ag_ui
from server.protocols.chat_completions.models import list_models, show_model
from server.protocols.chat_completions.routes import OPENAI, OPENROUTER
from server.protocols.chat_completions.upstream_reads import UPSTREAM_READS, show_key
from server.protocols.embeddings.routes import EMBEDDINGS_OF_OPENAI, EMBEDDINGS_OF_OPENROUTER
from server.protocols.messages.routes import MESSAGES, count_tokens
from server.protocols.ollama import models as ollama_models
from server.protocols.ollama import routes as ollama
from server.protocols.responses.routes import RESPONSES_OF_OPENAI, RESPONSES_OF_OPENROUTER, Responses, refuse_absent
from server.protocols.responses.stored import cancel_response, delete_response, get_response
from server.protocols.text_completions.routes import COMPLETIONS_OF_OPENAI, COMPLETIONS_OF_OPENROUTER
from server.protocols.ui_stream import routes as ui

OPENROUTER_MOUNT = "/api/v1"
OPENAI_MOUNT = "/v1"
UI_MOUNT = "/api/chat"
AG_UI_PATH = "/ag-ui"
OLLAMA_MOUNT = "/api"


def add_protocols(app: web.Application) -> None:
    """Adds the routes of all protocols."""
    app[SHAPES] = shapes = Shapes()
    _add_messages(app, shapes)  # ahead of the mounts that they lie below
    _add_chat_completions(app, shapes)
    for mount, responses in ((OPENROUTER_MOUNT, RESPONSES_OF_OPENROUTER), (OPENAI_MOUNT, RESPONSES_OF_OPENAI)):
        _add_responses(app, mount, responses)
    app.router.add_post(f"{OPENROUTER_MOUNT}/embeddings", EMBEDDINGS_OF_OPENROUTER.post)
    app.router.add_post(f"{OPENROUTER_MOUNT}/completions", COMPLETIONS_OF_OPENROUTER.post)
    app.router.add_post(f"{OPENAI_MOUNT}/embeddings", EMBEDDINGS_OF_OPENAI.post)
    app.router.add_post(f"{OPENAI_MOUNT}/completions", COMPLETIONS_OF_OPENAI.post)
    _add_ui_stream(app, shapes)
    _add_ag_ui(app, shapes)
    _add_ollama(app, shapes)


def _add_messages(app: web.Application, shapes: Shapes) -> None:
    for mount in (OPENROUTER_MOUNT, OPENAI_MOUNT):
        for path in (f"{mount}/messages", f"{mount}//messages"):  # a base URL that ends with a slash
            shapes.add(path, MESSAGES.respond)
            app.router.add_post(path, MESSAGES.post)
            app.router.add_post(f"{path}/count_tokens", count_tokens)
        app.router.add_get(f"{mount}/messages/{{stream_id}}", MESSAGES.get, allow_head=False)


def _add_chat_completions(app: web.Application, shapes: Shapes) -> None:
    for mount, dialect in ((OPENROUTER_MOUNT, OPENROUTER), (OPENAI_MOUNT, OPENAI)):
        shapes.add(mount, dialect.respond)
        app.router.add_post(f"{mount}/chat/completions", dialect.post)
        app.router.add_post(f"{mount}//chat/completions", dialect.post)  # a base URL that ends with a slash
        app.router.add_get(f"{mount}/chat/completions/{{stream_id}}", dialect.get, allow_head=False)
        app.router.add_get(f"{mount}/models", list_models)
        app.router.add_get(f"{mount}//models", list_models)
        for path, handler in UPSTREAM_READS.items():
            app.router.add_get(mount + path, handler)
        app.router.add_get(f"{mount}/key", show_key)
        app.router.add_get(f"{mount}/auth/key", show_key)
        app.router.add_get(f"{mount}/models/{{model_id:.+}}", show_model)


def _add_ui_stream(app: web.Application, shapes: Shapes) -> None:
    """Chats' ids stand in paths as they are: clients do not write a slash in one as `%2F`."""
    shapes.add_choice(UI_MOUNT, api_chat.shape_of)
    app.router.add_post(UI_MOUNT, api_chat.post_chat)
    app.router.add_post(f"{UI_MOUNT}/text", ui.post_text)
    app.router.add_get(f"{UI_MOUNT}/text/{{chat_id:.+}}/stream", ui.get_text, allow_head=False)
    app.router.add_get(f"{UI_MOUNT}/{{chat_id:.+}}/stream", ui.get_chat, allow_head=False)
    for mount in (f"{UI_MOUNT}/text", UI_MOUNT):
        app.router.add_post(f"{mount}/{{chat_id:.+}}/stop", ui.stop_chat)
        app.router.add_delete(f"{mount}/{{chat_id:.+}}/stop", ui.stop_chat)


def _add_ag_ui(app: web.Application, shapes: Shapes) -> None:
    shapes.add(AG_UI_PATH, ag_ui.AG_UI.respond)
    app.router.add_post(AG_UI_PATH, ag_ui.post_run)
    app.router.add_get(AG_UI_PATH, ag_ui.get_run, allow_head=False)  # a reader of a HEAD would be sent the events too


def _add_responses(app: web.Application, mount: str, dialect: Responses) -> None:
    """Refused in the shape of the mount that they are below."""
    one = f"{mount}/responses/{{response_id}}"
    app.router.add_post(f"{mount}/responses", dialect.post)
    app.router.add_post(f"{mount}//responses", dialect.post)
    for absent in ("input_tokens", "compact"):
        app.router.add_post(f"{mount}/responses/{absent}", refuse_absent)
    app.router.add_get(one, get_response, allow_head=False)  # a reader of a HEAD would be sent the events too
    app.router.add_delete(one, delete_response)
    app.router.add_post(f"{one}/cancel", cancel_response)


def _add_ollama(app: web.Application, shapes: Shapes) -> None:
    """Whatever else is below `/api` is refused as Ollama would refuse it."""
    shapes.add(OLLAMA_MOUNT, ollama.respond)
    app.router.add_post(f"{OLLAMA_MOUNT}/generate", ollama.GENERATE.post)
    app.router.add_get(f"{OLLAMA_MOUNT}/tags", ollama_models.list_models)
    app.router.add_get(f"{OLLAMA_MOUNT}/ps", ollama_models.list_loaded)
    app.router.add_get(f"{OLLAMA_MOUNT}/version", ollama_models.show_version)
    app.router.add_post(f"{OLLAMA_MOUNT}/show", ollama_models.show_model)
    for path in ("/embed", "/embeddings"):
        app.router.add_post(OLLAMA_MOUNT + path, ollama.refuse_embeddings)
