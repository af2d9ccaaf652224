"""What is refused below `/v1` and `/api/v1`, in whose words, and with which status and headers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from yarl import URL

from client.sandbox import Hold, Reply, Sandbox
from client.sandbox.models.catalogue import MODELS
from server.access.callers import Caller
from server.config import Config
from tests.server.budgets.test_usage import bearer, serving_for
from tests.support.chunks import END, STOP, text
from tests.support.completions import ASKED, MOUNTS, asking, complete, complete_whole, frames_in
from tests.support.serving import Api, changed, serving, with_tokens
from tests.support.sse_reader import read_until

JSON = {"Content-Type": "application/json"}


def judged(mount: str, status: int, body: bytes) -> dict[str, Any]:
    """The error of a refusal, proved to have the mount's shape."""
    found = json.loads(body)
    assert found.keys() == {"error"}
    error: dict[str, Any] = found["error"]
    assert error["message"]
    assert error["metadata"]["type"]
    if mount == "/api/v1":
        assert error.keys() == {"code", "message", "metadata"}
        assert error["code"] == status
    else:
        assert error.keys() == {"message", "type", "param", "code", "metadata"}
    return error


async def refused(
    api: Api, mount: str, status: int, method: str, path: str, data: bytes | None = None, **headers: str
) -> dict[str, Any]:
    response, body = await api.request(method, mount + path, data, **headers)
    assert response.status == status, body
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.headers["X-Request-Id"] == response.headers["Request-Id"] != ""
    return judged(mount, status, body)


@pytest.fixture
async def once(config: Config) -> AsyncIterator[Api]:
    """A server that tries nothing again."""
    async with serving(changed(config, "upstream", max_retries=0)) as running:
        yield running


@pytest.mark.parametrize("mount", MOUNTS)
async def test_requests_that_cannot_be_taken(mount: str, api: Api) -> None:
    chat = "/chat/completions"
    typed = {"Content_Type": "application/json"}
    await refused(api, mount, 400, "POST", chat, b"{", **typed)
    await refused(api, mount, 400, "POST", chat, b"[]", **typed)
    await refused(api, mount, 400, "POST", chat, b"", **typed)
    await refused(api, mount, 413, "POST", chat, b" " * 2001, **typed)
    await refused(api, mount, 415, "POST", chat, b"{}", Content_Type="text/plain")
    await refused(api, mount, 405, "GET", chat)
    await refused(api, mount, 405, "DELETE", "/models")
    await refused(api, mount, 404, "GET", "/nothing")
    await refused(api, mount, 404, "POST", "/audio/speech", b"{}", **typed)
    await refused(api, mount, 404, "GET", "")
    await refused(api, mount, 403, "POST", chat, b"{}", Origin="https://elsewhere.example", **typed)
    await refused(api, mount, 400, "GET", "/generation")
    await refused(api, mount, 404, "GET", "/generation?id=gen-of-somebody-else")


BAD_FIELDS: dict[str, dict[str, Any]] = {
    "messages": {"messages": []},
    "model": {"model": 5},
    "stream": {"stream": "yes"},
    "n": {"n": 2},
    "grace_s": {"grace_s": -1},
}


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("field", BAD_FIELDS)
async def test_a_field_that_is_wrong_is_named_with_400(mount: str, field: str, api: Api, upstream: Sandbox) -> None:
    body = json.dumps({**ASKED, **BAD_FIELDS[field]}).encode()
    error = await refused(api, mount, 400, "POST", "/chat/completions", body, Content_Type="application/json")
    assert field in error["message"]
    assert error["metadata"]["type"] == "invalid_request"
    if mount == "/v1":
        assert (error["type"], error["param"]) == ("invalid_request_error", field)
    assert not upstream.calls


@pytest.mark.parametrize("path", ["/chat", "/v1/chat/completions", "/api/v1/chat/completions"])
async def test_a_grace_that_is_no_number_is_refused(path: str, api: Api, upstream: Sandbox) -> None:
    for grace in ("soon", "nan", "-1", "1e9", ""):
        async with api.http.post(api.url + path, json=asking(), headers={"X-Stream-Grace": grace}) as response:
            assert response.status == (422 if path == "/chat" else 400)
            assert "X-Stream-Grace" in await response.text()
    assert not upstream.calls


