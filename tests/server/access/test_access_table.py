"""Every route, for everybody, from everywhere: who gets what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, product

import aiohttp
import pytest

from client.config import StreamsConfig
from client.sandbox import Reply, Sandbox
from server.access.callers import Caller
from server.access.tokens import hash_token
from server.config import Config
from tests.mcp.test_http import INITIALIZE
from tests.support.chunks import END, STOP, event, text
from tests.support.mcp.clients import ACCEPT
from tests.support.serving import Api, changed, question, serving

OPEN = {"/health", "/ready", "/docs", "/", "/client.js", "/favicon.ico", "/assets/format.json", "/assets/x/main.js"}
_MOUNTED = (("/v1/chat/completions", ""), ("/api/v1/chat/completions", ""))
OWN = {f"{path}/{{id}}{end}" for path, end in (("/chat", ""), ("/chat", "/result"), *_MOUNTED)}
"""Below these there is the stream of `right`, and for anybody else there is nothing."""
FOUND = {
    ("GET", "/chat"): 200,
    ("POST", "/chat"): 200,
    ("GET", "/chat/{id}"): 200,
    ("DELETE", "/chat/{id}"): 200,
    ("GET", "/chat/{id}/result"): 200,
    ("GET", "/models"): 200,
    ("GET", "/models/search"): 200,
    ("GET", "/models/families"): 200,
    ("GET", "/models/sandbox/echo"): 200,
    ("GET", "/openapi.json"): 200,
    ("GET", "/schemas/events/done"): 200,
    ("GET", "/metrics"): 200,
    ("GET", "/usage"): 200,
    ("POST", "/mcp"): 200,
    ("POST", "/mcp/"): 200,
    ("GET", "/health"): 200,
    ("GET", "/ready"): 200,
    ("GET", "/docs"): 200,
    **{
        (method, mount + path): status
        for mount in ("/v1", "/api/v1")
        for (method, path), status in {
            ("POST", "/chat/completions"): 200,
            ("POST", "//chat/completions"): 200,
            ("GET", "/chat/completions/{id}"): 200,
            ("POST", "/embeddings"): 200,
            ("POST", "/completions"): 200,
            ("GET", "/models"): 200,
            ("GET", "//models"): 200,
            ("GET", "/models/sandbox/echo"): 200,
            ("GET", "/models/count"): 200,
            ("GET", "/models/user"): 200,
            ("GET", "/models/sandbox/echo/endpoints"): 200,
            ("GET", "/model/sandbox/echo"): 200,
            ("GET", "/providers"): 200,
            ("GET", "/endpoints/zdr"): 200,
            ("GET", "/embeddings/models"): 200,
            ("GET", "/credits"): 200,
            ("GET", "/activity"): 200,
            ("GET", "/generation"): 400,
            ("GET", "/key"): 200,
            ("GET", "/auth/key"): 200,
            ("POST", "/responses"): 200,
            ("POST", "//responses"): 200,
            ("GET", "/responses/{id}"): 200,
            ("POST", "/responses/{id}/cancel"): 200,
            ("DELETE", "/responses/{id}"): 404,  # of another id: it would be gone for the rest of the table
            ("POST", "/responses/compact"): 404,
            ("POST", "/responses/input_tokens"): 404,
            ("POST", "/messages"): 200,
            ("POST", "//messages"): 200,
            ("POST", "/messages/count_tokens"): 200,
            ("POST", "//messages/count_tokens"): 200,
            ("GET", "/messages/{id}"): 200,
        }.items()
    },
    **{
        (method, mount + path): status
        for mount in ("/api/chat", "/api/chat/text")
        for (method, path), status in {
            ("POST", ""): 200,
            ("GET", "/{chat}/stream"): 204,
            ("POST", "/{chat}/stop"): 204,
            ("DELETE", "/{chat}/stop"): 204,
        }.items()
    },
    ("POST", "/api/generate"): 200,
    ("GET", "/api/tags"): 200,
    ("POST", "/api/show"): 200,
    ("GET", "/api/ps"): 200,
    ("GET", "/api/version"): 200,
    ("POST", "/api/embed"): 404,
    ("POST", "/api/embeddings"): 404,
    ("POST", "/ag-ui"): 200,
    ("GET", "/ag-ui"): 400,
    ("GET", "/"): 200,
    ("GET", "/client.js"): 200,
    ("GET", "/favicon.ico"): 200,
    ("GET", "/assets/format.json"): 200,
    ("GET", "/assets/x/main.js"): 200,
    ("GET", "/nowhere"): 404,
    ("PUT", "/chat"): 405,
}
"""What a caller gets that may call."""
ADMINS = ("/credits", "/activity")
"""Of the protocols' routes, those about the account of the server."""
TOKENS = ("none", "wrong", "right", "other", "admin")
SOURCES = ("local", "remote", "forwarded")
PLACES = {"/chat/{stream_id}": "/chat/{id}", "/chat/{stream_id}/result": "/chat/{id}/result"}
for _mount in ("/v1", "/api/v1"):
    PLACES |= {f"{_mount}/chat/completions/{{stream_id}}": f"{_mount}/chat/completions/{{id}}"}
    PLACES |= {f"{_mount}/models/{{model_id}}": f"{_mount}/models/sandbox/echo"}
    PLACES |= {f"{_mount}/models/{{author}}/{{slug}}/endpoints": f"{_mount}/models/sandbox/echo/endpoints"}
    PLACES |= {f"{_mount}/model/{{author}}/{{slug}}": f"{_mount}/model/sandbox/echo"}
    PLACES |= {f"{_mount}/responses/{{response_id}}": f"{_mount}/responses/{{id}}"}
    PLACES |= {f"{_mount}/responses/{{response_id}}/cancel": f"{_mount}/responses/{{id}}/cancel"}
    PLACES |= {f"{_mount}/messages/{{stream_id}}": f"{_mount}/messages/{{id}}"}
    OWN |= {f"{_mount}/messages/{{id}}", f"{_mount}/responses/{{id}}", f"{_mount}/responses/{{id}}/cancel"}
