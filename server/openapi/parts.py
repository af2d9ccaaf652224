"""The pieces that operations are put together from: parameters, headers, responses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from server.openapi.examples import FAILURES, STREAM_ID
from server.openapi.schemas import Schema, ref

_EVERYWHERE = {"Cache-Control": {"$ref": "#/components/headers/Cache-Control"}}
Response = dict[str, Any]
Responses = dict[str, Response]
Parameter = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One method of one route.

    Attributes:
        id: `operationId`; names the operation in generated code.
        tag: the section it belongs to.
        summary: a line.
        description: what the line cannot say; CommonMark.
        responses: by status, without those that every operation has.
        body: `requestBody`.
        is_open: needs no token.
        shape: the component that describes its refusals; `text`: they are plain text; with a + between, either.
    """

    method: str
    path: str
    id: str
    tag: str
    summary: str
    responses: Responses
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: dict[str, Any] | None = None
    is_open: bool = False
    shape: str = "Failure"
    extra: dict[str, Any] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """The Operation Object."""
        found: dict[str, Any] = {"operationId": self.id, "tags": [self.tag], "summary": self.summary}
        if self.description:
            found["description"] = self.description
        if self.parameters:
            found["parameters"] = list(self.parameters)
        if self.body is not None:
            found["requestBody"] = self.body
        shared = SHARED if self.is_open else {**SHARED, **GUARDED}
        responses = {**_in_shape(shared, self.shape), **self.responses}
        found["responses"] = {status: responses[status] for status in sorted(responses)}
        found["security"] = [] if self.is_open else [{}, {"bearer": []}]
        return {**found, **self.extra}


def _in_shape(responses: Responses, shape: str) -> Responses:
    """Refusals of our own shape in another."""
    if shape == "Failure":
        return responses
    content: dict[str, Any] = {}
    for name in shape.split("+"):
        if name == "text":
            content["text/plain"] = media({"type": "string"})
        else:
            content["application/json"] = media(ref(name))
    return {status: {**response, "content": content} for status, response in responses.items()}


def json_response(
    description: str, schema: Schema, example: Any = None, *, headers: dict[str, Any] | None = None
) -> Response:
    """A response of one JSON value."""
    return response(description, {"application/json": media(schema, example)}, headers=headers)


def response(
    description: str, content: dict[str, Any] | None = None, *, headers: dict[str, Any] | None = None
) -> Response:
    """A response; without content it has no body."""
    found: Response = {"description": description, "headers": _EVERYWHERE | (headers or {})}
    if content:
        found["content"] = content
    return found


def media(schema: Schema, example: Any = None) -> dict[str, Any]:
    """A Media Type Object."""
    return {"schema": schema} if example is None else {"schema": schema, "example": example}


def failure(description: str, example: str | None = None, *, headers: dict[str, Any] | None = None) -> Response:
    """A response in the error shape."""
    return json_response(description, ref("Failure"), FAILURES.get(example or ""), headers=headers)


def headers(*names: str) -> dict[str, Any]:
    """Response headers, described once for the whole document."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def query(name: str, schema: Schema, description: str, **more: Any) -> Parameter:
    """A parameter in the query; none is ever needed."""
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def in_path(name: str, description: str, example: str, schema: Schema | None = None) -> Parameter:
    """A parameter in the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema or {"type": "string", "minLength": 1},
        "example": example,
    }


_ETAG = '"9a0364b9e99bb480dd25e1f0284c8555"'


def _header(description: str, example: str | int, **schema: Any) -> dict[str, Any]:
    kind = "integer" if isinstance(example, int) else "string"
    return {"description": description, "schema": {"type": kind, **schema}, "example": example}


HEADERS: dict[str, Any] = {
    "X-Stream-Id": _header("The stream's id: `GET /chat/{stream_id}` reads it again.", STREAM_ID),
    "Location": _header("Where the stream can be read again.", f"/chat/{STREAM_ID}", format="uri-reference"),
    "X-Generation-Id": _header("OpenRouter's generation id, once known.", "gen-1795539172-UYyGPIR8yRPOEKybg7iD"),
    "Retry-After": _header("Seconds to wait before the next try.", 5, minimum=1),
    "WWW-Authenticate": _header("The way to say who calls.", "Bearer"),
    "Cache-Control": _header("`no-cache`: may be kept, with the `ETag` to ask anew; `no-store`: not.", "no-cache"),
    "ETag": _header("Changes with the content; send it back as `If-None-Match`.", _ETAG),
}

SHARED: Responses = {
    "400": failure("No proper HTTP/1.1, such as a `Host` that is none."),
    "403": failure("A web page of an origin that may not call, or a `Host` that is not this server's.", "forbidden"),
    "500": failure("A fault of this server; its log has the details."),
}
"""What every operation can answer."""

GUARDED: Responses = {
    "401": failure("A token of this server is needed.", "unauthorized", headers=headers("WWW-Authenticate")),
    "429": failure("A limit of this server for its callers.", headers=headers("Retry-After")),
}
"""What every operation can answer that is not open to everybody."""

NOT_MODIFIED = response("The caller has it already (`If-None-Match`).", headers=headers("ETag", "Cache-Control"))

IF_NONE_MATCH: Parameter = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of what the caller has.",
    "schema": {"type": "string"},
    "example": _ETAG,
}

IDEMPOTENCY_KEY: Parameter = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Becomes the stream's id. The same key with the same body again reads the same answer; nothing "
    "starts and nothing is billed. Another body under it is refused.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{22,64}$"},
}

GRACE: Parameter = {
    "name": "X-Stream-Grace",
    "in": "header",
    "description": "As `grace_s`, for clients that cannot put it into the body.",
    "schema": {"type": "number", "minimum": 0},
}