async def test_the_id_of_a_refusal_is_in_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    ids = []
    with caplog.at_level(logging.INFO, "access"):
        for path in ("/v1/nothing", "/api/v1/nothing", "/ag-ui/nothing"):
            response, _ = await api.request("GET", path)
            ids.append(response.headers["Request-Id"])
        ours, _ = await api.request("GET", "/nothing")
    assert "Request-Id" not in ours.headers
    assert len(set(ids)) == len(ids)
    logged = [getattr(record, "fields", {}).get("request_id") for record in caplog.records]
    assert [each for each in logged if each is not None] == ids


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_double_slash_is_a_slip(mount: str, api: Api, upstream: Sandbox) -> None:
    upstream.script(Reply.stream(text("Hi"), STOP, END))
    async with api.http.post(f"{api.url}{mount}//chat/completions", json=ASKED) as response:
        assert response.status == 200
    async with api.http.get(f"{api.url}{mount}//models") as response:
        assert (await response.json())["data"]


@pytest.mark.parametrize("mount", MOUNTS)
async def test_trap_13_a_token_may_come_in_either_header(mount: str, config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), STOP, END))
    right, wrong = "a-token-of-this-server", "no-token-of-this-server"
    async with serving(with_tokens(config, right)) as api:
        for bearer_token, key, status in (
            (right, None, 200),
            (None, right, 200),
            (right, right, 200),
            (right, wrong, 401),
            (wrong, right, 401),
            (wrong, None, 401),
            (None, wrong, 401),
            (None, None, 401),
        ):
            headers = {} if bearer_token is None else {"Authorization": f"Bearer {bearer_token}"}
            headers |= {} if key is None else {"x-api-key": key}
            response, body = await complete(api, mount, headers)
            assert response.status == status, (bearer_token, key)
            if status == 401:
                error = judged(mount, status, body)
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert mount == "/api/v1" or (error["type"], error["code"]) == (
                    "authentication_error",
                    "invalid_api_key",
                )
    assert all(right not in str(call.headers) for call in upstream.calls)
    async with serving(config) as api:
        for headers in ({"Authorization": "Bearer none"}, {"x-api-key": "sk-no-key"}):
            response, _ = await complete(api, mount, headers)
            assert response.status == 200


@pytest.mark.parametrize("mount", MOUNTS)
async def test_refusals_of_openrouter_keep_status_and_headers(mount: str, once: Api, upstream: Sandbox) -> None:
    for said, status, retry_s, hopeless in (
        (400, 400, None, None),
        (402, 402, None, None),
        (404, 404, None, None),
        (429, 429, "1", None),
        (429, 429, "60", "false"),
        (503, 503, "2", None),
        (401, 502, None, None),
        (500, 502, None, None),
        (408, 504, None, None),
    ):
        headers = {} if retry_s is None else {"Retry-After": retry_s}
        upstream.script_always(Reply.error(said, "No", {"provider_name": "Acme"}, headers=headers))
        for response, body in (await complete(once, mount), await complete_whole(once, mount)):
            assert response.status == status
            error = judged(mount, status, body if isinstance(body, bytes) else json.dumps(body).encode())
            assert response.headers.get("Retry-After") == retry_s
            assert response.headers.get("x-should-retry") == hopeless
            assert response.headers["X-Stream-Id"]
            if said == 402 and mount == "/v1":
                assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_full_and_a_stopping_server(mount: str, api: Api, config: Config) -> None:
    async with serving(changed(config, "streams", max_active=0)) as full:
        response, body = await complete(full, mount)
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        judged(mount, 503, body)
    api.streams.is_draining = True
    response, body = await complete(api, mount)
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    judged(mount, 503, body)
    api.streams.is_draining = False


@asynccontextmanager
async def for_ann(config: Config, **limits: Any) -> AsyncIterator[Api]:
    async with serving_for(config, Caller("ann", None, **limits)) as api:
        yield api


