"""Reading a JSON object from a request, with an answer for everything that can be wrong with it."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import msgspec
from aiohttp import hdrs, web

from client.border.media_type import UNSAID, media_type
from server.errors import refuse
from server.http.body import read_body
from server.keys import BODY_BYTES

_UNSAID = frozenset({UNSAID, "application/x-www-form-urlencoded"})
"""What a body is called of which nobody has said what it is: here, and by curl."""


async def read_json_object(request: web.Request, *, may_be_unsaid: bool = False) -> dict[str, Any]:
    """The request's body; `may_be_unsaid`: also one that is not called JSON.

    Raises:
        ApiError: `unsupported_media_type`, `payload_too_large` or `invalid_json`.
    """
    kind = media_type(request.headers.get(hdrs.CONTENT_TYPE))
    if kind != "application/json" and not (may_be_unsaid and kind in _UNSAID):
        raise refuse(
            "unsupported_media_type",
            415,
            f"The body must be sent as Content-Type: application/json, not {kind}.",
        )
    body = await read_body(request)
    request[BODY_BYTES] = len(body)
    found = _decode(body)
    if not isinstance(found, dict):
        raise refuse("invalid_json", 400, f"The body must be a JSON object, not {_json_type(found)}.")
    return found


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_carefully(body)


def _decode_carefully(body: bytes) -> Any:
    """Takes what is unusual (a byte order mark, half of a surrogate pair), and says what is wrong with the rest.

    Of a key that stands twice in an object the last one counts, as in the fast way.
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as exc:
        raise refuse("invalid_json", 400, f"The body is not UTF-8 (byte {exc.start}).") from exc
    except json.JSONDecodeError as exc:
        where = f"line {exc.lineno}, column {exc.colno}"
        raise refuse("invalid_json", 400, f"The body is not valid JSON: {exc.msg} at {where}.") from exc
    except RecursionError as exc:
        raise refuse("invalid_json", 400, "The body is nested too deeply.") from exc
    except ValueError as exc:  # a number of more digits than Python converts
        raise refuse("invalid_json", 400, "The body holds a number that is too long.") from exc


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise refuse("invalid_json", 400, f"The body holds {digits[:20]}, which is beyond every number.")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise refuse("invalid_json", 400, f"The body holds {name}, which is no JSON number.")


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names[type(value)]
