"""`/openapi.json` and `/schemas/events/{name}` say what the server really does."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema_rs import Draft202012Validator

from client.errors import FAILURE_TYPES
from client.sandbox import HangUp, Hold, Reply, Sandbox
from client.sandbox.models.catalogue import MODELS
from client.streams.wire import EVENT_NAMES
from client.translation.events import ChatEvent
from server.access.attempts import LIMIT
from server.access.callers import Caller
from server.config import Config
from server.openapi import examples
from server.openapi.document import OPERATIONS
from server.openapi.events import _STRUCTS
from server.routes.api_docs import ApiDocuments, described_routes
from tests.server.budgets.test_usage import serving_for
from tests.support.api_document import ApiDocument
from tests.support.chunks import END, STOP, text
from tests.support.serving import Api, changed, question, serving, with_tokens
from tests.support.sse_reader import parse_events

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "api.md").read_text()


@pytest.fixture
async def document(api: Api) -> ApiDocument:
    """The document of the server under test."""
    return await document_of(api)


async def document_of(api: Api, **headers: str) -> ApiDocument:
    async with api.http.get(f"{api.url}/openapi.json", headers=headers) as response:
        assert response.status == 200
        return ApiDocument(await response.json())


async def ask(
    api: Api, document: ApiDocument, status: int, method: str, path: str, **more: Any
) -> aiohttp.ClientResponse:
    """A request whose answer has this status and is as described."""
    async with api.http.request(method, api.url + path, **more) as response:
        body = await response.read()
    assert response.status == status, body
    document.check(method, path.partition("?")[0], response.status, response.headers, body)
    return response


def test_the_document_is_valid_openapi_3_1(document: ApiDocument) -> None:
    from schemathesis.specs.openapi.definitions import OPENAPI_31  # the official schema; takes long to load

    errors = [error.message for error in Draft202012Validator(OPENAPI_31).iter_errors(document.document)]
    assert errors == []


async def test_every_route_is_described_and_every_description_has_its_route(api: Api, document: ApiDocument) -> None:
    assert document.operations == described_routes(api.app)
    assert {(operation.method, operation.path) for operation in OPERATIONS} == described_routes(api.app)
    any_method = {
        route.resource.canonical for route in api.app.router.routes() if route.method == "*" and route.resource
    }
    assert any_method == {"/mcp", "/mcp/"}
    assert "`/mcp`" in document.document["info"]["description"]


def test_bare_21_every_array_says_what_its_items_are(document: ApiDocument) -> None:
    """Generators of clients drop a schema without them, and all that hold it."""
    bare = [path for path, schema in _schemas_below(document.document) if _is_bare_array(schema)]
    assert not bare
    names = {"ChatReply", "ChatFailure", "StreamResult", "ReasoningDetailsData"}
    assert names <= document.document["components"]["schemas"].keys()


async def test_bare_21_so_do_the_schemas_of_events(api: Api) -> None:
    for name in EVENT_NAMES:
        _, found = await api.request("GET", f"/schemas/events/{name}")
        assert not [path for path, schema in _schemas_below(json.loads(found)) if _is_bare_array(schema)]


def test_bare_21_a_generator_finds_the_type_of_a_whole_answer_first(document: ApiDocument) -> None:
    content = document.document["paths"]["/chat"]["post"]["responses"]["200"]["content"]
    assert next(iter(content)) == "application/json"


def _is_bare_array(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    is_array = kind == "array" or (isinstance(kind, list) and "array" in kind)
    return is_array and not {"items", "prefixItems"} & schema.keys()


def _schemas_below(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a document, with where it stands; some are schemas."""
    if isinstance(node, dict):
        yield path, node
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _schemas_below(value, f"{path}/{key}")


def test_operation_ids_are_given_once(document: ApiDocument) -> None:
    ids = [operation.id for operation in OPERATIONS]
    assert len(ids) == len(set(ids))


def test_every_reference_leads_somewhere(document: ApiDocument) -> None:
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document.document)):
        found: Any = document.document
        for part in reference.split("/"):
            found = found[part]


def test_every_example_is_what_its_schema_describes(document: ApiDocument) -> None:
    for method, path in sorted(document.operations):
        operation = document.document["paths"][path][method]
        for response in operation["responses"].values():
            for media_type, media in response.get("content", {}).items():
                if "example" in media and media_type != "text/event-stream":
                    document.check_value(media["schema"], media["example"])
        for parameter in operation.get("parameters", []):
            if "example" in parameter:
                document.check_value(parameter["schema"], parameter["example"])
    for event in parse_events(examples.STREAM.encode()):
        document.check_event(event.name, event.id, event.data)
    for name, data in examples.EVENTS.items():
        document.check_event(name, f"{examples.STREAM_ID}:1", data)
    assert set(examples.EVENTS) == set(EVENT_NAMES)


