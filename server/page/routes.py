"""`/`, `/assets/…`, `/client.js` and the icon. Open to everybody, for there is nothing in them."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import ETag, hdrs, web

from server.access.forwarded import source_of
from server.errors import refuse
from server.http.conditional import tagged, unchanged
from server.http.json_reply import json_reply
from server.keys import SETTINGS
from server.page.files import CLIENT, FORMAT, INDEX, File, Files, read_files

routes = web.RouteTableDef()

_ICON: Final = "icon.svg"
_GREETING: Final = "Ollama is running"
"""By these words Ollama's clients know that somebody is there who speaks as they do."""
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src data: blob:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No exceptions: nothing in the page is inline, no script makes HTML of text, nothing comes from elsewhere."""


class PageFiles:
    """What was read last."""

    def __init__(self) -> None:
        self._files: Files | None = None

    async def known(self) -> Files:
        """What was read before."""
        return self._files or await self.fresh()

    async def fresh(self) -> Files:
        """As they are now."""
        self._files = await asyncio.to_thread(read_files, self._files)
        return self._files


PAGE_FILES = web.AppKey("PAGE_FILES", PageFiles)


def add_page(app: web.Application) -> None:
    """Serves the page; whether it does is looked up at every request."""
    app[PAGE_FILES] = PageFiles()
    app.add_routes(routes)


@routes.get("/")
async def get_page(request: web.Request) -> web.Response:
    """The page, with the addresses of its files as they are now. Programs get a word instead."""
    if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
        return web.Response(text=_GREETING, headers={hdrs.VARY: hdrs.ACCEPT, hdrs.CACHE_CONTROL: "no-cache"})
    files = await _files(request).fresh()
    body = files.by_path[INDEX].body
    body = body.replace(b"{assets}", f"assets/{files.hash}".encode())
    body = body.replace(b"{format}", b"yes" if files.formats else b"no")
    etag = ETag(files.hash)
    response = unchanged(request, etag) or tagged(body, "text/html", etag)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers.add(hdrs.VARY, hdrs.ACCEPT)
    if _is_trustworthy(request):
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if response.status == 200:
        response.enable_compression()
    return response


@routes.get("/assets/format.json")
async def get_format(request: web.Request) -> web.Response:
    """Where that is which formats answers, for a page that was opened before it was built."""
    files = await _files(request).fresh()
    path = f"assets/{files.hash}/{FORMAT}" if files.formats else None
    return json_reply({"format": path}, headers={hdrs.CACHE_CONTROL: "no-cache"})


@routes.get("/assets/{hash}/{path:.+}")
async def get_asset(request: web.Request) -> web.Response:
    """A file of the page. Under an older hash, of a page that has been open for long, it is the one of today."""
    files = await _files(request).known()
    file = files.by_path.get(request.match_info["path"])
    if file is None:
        raise refuse("not_found", 404, "The page has no such file.")
    is_current = request.match_info["hash"] == files.hash
    return _sent(request, file, _FOR_EVER if is_current else "no-cache")


@routes.get("/client.js")
async def get_client(request: web.Request) -> web.Response:
    """The JavaScript client, for pages and programs that import it from here."""
    files = await _files(request).fresh()
    return _tagged(request, files.by_path[CLIENT])


@routes.get("/favicon.ico")
async def get_icon(request: web.Request) -> web.Response:
    """What browsers ask for by themselves."""
    files = await _files(request).known()
    return _tagged(request, files.by_path[_ICON])


def _files(request: web.Request) -> PageFiles:
    """The files, if there is to be a page.

    Raises:
        HTTPNotFound: there shall be none.
    """
    if not request.app[SETTINGS].current.page.enabled:
        raise web.HTTPNotFound
    return request.app[PAGE_FILES]


def _tagged(request: web.Request, file: File) -> web.Response:
    etag = ETag(file.tag)
    return unchanged(request, etag) or _with_tag(_sent(request, file, "no-cache"), etag)


def _with_tag(response: web.Response, etag: ETag) -> web.Response:
    response.etag = etag
    return response


def _sent(request: web.Request, file: File, cache: str) -> web.Response:
    charset = "utf-8" if file.content_type.startswith(("text/", "image/svg")) else None
    headers = {hdrs.CACHE_CONTROL: cache}
    body = file.body
    if file.packed is not None:
        headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            headers[hdrs.CONTENT_ENCODING] = "gzip"
            body = file.packed
    return web.Response(body=body, headers=headers, content_type=file.content_type, charset=charset)


def _is_trustworthy(request: web.Request) -> bool:
    """Whether browsers heed all headers here: elsewhere they complain of this one to the person (Fetch, 2.5)."""
    source = source_of(request, request.app[SETTINGS].current.server.trusted_proxies)
    return source.scheme == "https" or request.host.partition(":")[0] in ("localhost", "127.0.0.1")
