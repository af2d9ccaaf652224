"""The API as a document: `/openapi.json`, `/schemas/events/{name}` and a page that shows both.

Everything is built at the first request, on a thread, and kept: a server that nobody asks pays nothing for it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ETag, web

from client.border.json_codec import encode_json
from client.models.catalogue import etag_of
from client.streams.wire import EVENT_NAMES
from server.errors import refuse
from server.http.access import is_of_page
from server.http.conditional import tagged, unchanged
from server.http.prefix import prefix_of
from server.keys import SETTINGS
from server.version import program_version

routes = web.RouteTableDef()

_SERVER = b'"servers":[{"url":"/"'
_SCHEMA_TYPE = "application/schema+json"
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """Bytes to be sent, and their tag."""

    body: bytes
    etag: ETag


class ApiDocuments:
    """What has been built so far."""

    def __init__(self) -> None:
        self._built: dict[str, asyncio.Task[Document]] = {}

    async def get(self, name: str, build: Callable[[], bytes]) -> Document:
        """The document of that name; `build` runs on a thread, once."""
        task = self._built.get(name)
        if task is None:
            task = self._built[name] = asyncio.create_task(self._build(build))
        return await asyncio.shield(task)

    async def _build(self, build: Callable[[], bytes]) -> Document:
        body = await asyncio.to_thread(build)
        return Document(body, ETag(etag_of(body)))


API_DOCUMENTS = web.AppKey("API_DOCUMENTS", ApiDocuments)


@routes.get("/openapi.json")
async def get_openapi(request: web.Request) -> web.Response:
    """The OpenAPI document."""
    app = request.app
    document = await app[API_DOCUMENTS].get("openapi", lambda: _build_openapi(app))
    if prefix := prefix_of(request):
        document = _below(prefix, document)
    return unchanged(request, document.etag) or tagged(document.body, "application/json", document.etag)


@routes.get("/schemas/events/{name}")
async def get_event_schema(request: web.Request) -> web.Response:
    """The JSON Schema of one event's data."""
    name = request.match_info["name"]
    if name not in EVENT_NAMES:
        raise refuse("not_found", 404, f"There is no event {name[:100]}; there are {', '.join(EVENT_NAMES)}.")
    document = await request.app[API_DOCUMENTS].get(f"event {name}", lambda: _build_event_schema(name))
    return unchanged(request, document.etag) or tagged(document.body, _SCHEMA_TYPE, document.etag)


@routes.get("/docs")
async def get_docs(request: web.Request) -> web.Response:
    """A page that shows the document; it loads nothing from anywhere else, and its policy forbids it to."""
    page = await request.app[API_DOCUMENTS].get("page", _read_page)
    response = unchanged(request, page.etag) or tagged(page.body, "text/html", page.etag)
    response.headers["Content-Security-Policy"] = _policy_of(page.body.decode())
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def described_routes(app: web.Application) -> set[tuple[str, str]]:
    """Method and path of every route that is part of the API; `HEAD` comes with `GET`, MCP takes any method, a
    double slash is the same route with a slip of the pen, and the web page is none of it."""
    found = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    return {
        (method.lower(), path)
        for method, path in found
        if method not in ("HEAD", "*") and "//" not in path and not is_of_page(path)
    }


def _build_openapi(app: web.Application) -> bytes:
    from server.openapi.document import build_document

    mcp = app[SETTINGS].current.mcp
    return encode_json(
        build_document(
            version=program_version(),
            routes=described_routes(app),
            mcp_path=mcp.path if mcp.enabled else None,
        )
    )


def _below(prefix: str, document: Document) -> Document:
    """The document for callers who see this server below a path."""
    body = document.body.replace(_SERVER, b'"servers":[{"url":%b' % encode_json(prefix), 1)
    return Document(body, ETag(etag_of(body)))


def _build_event_schema(name: str) -> bytes:
    from server.openapi.events import event_schema
    from server.openapi.schemas import compact

    return encode_json(compact(event_schema(name)))


def _read_page() -> bytes:
    return Path(__file__).with_name("docs_page.html").read_bytes()


def _policy_of(page: str) -> str:
    """Only what stands in the page itself may run or paint, and it may ask only the server that it came from."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    return (
        f"default-src 'none'; script-src {' '.join(hashes['script'])}; style-src {' '.join(hashes['style'])}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