@pytest.fixture
async def sandboxed(upstream: Sandbox, config: Config) -> AsyncIterator[Api]:
    """The product before the sandbox's own models, as fast as they go."""
    wide = changed(config, "server", max_body_bytes=100_000)
    async with serving(changed(wide, "upstream", max_retries=0, timeout_s=0.3)) as running:
        yield running


async def test_every_example_of_a_request_is_answered_with_200(sandboxed: Api) -> None:
    document = await document_of(sandboxed)
    body = document.operation("post", "/chat")["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        document.check_value(body["schema"], example["value"])
        quick = {**example["value"], "sandbox": {"tokens_per_s": 0}}
        await ask(sandboxed, document, 200, "POST", "/chat", json=quick)


async def test_a_reasoning_budget_beyond_all_measure_is_answered(sandboxed: Api) -> None:
    document = await document_of(sandboxed)
    asked = question(model="sandbox/reasoner", reasoning_max_tokens=2**70, sandbox={"tokens_per_s": 0})
    await ask(sandboxed, document, 200, "POST", "/chat?stream=false", json=asked)


async def test_a_message_in_the_query_is_as_good_as_one_in_the_body(sandboxed: Api) -> None:
    document = await document_of(sandboxed)
    quick = {"sandbox": {"tokens_per_s": 0}}
    document.check_value({"$ref": "#/components/schemas/ChatRequest"}, quick)
    await ask(sandboxed, document, 200, "POST", "/chat?message=Hello&model=sandbox/echo", json=quick)


async def test_the_example_of_an_answer_is_what_the_sandbox_answers(sandboxed: Api) -> None:
    asked = {**examples.CHAT_REQUESTS["question"]["value"], "sandbox": {"tokens_per_s": 0}}
    async with sandboxed.http.post(f"{sandboxed.url}/chat?stream=false", json=asked) as response:
        found = await response.json()
    assert found["content"] == examples.CHAT_REPLY["content"]
    assert found["annotations"][0] == examples.CHAT_REPLY["annotations"][0]
    assert found.keys() == examples.CHAT_REPLY.keys()


@pytest.mark.parametrize("model", [model["id"] for model in MODELS])
async def test_every_model_of_the_sandbox_is_answered_as_described(sandboxed: Api, model: str) -> None:
    document = await document_of(sandboxed)
    schemas = {name: await _event_schema(sandboxed, name) for name in EVENT_NAMES}
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    asked = question(model=model, tools=tools, sandbox={"tokens_per_s": 0, "tokens": 50})
    for whole in ("false", "true"):
        async with sandboxed.http.post(f"{sandboxed.url}/chat?stream={whole}", json=asked) as response:
            body = await response.read()
        document.check("POST", "/chat", response.status, response.headers, body)
    for event in parse_events(body):
        Draft202012Validator(schemas[event.name]).validate(event.data)
    stream_id = response.headers["X-Stream-Id"]
    await ask(sandboxed, document, 200, "GET", f"/chat/{stream_id}")
    await ask(sandboxed, document, 200, "GET", f"/chat/{stream_id}/result")
    await ask(sandboxed, document, 200, "DELETE", f"/chat/{stream_id}")


async def _event_schema(api: Api, name: str) -> dict[str, Any]:
    async with api.http.get(f"{api.url}/schemas/events/{name}") as response:
        assert response.status == 200
        found: dict[str, Any] = await response.json(content_type="application/schema+json")
    return found


async def test_every_event_has_a_schema_of_its_own(api: Api) -> None:
    for name in EVENT_NAMES:
        schema = await _event_schema(api, name)
        Draft202012Validator(schema)
        assert schema["$id"] == f"/schemas/events/{name}"
        assert schema["title"] == name
        assert schema["description"]
        Draft202012Validator(schema).validate(examples.EVENTS[name])
        assert not Draft202012Validator(schema).is_valid("a text")


async def test_an_event_that_there_is_not_is_404_and_names_those_there_are(api: Api, document: ApiDocument) -> None:
    await ask(api, document, 404, "GET", "/schemas/events/nothing")
    _, body = await api.request("GET", "/schemas/events/nothing")
    assert all(name in json.loads(body)["error"] for name in EVENT_NAMES)


def test_every_event_class_has_a_schema() -> None:
    names = {kind.__name__ for kind in ChatEvent.__args__} - {"StreamFailed"} | {"Failure"}
    assert {kind.__name__ for kind in _STRUCTS.values()} == names
    assert tuple(_STRUCTS) == EVENT_NAMES


async def test_a_stream_and_its_list_are_answered_as_described(
    api: Api, document: ApiDocument, upstream: Sandbox
) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("Blue."), Hold(go_on), STOP, END))
    async with api.http.post(f"{api.url}/chat", json=question(grace_s=60)) as response:
        path = response.headers["Location"]
        await ask(api, document, 200, "GET", "/chat")
        await ask(api, document, 202, "GET", f"{path}/result")
        go_on.set()
        last = parse_events(await response.read())[-1]
    await ask(api, document, 204, "GET", f"{path}?last_event_id={last.id}")
    await ask(api, document, 204, "POST", "/chat", headers={"Last-Event-ID": last.id})
    await ask(api, document, 422, "GET", f"{path}?last_event_id=nonsense")
    await ask(api, document, 200, "GET", f"{path}?last_event_id=")
    parameters = document.operation("get", path)["parameters"]
    event_ids = [each for each in parameters if each["name"].lower().replace("-", "_") == "last_event_id"]
    assert [each["in"] for each in event_ids] == ["header", "query"]
    for parameter in event_ids:
        document.check_value(parameter["schema"], "")
        document.check_value(parameter["schema"], last.id)
    await ask(api, document, 404, "GET", "/chat/nothing")
    await ask(api, document, 404, "GET", "/chat/nothing/result")
    await ask(api, document, 404, "DELETE", "/chat/nothing")
    await ask(api, document, 404, "POST", "/chat", headers={"Last-Event-ID": "nothing:1"})


