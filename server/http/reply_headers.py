"""The headers that every reply has, whoever made it."""

from __future__ import annotations

from aiohttp import hdrs, web

from server.errors import NOSNIFF
from server.http.prefix import prefix_of


async def complete_headers(request: web.Request, response: web.StreamResponse) -> None:
    """An `on_response_prepare` signal. What says nothing of caches is for this caller and this moment, so they keep
    nothing of it; and `Location` is as the caller has to write it."""
    headers = response.headers
    headers[NOSNIFF] = "nosniff"
    headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    location = headers.get(hdrs.LOCATION)
    if location is not None and location.startswith("/"):
        headers[hdrs.LOCATION] = prefix_of(request) + location
    if not response.keep_alive and hdrs.CONNECTION in headers:
        headers[hdrs.CONNECTION] = "close"  # the libraries of event streams have another one there, whatever happens
