"""JSON replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from client.border.json_codec import encode_json


def json_reply(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """The value as the reply's body, whatever upstream or a caller put into it."""
    return web.Response(body=encode_json(value), status=status, headers=headers, content_type="application/json")