async def test_our_own_refusals_are_as_described(api: Api, document: ApiDocument) -> None:
    typed = {"Content-Type": "application/json"}
    await ask(api, document, 400, "POST", "/chat", data=b"{", headers=typed)
    await ask(api, document, 403, "POST", "/chat", json=question(), headers={"Origin": "https://elsewhere.example"})
    await ask(api, document, 403, "GET", "/health", headers={"Origin": "https://elsewhere.example"})
    await ask(api, document, 413, "POST", "/chat", data=b" " * 2001, headers=typed)
    await ask(api, document, 415, "POST", "/chat", data=b"{}", headers={"Content-Type": "text/plain"})
    await ask(api, document, 422, "POST", "/chat", json={})
    await ask(api, document, 422, "GET", "/models?q=x")
    await ask(api, document, 422, "GET", "/models/families?q=x")
    await ask(api, document, 422, "GET", "/models/search?nothing=x")


async def test_a_full_and_a_stopping_server_answer_as_described(api: Api, config: Config) -> None:
    async with serving(changed(config, "streams", max_active=0)) as full:
        document = await document_of(full)
        await ask(full, document, 503, "POST", "/chat", json=question())
    document = await document_of(api)
    api.streams.is_draining = True
    await ask(api, document, 503, "POST", "/chat", json=question())


async def test_a_server_without_a_key_answers_as_described(config: Config) -> None:
    keyless = config.model_copy(update={"upstream": config.upstream.model_copy(update={"api_key": None})})
    keyless = changed(keyless, "upstream", base_url="https://openrouter.ai/api/v1")
    async with serving(keyless) as api:
        document = await document_of(api)
        await ask(api, document, 502, "POST", "/chat", json=question())
        await ask(api, document, 503, "GET", "/ready")


@pytest.mark.parametrize(
    ("upstream_status", "status"),
    [
        *((status, status) for status in (400, 402, 404, 409, 429, 503)),
        *((status, 502) for status in (401, 403, 500)),
        (408, 504),
    ],
)
async def test_refusals_of_openrouter_are_as_described(
    config: Config, upstream: Sandbox, upstream_status: int, status: int
) -> None:
    async with serving(changed(config, "upstream", max_retries=0)) as api:
        document = await document_of(api)
        upstream.script_always(Reply.error(upstream_status, "No", headers={"Retry-After": "1"}))
        await ask(api, document, status, "POST", "/chat", json=question())
        await ask(api, document, status, "POST", "/chat?stream=false", json=question())
        upstream.script_always(Reply.error(upstream_status, "No", headers={"Retry-After": "1"}), path="/models")
        await ask(api, document, status, "GET", "/models")
        await ask(api, document, status, "GET", "/models/search")


