"""Holds real answers against `/openapi.json`: status, content type, headers, and the shape of every value.

Stricter than the document in one way: where a schema names fields and does not say that others may stand beside
them, a field that it does not name is a fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema_rs import Draft202012Validator

from tests.support.sse_reader import parse_events

_WATCHED = {"X-Stream-Id", "Location", "X-Generation-Id", "Retry-After", "WWW-Authenticate", "ETag", "Cache-Control"}


class ApiDocument:
    """The document of a running server."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._components = {"schemas": closed(document["components"]["schemas"])}
        self._validators: dict[str, Draft202012Validator] = {}

    @property
    def operations(self) -> set[tuple[str, str]]:
        """Method and path of everything that is described."""
        return {(method, path) for path, methods in self.document["paths"].items() for method in methods}

    def operation(self, method: str, url_path: str) -> dict[str, Any]:
        """The operation that a request is for."""
        found: dict[str, Any] = self.document["paths"][self.template_of(method, url_path)][method.lower()]
        return found

    def template_of(self, method: str, url_path: str) -> str:
        """The path as the document spells it; one without parameters goes first."""
        templates = [path for path, methods in self.document["paths"].items() if method.lower() in methods]
        for template in sorted(templates, key=lambda path: path.count("{")):
            if re.fullmatch(_pattern_of(template), url_path):
                return str(template)
        raise AssertionError(f"{method} {url_path} is not described")

    def check(self, method: str, url_path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Fails unless the document says that this request may be answered so."""
        self.check_answer(method, self.template_of(method, url_path), status, headers, body)

    def check_answer(self, method: str, template: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """The same, for a path as the document spells it."""
        what = f"{method} {template} {status}"
        responses = self.document["paths"][template][method.lower()]["responses"]
        key = str(status) if str(status) in responses else f"{status // 100}XX"
        assert key in responses, f"{what} is not described; known are {', '.join(responses)}"
        response = responses[key]
        described = {name.lower() for name in response.get("headers", {})}
        sent = {name.lower() for name in headers} & {name.lower() for name in _WATCHED}
        assert sent <= described, f"{what} has headers that are not described: {sent - described}"
        content = response.get("content", {})
        if not body:
            assert not content or method.upper() == "HEAD", f"{what} has no body"
            return
        media_type = headers["Content-Type"].partition(";")[0]
        assert media_type in content, f"{what} is {media_type}; described are {', '.join(content)}"
        self._check_body(media_type, content[media_type]["schema"], status, body)

    def check_value(self, schema: Any, value: Any) -> None:
        """Fails unless a value is what a schema of the document describes."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            root = {"components": self._components, **closed(schema)}
            self._validators[key] = Draft202012Validator(root)
        self._validators[key].validate(value)

    def check_event(self, name: str, event_id: str, data: Any) -> None:
        """Fails unless the document describes this event."""
        event = {"event": name, "id": event_id, "data": json.dumps(data)}
        self.check_value({"$ref": "#/components/schemas/StreamEvent"}, event)
        self.check_value({"$ref": self._data_of(name)}, data)

    def _check_body(self, media_type: str, schema: Any, status: int, body: bytes) -> None:
        if media_type == "text/event-stream" and "$ref" not in schema:  # another protocol's
            for block in body.decode().split("\n\n")[:-1]:
                fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
                fields.pop("id", None)
                if fields:
                    self.check_value(schema, fields)
        elif media_type == "text/event-stream":
            for event in parse_events(body):
                self.check_event(event.name, event.id, event.data)
        elif media_type.endswith("ndjson"):
            for line in body.decode().splitlines():
                self.check_value(schema, json.loads(line))
        elif media_type.endswith("json"):
            value = json.loads(body)
            self.check_value(schema, value)
            if status >= 400 and "partial" not in value:
                code = value["error"].get("code") if isinstance(value["error"], dict) else value.get("status")
                assert code == status or not isinstance(code, int)
        else:
            self.check_value(schema, body.decode())

    def _data_of(self, name: str) -> str:
        schemas = self.document["components"]["schemas"]
        events = (schemas[each["$ref"].rpartition("/")[2]] for each in schemas["StreamEvent"]["oneOf"])
        found = {event["properties"]["event"]["const"]: event["properties"]["data"] for event in events}
        reference: str = found[name]["contentSchema"]["$ref"]
        return reference


def closed(schema: Any) -> Any:
    """The schema, in which an object that names its fields has no others, unless it says that it may."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    is_object = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    return {**found, "additionalProperties": schema.get("additionalProperties", False)} if is_object else found


def _pattern_of(template: str) -> str:
    """Model ids hold slashes; nothing else does."""
    pieces = re.split(r"\{(\w+)\}", template)
    named = [".+" if name == "model_id" else "[^/]+" for name in pieces[1::2]]
    return "".join(re.escape(text) + pattern for text, pattern in zip(pieces[::2], [*named, ""], strict=True))
