"""Answers that a caller may have already: `ETag`, `If-None-Match`, 304."""

from __future__ import annotations

from aiohttp import ETag, web


def unchanged(request: web.Request, etag: ETag) -> web.Response | None:
    """A 304 when the caller has it already: `If-None-Match` compares weakly (RFC 9110, 13.1.2)."""
    wanted = request.if_none_match or ()
    if not any(tag.value in ("*", etag.value) for tag in wanted):
        return None
    return _marked(web.Response(status=304), etag)


def tagged(body: bytes, content_type: str, etag: ETag) -> web.Response:
    """The body, to be kept by the caller and asked for again with its tag."""
    charset = "utf-8" if content_type.startswith("text/") else None
    return _marked(web.Response(body=body, content_type=content_type, charset=charset), etag)


def _marked(response: web.Response, etag: ETag) -> web.Response:
    response.etag = etag
    response.headers["Cache-Control"] = "no-cache"
    return response
