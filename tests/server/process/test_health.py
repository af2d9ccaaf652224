"""The routes for probes, and a server that cannot ask anything."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from client.sandbox import Hold, Reply, Sandbox
from server.config import Config
from tests.server.http.test_errors import assert_refused
from tests.support.chunks import END, STOP, text
from tests.support.process import ROOT
from tests.support.serving import Api, changed, question, serving


async def test_health_counts_and_asks_nothing_upstream(upstream: Sandbox, api: Api) -> None:
    response, found = await api.request("GET", "/health")
    health = json.loads(found)
    assert response.status == 200
    assert {"status", "version", "uptime_s", "sandbox", "streams", "catalogue"} <= set(health)
    assert (health["status"], health["sandbox"], health["streams"]["active"]) == ("ok", False, 0)
    assert health["catalogue"]["models"] == 0
    assert not upstream.requests


async def test_health_counts_what_runs(upstream: Sandbox, api: Api) -> None:
    go_on = asyncio.Event()
    upstream.script(Reply.stream(text("x"), Hold(go_on), STOP, END))
    async with api.http.post(f"{api.url}/chat", json=question()) as answer:
        await answer.content.readuntil(b"event: content")
        _, found = await api.request("GET", "/health")
        streams = json.loads(found)["streams"]
        assert (streams["active"], streams["readers"]) == (1, 1)
        go_on.set()
        await answer.read()
    _, found = await api.request("GET", "/health")
    streams = json.loads(found)["streams"]
    assert (streams["active"], streams["readers"], streams["kept"]) == (0, 0, 1)


async def test_ready_until_the_server_drains(upstream: Sandbox, api: Api) -> None:
    response, found = await api.request("GET", "/ready")
    assert (response.status, json.loads(found)) == (200, {"status": "ready"})
    api.streams.is_draining = True
    body = json.dumps(question()).encode()
    response, found = await api.request("POST", "/chat", body, Content_Type="application/json")
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert assert_refused(found, "shutting_down", 503)["retryable"] is True
    assert not upstream.requests


async def test_without_a_key_it_is_not_ready_and_says_what_to_set(config: Config) -> None:
    keyless = changed(config, "upstream", base_url="https://openrouter.ai/api/v1", api_key=None)
    async with serving(keyless) as api:
        response, found = await api.request("GET", "/ready")
        assert response.status == 503
        assert "key" in json.loads(found)["error"]
        response, found = await api.request(
            "POST", "/chat", json.dumps(question()).encode(), Content_Type="application/json"
        )
        assert response.status == 502
        assert "OPENROUTER_API_KEY" in assert_refused(found, "upstream_auth", 502)["error"]


@pytest.mark.parametrize(("switch", "passes"), [({}, True), ({"REQUIRE_ALL_TESTS": "1"}, False)])
@pytest.mark.parametrize(
    "body",
    [
        "def test_one():\n    pytest.skip('a program is missing')\ndef test_two(): pass",
        "pytest.skip('a program is missing', allow_module_level=True)",
    ],
    ids=["test", "module"],
)
def test_the_switch_makes_a_skipped_test_a_failure(
    tmp_path: Path, body: str, switch: dict[str, str], passes: bool
) -> None:
    """bare 11: no skip passes unseen."""
    path = tmp_path / "test_one.py"
    path.write_text(f"import pytest\n{body}\n")
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "tests.conftest"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "-c", os.devnull, str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if name != "REQUIRE_ALL_TESTS"}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take seconds to load, and no other is needed here
    run = subprocess.run(command, cwd=ROOT, env={**env, **switch}, capture_output=True, text=True, check=False)
    assert (run.returncode == 0) == passes, run.stdout + run.stderr
    if not passes:
        assert "skipped although REQUIRE_ALL_TESTS is set" in run.stdout
