"""OpenRouter's embeddings: of each text numbers that depend on nothing but it."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from typing import Any

from aiohttp import web

from client.border.json_codec import encode_json
from client.sandbox.generations import Generation
from client.sandbox.models.catalogue import EMBEDDER, PROVIDER
from client.sandbox.models.order import BadRequest
from client.sandbox.protocols.chat import error_response
from client.sandbox.state import CALL, SANDBOX

_DIMENSIONS = 32
_MOST_DIMENSIONS = 8192
_MODEL_IDS = (EMBEDDER["id"], EMBEDDER["canonical_slug"])


async def embed(request: web.Request) -> web.Response:
    """`POST /embeddings`."""
    call, sandbox = request[CALL], request.app[SANDBOX]
    try:
        body = _object(call.body)
        inputs, dimensions = _inputs(body.get("input")), _dimensions(body.get("dimensions"))
    except BadRequest as exc:
        return error_response(400, str(exc))
    if body.get("model") not in _MODEL_IDS:
        return error_response(400, f"{body.get('model')} is not a valid model ID")
    generation = Generation(EMBEDDER, max(1, sum(map(len, inputs)) // 4), streamed=False)
    call.generation_id = generation.id
    sandbox.generations.settle(generation)
    usage = generation.usage()
    is_packed = body.get("encoding_format") == "base64"
    told = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(text, dimensions, is_packed=is_packed)}
            for index, text in enumerate(inputs)
        ],
        "model": EMBEDDER["canonical_slug"],
        "id": generation.id,
        "provider": PROVIDER,
        "usage": {name: usage[name] for name in ("prompt_tokens", "total_tokens", "cost")},
    }
    headers = {"X-Generation-Id": generation.id}
    return web.Response(body=encode_json(told), headers=headers, content_type="application/json")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        raise BadRequest("Invalid JSON in the request body") from None
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object")
    return body


def _inputs(given: object) -> list[bytes]:
    """Each text, or list of tokens or parts, as bytes that it is told apart by."""
    listed = given if isinstance(given, list) and not all(isinstance(item, int) for item in given) else [given]
    if given in (None, "", []) or not all(isinstance(item, str | list | dict) for item in listed):
        raise BadRequest("input: expected a text, or a list of texts")
    return [item.encode("utf-8", "surrogatepass") if isinstance(item, str) else encode_json(item) for item in listed]


def _dimensions(given: object) -> int:
    if given is None:
        return _DIMENSIONS
    if type(given) is not int or not 1 <= given <= _MOST_DIMENSIONS:
        raise BadRequest(f"dimensions: expected a whole number from 1 to {_MOST_DIMENSIONS}")
    return given


def _vector(text: bytes, dimensions: int, *, is_packed: bool) -> list[float] | str:
    """Of length 1; packed as little-endian floats of 32 bits in base64."""
    noise = hashlib.shake_256(text).digest(dimensions)
    numbers = [byte - 127.5 for byte in noise]
    length = math.sqrt(sum(number * number for number in numbers))
    numbers = [number / length for number in numbers]
    return base64.b64encode(struct.pack(f"<{dimensions}f", *numbers)).decode() if is_packed else numbers