PLACES |= {"/models/{model_id}": "/models/sandbox/echo", "/schemas/events/{name}": "/schemas/events/done"}
PLACES |= {"/assets/{hash}/{path}": "/assets/x/main.js"}
for _mount in ("/api/chat", "/api/chat/text"):
    PLACES |= {f"{_mount}/{{chat_id}}/{end}": f"{_mount}/{{chat}}/{end}" for end in ("stream", "stop")}


@dataclass(frozen=True)
class Cell:
    """One request of the table."""

    method: str
    path: str
    token: str
    source: str

    @property
    def expected_with_tokens(self) -> int:
        """Where the caller is does not matter, only who he is."""
        if self.path in OPEN:
            return 200
        if self.token in ("none", "wrong"):
            return 401
        if self.path in OWN and self.token != "right":
            return 404
        if self.path.endswith(ADMINS) and self.token != "admin":
            return 403
        return FOUND[self.method, self.path]

    @property
    def expected_without_tokens(self) -> int:
        """Who the caller says he is does not matter, only where he is."""
        if self.path in OPEN:
            return 200
        return FOUND[self.method, self.path] if self.source == "local" else 401


CELLS = [Cell(*route, token, source) for route, token, source in product(FOUND, TOKENS, SOURCES)]


class Everywhere:
    """Calls one server as anybody, from anywhere; nobody is at one address twice, so no limit is met.

    Addresses of this machine are real ones (127.0.0.0/8). Those elsewhere are told by a proxy that the server trusts,
    and forwarded requests come from one that it does not.

    Attributes:
        stream_id: of a finished stream of `right`.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._numbers: Iterator[int] = count(256)
        self.stream_id = ""

    async def ask(self, cell: Cell) -> aiohttp.ClientResponse:
        """What somebody gets, read to its end."""
        number = next(self._numbers)
        address = f"{number >> 8}.{number & 255}"
        local = "127.0.0.1" if cell.source == "remote" else f"127.0.{address}"
        is_deleted = cell.method == "DELETE" and "/responses/" in cell.path
        headers = {} if cell.token == "none" else {"Authorization": f"Bearer {cell.token}"}
        if cell.source != "local":
            headers["X-Forwarded-For"] = f"127.0.0.1, 198.18.{address}"
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(local, 0))) as http,
            http.request(
                cell.method,
                self._api.url + cell.path.replace("{id}", "another" if is_deleted else self.stream_id),
                json=_BODIES.get(cell.path) if cell.method == "POST" else None,
                headers={**headers, **(ACCEPT if cell.path.startswith("/mcp") else {})},
            ) as response,
        ):
            await response.read()
            return response


_BODIES = {"/mcp": INITIALIZE, "/mcp/": INITIALIZE, "/chat": question(model="sandbox/echo", stream=False)}
_BODIES |= {
    f"{mount}{slash}/chat/completions": {"model": "sandbox/echo", "messages": [{"role": "user", "content": "Hi"}]}
    for mount in ("/v1", "/api/v1")
    for slash in ("", "/")
}
_HELLO = {"id": "1", "role": "user"}
_PARTS = [{"type": "text", "text": "Hi"}]
_CHAT = {"id": "chat", "model": "sandbox/echo", "messages": [{**_HELLO, "parts": _PARTS}]}
_BODIES |= {"/api/chat": _CHAT, "/api/chat/text": _CHAT}
_BODIES |= {"/api/generate": {"model": "sandbox/echo", "prompt": "Hi"}, "/api/show": {"model": "sandbox/echo"}}
_BODIES["/ag-ui"] = {
    "threadId": "t",
    "runId": "r",
    "messages": [{**_HELLO, "content": "Hi"}],
    "forwardedProps": {"model": "sandbox/echo"},
}
_BODIES |= {
    f"{mount}{slash}/messages{end}": {
        "model": "sandbox/echo",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    for mount in ("/v1", "/api/v1")
    for slash in ("", "/")
    for end in ("", "/count_tokens")
}
_BODIES |= {
    f"{mount}{path}": {"model": "sandbox/embedder", "input": "Hi", "prompt": "Hi"}
    for mount in ("/v1", "/api/v1")
    for path in ("/embeddings", "/completions")
}
_BODIES |= {
    f"{mount}{slash}/responses": {"model": "sandbox/echo", "input": "Hi"}
    for mount in ("/v1", "/api/v1")
    for slash in ("", "/")
}


@asynccontextmanager
async def everywhere(config: Config) -> AsyncIterator[Everywhere]:
    """A server with a stream of `right`."""
    async with serving(config) as api:
        world = Everywhere(api)
        headers = {"Authorization": "Bearer right", "X-Forwarded-For": "127.0.0.1"}
        if not config.server.trusted_proxies:
            del headers["X-Forwarded-For"]
        async with api.http.post(f"{api.url}/chat", json=_BODIES["/chat"], headers=headers) as response:
            assert response.status == 200
            world.stream_id = response.headers["X-Stream-Id"]
        yield world


async def statuses(config: Config) -> dict[Cell, int]:
    """The whole table as it is: of a server, and for callers elsewhere of one that trusts the proxy at 127.0.0.1."""
    found: dict[Cell, int] = {}
    for proxies in ((), ("127.0.0.1/32",)):
        async with everywhere(changed(config, "server", trusted_proxies=proxies)) as world:
            for cell in CELLS:
                if (cell.source == "remote") is bool(proxies):
                    found[cell] = (await world.ask(cell)).status
    return found


@pytest.fixture
def lasting(config: Config, upstream: Sandbox) -> Config:
    """Settings under which finished streams can be read for the whole test; answers come at once."""
    upstream.script_always(Reply.stream(text("x"), STOP, END))
    upstream.script_always(
        Reply.stream(event({"choices": [{"text": "x", "finish_reason": "stop"}]}), END), path="/completions"
    )
    config = changed(config, "upstream", protocols=("completions", "embeddings"))
    return config.model_copy(update={"streams": StreamsConfig(grace_s=0.0, retain_s=600)})


@pytest.fixture
def guarded(lasting: Config) -> Config:
    """The same, with three callers."""
    names = ("right", "other", "admin")
    callers = tuple(Caller(name, hash_token(name), admin=name == "admin") for name in names)
    return lasting.model_copy(update={"callers": callers})


async def test_the_table_holds_every_route(guarded: Config) -> None:
    async with serving(guarded) as api:
        routes = {
            (route.method, PLACES.get(route.resource.canonical, route.resource.canonical))
            for route in api.app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
    routes = {("POST" if method == "*" else method, path) for method, path in routes}
    assert routes == FOUND.keys() - {("GET", "/nowhere"), ("PUT", "/chat")}


async def test_with_tokens_it_only_counts_who_calls(guarded: Config) -> None:
    assert await statuses(guarded) == {cell: cell.expected_with_tokens for cell in CELLS}


async def test_without_tokens_it_only_counts_where_the_caller_is(lasting: Config) -> None:
    assert await statuses(lasting) == {cell: cell.expected_without_tokens for cell in CELLS}


async def test_nobody_but_an_admin_sees_what_others_do(guarded: Config) -> None:
    async with everywhere(guarded) as world:
        await world.ask(Cell("POST", "/chat", "other", "local"))
        seen = {}
        for token in ("right", "other", "admin"):
            usage = await (await world.ask(Cell("GET", "/usage", token, "local"))).json()
            chats = await (await world.ask(Cell("GET", "/chat", token, "local"))).json()
            seen[token] = {row["caller"] for row in usage["data"]}, len(chats["data"])
    assert seen == {"right": ({"right"}, 1), "other": ({"other"}, 1), "admin": ({"right", "other"}, 0)}


async def test_a_stream_cannot_be_resumed_by_another_caller(guarded: Config) -> None:
    async with serving(guarded) as api:
        body = question(model="sandbox/echo", stream=False)
        async with api.http.post(f"{api.url}/chat", json=body, headers={"Authorization": "Bearer right"}) as response:
            stream_id = response.headers["X-Stream-Id"]
        for token, status in (("right", 200), ("other", 404), ("admin", 404)):
            headers = {"Authorization": f"Bearer {token}", "Last-Event-ID": f"{stream_id}:1"}
            async with api.http.post(f"{api.url}/chat", json=question(), headers=headers) as response:
                assert response.status == status


async def test_this_machine_by_a_name_of_somebody_else_is_refused_on_every_route(lasting: Config) -> None:
    """DNS rebinding: a page's own name leads to 127.0.0.1, so that the browser takes us for the page's origin."""
    async with serving(lasting) as api:
        for method, path in FOUND:
            response, _ = await api.request(
                method, path, Host="rebound.example:80", Origin="http://rebound.example:80"
            )
            assert response.status == (200 if path in OPEN else 403), path