@pytest.mark.parametrize("mount", MOUNTS)
async def test_limits_of_the_caller_bind(mount: str, config: Config, upstream: Sandbox) -> None:
    long = {"model": "sandbox/long", "max_tokens": 1000}
    go_on = asyncio.Event()
    async with for_ann(config, requests_per_minute=1, models=("sandbox/*",)) as api:
        response, body = await complete(api, mount, bearer("ann"), model="acme/m")
        assert response.status == 403
        judged(mount, 403, body)
        response, body = await complete(api, mount, bearer("ann"), model="sandbox/echo")
        assert response.status == 200
        response, body = await complete(api, mount, bearer("ann"), model="sandbox/echo")
        assert response.status == 429
        assert response.headers["Retry-After"]
        judged(mount, 429, body)
        _, listed = await api.request("GET", f"{mount}/models", None, **bearer("ann"))
        assert {each["id"].partition("/")[0] for each in json.loads(listed)["data"]} == {"sandbox"}
    async with for_ann(config, max_concurrent=1) as api:
        upstream.script(Reply.stream(text("x"), Hold(go_on), STOP, END))
        async with api.http.post(
            f"{api.url}{mount}/chat/completions", json=asking(), headers=bearer("ann")
        ) as running:
            await read_until(running, b'"x"')
            response, body = await complete(api, mount, bearer("ann"))
            assert response.status == 429
            judged(mount, 429, body)
            go_on.set()
            frames_in(await running.read())
    async with for_ann(config, budget_usd_per_day=Decimal("0.002")) as api:
        upstream.script_always(Reply.stream(text("Hi"), STOP, END))
        statuses = [(await complete(api, mount, bearer("ann"), **long))[0].status for _ in range(3)]
        assert statuses == [200, 200, 429]
        _, key = await api.request("GET", f"{mount}/key", None, **bearer("ann"))
        found = json.loads(key)["data"]
        assert (found["label"], found["limit"], found["usage"], found["limit_remaining"]) == (
            "ann",
            0.002,
            0.002,
            0.0,
        )
        _, usage = await api.request("GET", "/usage", None, **bearer("ann"))
        assert json.loads(usage)["budget"]["spent_usd"] == 0.002
    upstream.clear_scripts()


async def test_metrics_name_the_routes(api: Api, upstream: Sandbox) -> None:
    upstream.script_always(Reply.stream(text("Hi"), STOP, END))
    for mount in MOUNTS:
        await complete(api, mount)
        await api.request("GET", f"{mount}/models/sandbox%2Fecho")
    _, body = await api.request("GET", "/metrics")
    for mount in MOUNTS:
        assert f'route="{mount}/chat/completions"'.encode() in body
        assert f'route="{mount}/models/{{model_id}}"'.encode() in body


@pytest.mark.parametrize("mount", MOUNTS)
async def test_trap_14_models_are_found_however_their_slash_is_sent(mount: str, api: Api) -> None:
    _, body = await api.request("GET", f"{mount}/models")
    listed = json.loads(body)
    assert listed["object"] == "list"
    assert listed["total_count"] == len(listed["data"]) == len(MODELS)
    assert (listed["first_id"], listed["last_id"]) == (listed["data"][0]["id"], listed["data"][-1]["id"])
    assert listed["links"] == {"next": None}
    for each in listed["data"]:
        for path in (each["id"], each["id"].replace("/", "%2F")):
            response, body = await api.request("GET", f"{mount}/models/{path}")
            assert response.status == 200
            assert json.loads(body) == each
    await refused(api, mount, 404, "GET", "/models/acme%2Fnothing:free")
    error = await refused(api, mount, 404, "GET", "/models/sandbox/eco")
    assert mount == "/api/v1" or error["code"] == "model_not_found"


@pytest.mark.parametrize("mount", MOUNTS)
async def test_names_in_a_path_lead_nowhere_else(mount: str, api: Api, upstream: Sandbox) -> None:
    for path in ("/model/%2E%2E/credits", "/models/%2e%2e/x/endpoints", "/model/a%3Fb/c%23d%2F..%2F..%2Fcredits"):
        async with api.http.get(URL(api.url + mount + path, encoded=True)) as response:
            judged(mount, response.status, await response.read())
            assert response.status in (404, 502)
    assert [call.path for call in upstream.requests] == ["/model/a?b/c#d/../../credits"]