async def test_an_answer_that_breaks_off_is_as_described(api: Api, document: ApiDocument, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Bl"), HangUp()))
    await ask(api, document, 200, "POST", "/chat", json=question())
    await ask(api, document, 502, "POST", "/chat?stream=false", json=question())


async def test_the_catalogue_is_answered_as_described(api: Api, document: ApiDocument) -> None:
    for path in ("/models", "/models/search?q=echo", "/models/families", "/models/sandbox/echo"):
        response = await ask(api, document, 200, "GET", path)
        await ask(api, document, 304, "GET", path, headers={"If-None-Match": response.headers["ETag"]})
    await ask(api, document, 404, "GET", "/models/sandbox/eco")


async def test_probes_and_documents_are_answered_as_described(api: Api, document: ApiDocument) -> None:
    await ask(api, document, 200, "GET", "/health")
    await ask(api, document, 200, "GET", "/ready")
    await ask(api, document, 200, "GET", "/metrics")
    await ask(api, document, 200, "GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    for path in ("/openapi.json", "/docs", "/schemas/events/error"):
        response = await ask(api, document, 200, "GET", path)
        tag = response.headers["ETag"]
        assert not tag.startswith("W/")
        await ask(api, document, 304, "GET", path, headers={"If-None-Match": tag})
        await ask(api, document, 200, "GET", path, headers={"If-None-Match": '"another"'})


async def test_with_tokens_only_the_probes_and_the_bare_page_are_open(config: Config) -> None:
    async with serving(with_tokens(config, "let-me-in")) as api:
        document = await document_of(api, Authorization="Bearer let-me-in")
        for method, template in sorted(document.operations):
            path = re.sub(r"\{\w+\}", "content", template)
            operation = document.operation(method, path)
            is_open = operation["security"] == []
            assert is_open == (template in {"/health", "/ready", "/docs"})
            await ask(api, document, 200 if is_open else 401, method.upper(), path)


async def test_what_was_spent_and_the_limits_of_a_caller_are_answered_as_described(
    config: Config, upstream: Sandbox
) -> None:
    ann = Caller("ann", models=("acme/*",), requests_per_minute=1, budget_usd_per_day=Decimal(1))
    hers = {"Authorization": "Bearer secret-of-ann"}
    upstream.script(Reply.stream(text("Blue."), STOP, END))
    async with serving_for(config, ann) as api:
        document = await document_of(api, **hers)
        asked = question(max_tokens=10)
        await ask(api, document, 200, "POST", "/chat", json=asked, headers=hers)
        await ask(api, document, 403, "POST", "/chat", json=asked | {"model": "other/m"}, headers=hers)
        await ask(api, document, 429, "POST", "/chat", json=asked, headers=hers)
        await ask(api, document, 200, "GET", "/usage", headers=hers)
        await ask(api, document, 200, "GET", "/usage?from=2026-01-01&to=2026-01-31", headers=hers)
        await ask(api, document, 422, "GET", "/usage?from=yesterday", headers=hers)


async def test_who_tries_many_wrong_tokens_is_answered_as_described(config: Config) -> None:
    async with serving(with_tokens(config, "let-me-in")) as api:
        document = await document_of(api, Authorization="Bearer let-me-in")
        wrong = {"Authorization": "Bearer wrong"}
        for _ in range(LIMIT):
            await ask(api, document, 401, "GET", "/models", headers=wrong)
        response = await ask(api, document, 429, "GET", "/models", headers=wrong)
    assert int(response.headers["Retry-After"]) > 0


def test_schemas_hold_no_words_that_json_schema_does_not_know(document: ApiDocument) -> None:
    assert _words_of(document.document["components"]["schemas"].values()) <= _WORDS


_WORDS = set(
    "$ref additionalProperties anyOf const contentMediaType contentSchema default description enum format items "  # noqa: SIM905
    "maximum maxItems maxLength minLength minimum oneOf pattern properties required title type discriminator".split()
)
"""JSON Schema's, as far as they are used, and OpenAPI's `discriminator`."""


def _words_of(schemas: Iterable[Any]) -> set[str]:
    """Every keyword used; the names of properties are none."""
    words: set[str] = set()
    for schema in schemas:
        words |= schema.keys()
        below = [schema.get(name) for name in ("items", "additionalProperties", "contentSchema")]
        below += schema.get("anyOf", []) + schema.get("oneOf", []) + list(schema.get("properties", {}).values())
        words |= _words_of(each for each in below if isinstance(each, dict))
    return words


def test_every_route_is_in_the_documents() -> None:
    rows = re.findall(r"^\| (`(?:[A-Z]+ )?/.*?) \|", GUIDE.partition("\n## ")[0], re.MULTILINE)
    named = [re.findall(r"`(?:([A-Z]+) )?(/[^`]*)`", row) for row in rows]
    told = {((method or row[0][0]).lower(), path) for row in named for method, path in row}
    assert told - {("", "/mcp")} == {(operation.method, operation.path) for operation in OPERATIONS}


def test_every_type_of_error_is_in_the_documents() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| [45]", GUIDE, re.MULTILINE)
    assert sorted(rows) == sorted(FAILURE_TYPES)


def test_nothing_of_the_document_is_loaded_at_start_up() -> None:
    late = "('server.openapi', 'server.openapi.replies')"
    program = f"import sys, server.app; print([name for name in sys.modules if name.startswith({late})])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_document_is_built_once() -> None:
    built = 0

    def build() -> bytes:
        nonlocal built
        built += 1
        return b"{}"

    documents = ApiDocuments()
    first, second = await asyncio.gather(documents.get("a", build), documents.get("a", build))
    assert first is second
    assert built == 1
