"""The path below which callers see this server, where a proxy takes it off again: it stands before every path of ours
that a reply names."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec
from aiohttp import web

from client.errors import Failure
from server.access.forwarded import is_trusted_proxy
from server.config.sections import check_root_path
from server.keys import SETTINGS

_FORWARDED: Final = "X-Forwarded-Prefix"
_MOST_CHARACTERS: Final = 200
_OURS: Final = re.compile(
    r"(?<![\w./:-])/(?=(?:chat|docs|health|mcp|metrics|models|openapi\.json|ready|schemas|usage)\b)"
)


def prefix_of(request: web.Request) -> str:
    """What stands before our paths for this caller; empty where nothing does.

    A trusted proxy's header goes before the setting; what is no path in it counts as nothing.
    """
    settings = request.app.get(SETTINGS)
    if settings is None:
        return ""
    config = settings.current.server
    if _FORWARDED in request.headers and is_trusted_proxy(request, config.trusted_proxies):
        told = _joined(", ".join(request.headers.getall(_FORWARDED)))
        if told is not None:
            return told
    return config.root_path


def prefixed(failure: Failure, prefix: str) -> Failure:
    """The failure with our paths in its words as the caller has to write them."""
    if not prefix:
        return failure
    details = [msgspec.structs.replace(each, what=_with(prefix, each.what)) for each in failure.details]
    return msgspec.structs.replace(failure, error=_with(prefix, failure.error), details=details)


def _with(prefix: str, text: str) -> str:
    return _OURS.sub(lambda _: f"{prefix}/", text)


@lru_cache(maxsize=64)
def _joined(told: str) -> str | None:
    """Several proxies may each have added their part, the outermost first."""
    try:
        return check_root_path("".join(part.strip().rstrip("/") for part in told[:_MOST_CHARACTERS].split(",")))
    except ValueError:
        return None
